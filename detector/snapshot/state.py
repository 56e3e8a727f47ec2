"""What a snapshot holds: the tree of small values, the integers, the columns.

Purpose: one description of the judge's state that writing and reading share.
Invariants: every attribute of the judge and its parts is here or follows from what is
(a test compares the lists); `LAYOUT` changes with every name that gives a stored number
its meaning, so a snapshot of another shape is refused and not guessed.
Limits: rows beyond a table's used ones and free pools are not held: they are empty.
Source: the judge and its tables.
"""

from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from detector import hashing
from detector.accounts import A
from detector.campaigns import Campaign, Joined
from detector.decision import Lease, Ledger
from detector.desk import Desk, Waiting
from detector.frames import COVERED_FIELDS, ID, NUM, Entry, Flag
from detector.judge import Judge
from detector.link_columns import KINDS, L, P
from detector.operators import AllowEntry
from detector.panes import Refused
from detector.policy import Freshness
from detector.publishing import Outlet
from detector.records import Alert, Approval, Decision, DetectorError, Member
from detector.signatures.registry import ACCOUNT_SIGNATURES
from detector.tails import STATISTICS

Column = tuple[str, npt.NDArray[Any], Any]  # name, array, the rows of it that are used

VERSION = 2
MAGIC = b"SWSN"
DIGEST_BYTES = 16

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
    "cases": ("opened", "active_accounts", "stamped_ms"),
    "buffer": ("closed_ms", "forced_ms", "late", "forced"),
    "population": ("aged", "young", "elicited", "elicitation_known"),
    "tails": ("refreshed_ms",),
    "accounts": ("evicted", "dropped"),
    "links": ("generation", "generation_start_ms", "evicted", "dropped"),
}


class SnapshotError(DetectorError):
    """Bytes are no snapshot that this judge may start from."""


class Header(msgspec.Struct, frozen=True, array_like=True):
    """What stands before the state: who wrote it, for what, and how long its parts are."""

    program: str
    layout: str
    config_hash: str
    key: str
    tenant: str
    tree_bytes: int
    columns: list[tuple[str, str, list[int]]]


class HeldSource(msgspec.Struct, kw_only=True):
    """One source's clock and position, and its rows that are not folded yet."""

    name: str
    max_ms: int
    stop: int
    ended: bool
    pending: bytes  # a frame's wire form: rows that await their lookahead
    buffered: bytes  # the same: rows that await the close of their pane


class HeldIndex(msgspec.Struct, kw_only=True):
    """What a key index knows besides its keys."""

    used: int
    free: list[int]
    names: list[bytes | None]


class HeldOutput(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An alert or a decision that nobody has taken yet."""

    alert: Alert | None = None
    decision: Decision | None = None


class State(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """The state apart from its columns."""

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
    *(State, HeldSource, HeldIndex, Campaign, Joined, Lease, Ledger, Alert, Decision, Member, AllowEntry),
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
        "accounts": judge.accounts,
        "links": judge.links,
    }


def columns_of(judge: Judge) -> list[Column]:
    """Name every column with its array and the rows of it that are used: a slice or row numbers."""
    accounts, links, population = judge.accounts, judge.links, judge.population
    held, linked, whole = slice(0, accounts.index.used), slice(0, links.index.used), slice(None)
    pooled = np.setdiff1d(np.arange(links.pools.shape[0]), links.free[1 : links.free[0] + 1])
    columns: list[Column] = [
        ("accounts.keys", accounts.index.keys, held),
        ("accounts.stats", accounts.stats, held),
        ("accounts.prompts", accounts.prompts, held),
        ("accounts.template_keys", accounts.template_keys, held),
        ("accounts.template_counts", accounts.template_counts, held),
        ("accounts.template_errors", accounts.template_errors, held),
        ("links.keys", links.index.keys, linked),
        ("links.stats", links.stats, linked),
        ("links.pools", links.pools, pooled),
        ("links.gate", links.gate, whole),
        ("links.gate_load", links.gate_load, whole),
        ("population.accounts", population.accounts, whole),
        ("population.fired", population.fired, whole),
        ("tails.sizes", judge.tails.sizes, whole),
        ("tails.points", judge.tails.points, whole),
        ("tails.limits", judge.tails.limits, whole),
        ("tails.fired", judge.tails.fired, whole),
        ("tails.bins", judge.tails.bins, whole),
        ("passed.signatures", judge.passed.signatures, whole),
        ("passed.outputs", judge.passed.outputs, whole),
        ("model.scores", judge.model.scores, whole),
    ]
    for label, sample, rows in (("small", links.small, linked), ("large", links.large, pooled)):
        arrays: dict[str, npt.NDArray[Any]] = {
            **sample.columns._asdict(),
            "firsts": sample.firsts,
        }
        columns += [(f"links.{label}.{name}", array, rows) for name, array in arrays.items()]
    columns += [(f"links.{name}", registers, pooled) for name, registers in sorted(links.sketches.items())]
    return columns


def shapes_of(columns: list[Column]) -> list[tuple[str, str, list[int]]]:
    """Name, dtype and shape of each column's used rows."""
    return [
        (
            name,
            array.dtype.str,
            [len(range(*rows.indices(len(array)))) if isinstance(rows, slice) else rows.size, *array.shape[1:]],
        )
        for name, array, rows in columns
    ]
