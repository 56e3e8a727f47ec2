"""What a snapshot holds: the tree of small values, the integers, the rows of tables.

Purpose: one description of the judge's state that writing and reading share.
Invariants: every attribute of the judge and its parts is here or follows from what is
(a test compares the lists); `LAYOUT` changes with every name that gives a stored number
its meaning, so a snapshot of another shape is refused and not guessed.
Limits: rows that are empty need not be held: a judge begins with them.
Source: the judge and its tables.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from detector import hashing
from detector.accounts import A
from detector.campaigns import Campaign, Joined
from detector.decision import Lease, Ledger, Past, Tombstone
from detector.desk import Desk, Waiting
from detector.frames import COVERED_FIELDS, ID, NUM, Entry, Flag
from detector.index import KeyIndex
from detector.judge import Judge
from detector.link_columns import KINDS, L, P
from detector.operators import AllowEntry, Control, Indicator
from detector.panes import Refused
from detector.policy import Freshness
from detector.profiles import Profile
from detector.publishing import Outlet
from detector.records import Alert, Approval, Decision, DetectorError, Member
from detector.signatures.registry import ACCOUNT_SIGNATURES
from detector.sketches.bottom_k import THETA_MAX
from detector.tails import STATISTICS

VERSION = 4
MAGIC = b"SWSN"
DIGEST_BYTES = 16
THETAS = "thetas"  # the one column whose rows do not begin as zeros

# The integers of each part of the judge; what is no integer, column or table has a field in `State`.
INTEGERS: dict[str, tuple[str, ...]] = {
    "judge": (
        "present",
        "events",
        "first_ms",
        "last_ms",
        "active_counted_ms",
        "discovered_ms",
    ),
    "cases": ("opened", "active_accounts", "active_tokens", "stamped_ms"),
    "buffer": ("closed_ms", "forced_ms", "late", "forced"),
    "population": ("aged", "young", "elicited", "elicitation_known"),
    "tails": ("refreshed_ms",),
    "registrations": ("refreshed_ms", "total", "known", "sampled"),
    "accounts": ("evicted", "dropped"),
    "links": ("generation", "generation_start_ms", "evicted", "dropped"),
}


class SnapshotError(DetectorError):
    """Bytes are no snapshot that this judge may start from."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What stands before the state: who wrote it, for what, after which generation, in which columns."""

    program: str
    layout: str
    config_hash: str
    key: str
    tenant: str
    sources: tuple[str, ...]
    base: str  # digest of the generation that this one goes on from; empty for a whole one
    columns: list[tuple[str, str, str, list[int]]]  # table, label, dtype, shape of a row


class Table(NamedTuple):
    """Columns of equal length whose row `i` is one thing; those from `used` on are empty."""

    name: str
    columns: dict[str, npt.NDArray[Any]]
    used: int
    named: KeyIndex | None = None  # where rows have names


class HeldSource(msgspec.Struct, kw_only=True):
    """One source's clock and position, and its rows that no pane has yet."""

    name: str
    max_ms: int
    stop: int
    ended: bool
    pending: bytes  # a frame's wire form: rows that await their lookahead


class HeldIndex(msgspec.Struct, kw_only=True):
    """What a key index knows besides its keys and names."""

    used: int
    free: list[int]


class HeldOutput(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An output that nobody has taken yet."""

    alert: Alert | None = None
    decision: Decision | None = None
    tombstone: Tombstone | None = None
    control: Control | None = None


class State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The state apart from the rows of tables and of open panes."""

    integers: dict[str, dict[str, int]]
    sources: list[HeldSource]
    refused: list[Refused]
    accounts: HeldIndex
    links: HeldIndex
    pools_free: list[int]
    masses: list[list[tuple[int, int]]]
    model_counter: int
    model_first_window: bool
    ledger: Ledger
    campaigns: list[Campaign]
    desk: Desk
    freshness: Freshness
    outlet: Outlet
    late_by_pane: dict[int, int]
    recent: bytes
    outputs: list[HeldOutput]
    stamps: list[int]
    closed_members: list[Member]


# Whoever renames, adds or moves one of these changes what the stored numbers mean.
_NAMED = (A, L, P, ID, NUM, Flag)
_STRUCTS = (
    *(
        State,
        HeldSource,
        HeldIndex,
        Campaign,
        Profile,
        Joined,
        Lease,
        Ledger,
        Past,
        Alert,
        Decision,
        Member,
        AllowEntry,
    ),
    *(HeldOutput, Tombstone, Control, Indicator),
    *(Desk, Waiting, Entry, Approval, Freshness, Outlet),
)
LAYOUT = hashing.content_digest(
    repr(
        [
            *([*names.__members__] for names in _NAMED),
            *(struct.__struct_fields__ for struct in _STRUCTS),
            *(KINDS, COVERED_FIELDS, INTEGERS, [s.id for s in ACCOUNT_SIGNATURES], STATISTICS),
        ]
    ).encode()
)


def parts_of(judge: Judge) -> dict[str, Any]:
    """The objects whose integers `INTEGERS` names."""
    return {
        "judge": judge,
        "cases": judge.cases,
        "buffer": judge.buffer,
        "population": judge.population,
        "tails": judge.tails,
        "registrations": judge.registrations,
        "accounts": judge.accounts,
        "links": judge.links,
    }


def tables_of(judge: Judge) -> list[Table]:
    """Every column of the judge, by table."""
    accounts, links, population = judge.accounts, judge.links, judge.population
    sums = {"accounts": population.accounts, "fired": population.fired}
    sums |= {"scores": judge.model.scores, "gate_load": links.gate_load}
    tails = judge.tails
    sums |= {"tail_sizes": tails.sizes, "tail_points": tails.points}
    sums |= {"tail_fired": tails.fired, "tail_bins": tails.bins}
    sums |= {"mail_domains": judge.registrations.domains, "mail_counts": judge.registrations.counts}
    return [
        Table(
            "accounts",
            {
                "keys": accounts.index.keys,
                "stats": accounts.stats,
                "prompts": accounts.prompts,
                "template_keys": accounts.template_keys,
                "template_counts": accounts.template_counts,
                "template_errors": accounts.template_errors,
            },
            accounts.index.used,
            accounts.index,
        ),
        Table(
            "links",
            {
                "keys": links.index.keys,
                "stats": links.stats,
                **links.small.columns._asdict(),
                "firsts": links.small.firsts,
            },
            links.index.used,
            links.index,
        ),
        Table(
            "pools",
            {
                "pools": links.pools,
                **links.large.columns._asdict(),
                "firsts": links.large.firsts,
                **dict(sorted(links.sketches.items())),
            },
            len(links.pools),
        ),
        Table("gate", {"gate": links.gate}, len(links.gate)),
        Table("passed_signatures", {"tags": judge.passed.signatures}, len(judge.passed.signatures)),
        Table("passed_outputs", {"tags": judge.passed.outputs}, len(judge.passed.outputs)),
        Table("passed_turns", {"tags": judge.passed.turns}, len(judge.passed.turns)),
        Table("seats", {"seats": judge.passed.seats}, len(judge.passed.seats)),
        Table("sums", {name: array[None] for name, array in sums.items()}, 1),
    ]


def columns_said(tables: list[Table]) -> list[tuple[str, str, str, list[int]]]:
    """Table, label, dtype and row shape of each column."""
    return [(t.name, label, a.dtype.str, [*a.shape[1:]]) for t in tables for label, a in t.columns.items()]


def empty_table(table: Table) -> Table:
    """The table with one row, which is empty."""
    fills = {THETAS: THETA_MAX}
    columns = {
        label: np.full((1, *array.shape[1:]), fills.get(label, 0), array.dtype)
        for label, array in table.columns.items()
    }
    return table._replace(columns=columns, used=1)
