"""Kept: what every signature answered about every pool, so that verdicts can be taken again without the events.

Purpose: `Keeper` listens to the judges of a replay; `write` and `read` hold what it heard in `answers.parquet`, a row
per judged pool and discovery, its sampled members beside it; `neutral` are the settings to listen under.
Invariants: log-odds stand as the signatures answered, before any cap, shadow ones too. Rows are in the order of
discovery, ties as the engine judged them. Under `neutral` nobody is ever accused, so no row depends on a verdict.
Limits: members are named only where two families accuse (a verdict that needs fewer cannot be taken again), at most
128 of a pool: its sample. The cost is some 150 bytes a row in memory.
Source: the replay handbook's `scores.parquet`.
"""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from detector.campaigns import found, founding_rows
from detector.config import Settings
from detector.discovery import FAMILIES, items_at
from detector.judge import Judge
from detector.link_columns import FOUNDING_KINDS, KINDS, P
from detector.records import DetectorError
from detector.signatures.contract import Answer, Signature
from detector.signatures.registry import SIGNATURES
from detector.verdict import COUNTED, weigh

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]

FILE = "answers.parquet"
# No log-odds reach it: six families at a cap of at most some hundreds.
UNREACHABLE = 1e9
FAMILIES_NAMED = 2
SIGNATURE_IDS = tuple(s.id for s in SIGNATURES)
_COLUMN_OF = {name: at for at, name in enumerate(SIGNATURE_IDS)}
_FAMILY = np.array([FAMILIES.index(s.family) for s in SIGNATURES])
_COUNTS = np.array([s.maturity in COUNTED for s in SIGNATURES])


class KeptError(DetectorError):
    """A file of kept answers cannot be read, or other signatures made it."""


class Kept(NamedTuple):
    """Columns of equal length, a row per judged pool and discovery, and the members of some."""

    at_ms: I64  # when what follows from it is in force
    tenant: list[str]
    pool: list[str]  # tenant, kind and value: the same pool has the same name in every row
    founding: npt.NDArray[np.bool_]
    requests: I64
    size: I64  # of the pool's sample
    log_odds: F32  # (rows, signatures)
    members: list[npt.NDArray[np.int32]]  # codes of `accounts` that would be members; empty where not named
    accounts: list[str]


def neutral(settings: Settings) -> Settings:
    """The same settings under which nothing is accused."""
    verdict = msgspec.structs.replace(settings.verdict, threshold=UNREACHABLE)
    return msgspec.structs.replace(settings, verdict=verdict)


class Keeper:
    """Collects the answers of every judge that it is shown."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._at: list[I64] = []
        self._rows: list[tuple[list[str], list[str], npt.NDArray[np.bool_], I64, I64, F32]] = []
        self._members: list[npt.NDArray[np.int32]] = []
        self._codes: dict[str, int] = {}

    def watch(self, judge: Judge) -> None:
        """Listen to a judge from its beginning."""

        def note(pools: I64, answers: list[tuple[Signature, Answer]], now_ms: int) -> None:
            self._note(judge, pools, answers, now_ms)

        judge.note = note

    def _note(self, judge: Judge, pools: I64, answers: list[tuple[Signature, Answer]], now_ms: int) -> None:
        links, table = judge.links, judge.links.pools[pools]
        log_odds = np.zeros((pools.size, len(SIGNATURE_IDS)), np.float32)
        for signature, answer in answers:
            log_odds[:, _COLUMN_OF[signature.id]] = answer.log_odds
        names = []
        for link, kind in zip(table[:, P.LINK].tolist(), table[:, P.KIND].tolist(), strict=True):
            value = links.index.name(link) or f"{int(links.index.keys[link]):016x}"
            names.append(f"{judge.tenant}/{KINDS[kind]}/{value}")
        founding = np.array([KINDS[kind] in FOUNDING_KINDS for kind in table[:, P.KIND].tolist()], bool)
        sizes = links.large.columns.sizes[pools].astype(np.int64)
        self._at.append(np.full(pools.size, now_ms + judge.settings.lateness_ms, np.int64))
        self._rows.append(([judge.tenant] * pools.size, names, founding, table[:, P.REQUESTS], sizes, log_odds))
        accusing = families_accusing(log_odds) >= FAMILIES_NAMED
        self._members += [
            self._of(judge, int(pool), answers, at, now_ms) if accusing[at] else np.zeros(0, np.int32)
            for at, pool in enumerate(pools.tolist())
        ]

    def _of(
        self, judge: Judge, pool: int, answers: list[tuple[Signature, Answer]], at: int, now_ms: int
    ) -> npt.NDArray[np.int32]:
        """The sampled accounts that would be members of a campaign founded on the pool now."""
        judged = weigh(items_at(answers, at), judge.settings.verdict)
        campaign = found(
            0, pool, judge.links, judge.accounts, tenant=judge.tenant, end_ms=now_ms, verdict=judged.verdict,
            evidence=judged.evidence, contains=judged.contains, tails=judge.tails,
        )  # fmt: skip
        rows = founding_rows(campaign, pool, judge.links, judge.accounts, tails=judge.tails)
        names = map(judge.accounts.index.name, rows.tolist())
        return np.array([self._codes.setdefault(name, len(self._codes)) for name in names], np.int32)

    def kept(self) -> Kept:
        """What was heard so far."""
        rows = self._rows
        return Kept(
            at_ms=np.concatenate([np.zeros(0, np.int64), *self._at]),
            tenant=[name for r in rows for name in r[0]],
            pool=[name for r in rows for name in r[1]],
            founding=np.concatenate([np.zeros(0, bool), *(r[2] for r in rows)]),
            requests=np.concatenate([np.zeros(0, np.int64), *(r[3] for r in rows)]),
            size=np.concatenate([np.zeros(0, np.int64), *(r[4] for r in rows)]),
            log_odds=np.concatenate([np.zeros((0, len(SIGNATURE_IDS)), np.float32), *(r[5] for r in rows)]),
            members=list(self._members),
            accounts=list(self._codes),
        )


def families_accusing(log_odds: F32) -> I64:
    """In how many families a counted signature speaks against each row.

    >>> families_accusing(np.zeros((1, len(SIGNATURE_IDS)), np.float32)).tolist()
    [0]
    """
    out = np.zeros(len(log_odds), np.int64)
    for family in range(len(FAMILIES)):
        out += (log_odds[:, (family == _FAMILY) & _COUNTS] > 0).any(axis=1)
    return out


def write(kept: Kept, path: Path) -> None:
    """Write answers as Parquet."""
    lengths = [len(m) for m in kept.members]
    flat = np.concatenate([np.zeros(0, np.int32), *kept.members])
    names = pa.array(kept.accounts, pa.string()).take(pa.array(flat, pa.int32()))
    columns = {
        "at_ms": pa.array(kept.at_ms),
        "tenant": pa.array(kept.tenant, pa.string()).dictionary_encode(),
        "pool": pa.array(kept.pool, pa.string()).dictionary_encode(),
        "founding": pa.array(kept.founding),
        "requests": pa.array(kept.requests),
        "size": pa.array(kept.size),
        "members": pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths]), pa.int32()), names),
    } | {name: pa.array(kept.log_odds[:, at]) for name, at in _COLUMN_OF.items()}
    pyarrow.parquet.write_table(pa.table(columns), path, compression="zstd")


def read(path: Path) -> Kept:
    """Read them back. Raises `KeptError` for a file of another shape and `OSError` where there is none."""
    try:
        table = pyarrow.parquet.read_table(path).combine_chunks()
    except pa.ArrowInvalid as wrong:
        raise KeptError(f"{path}: {wrong}") from wrong
    expected = ["at_ms", "tenant", "pool", "founding", "requests", "size", "members", *SIGNATURE_IDS]
    if table.column_names != expected:
        differ = sorted({*expected} ^ {*table.column_names})
        raise KeptError(f"{path} was made by other signatures ({', '.join(differ)} differ): replay its logs again")
    lists = table.column("members").combine_chunks()
    lists = lists.chunk(0) if isinstance(lists, pa.ChunkedArray) else lists
    coded = lists.flatten().dictionary_encode()
    lengths = np.asarray([0, *(len(m) for m in lists)], np.int64)
    codes = coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
    ends = np.cumsum(lengths)
    columns = [table.column(name).to_numpy() for name in SIGNATURE_IDS]
    return Kept(
        at_ms=table.column("at_ms").to_numpy(),
        tenant=table.column("tenant").to_pylist(),
        pool=table.column("pool").to_pylist(),
        founding=table.column("founding").to_numpy(),
        requests=table.column("requests").to_numpy(),
        size=table.column("size").to_numpy(),
        log_odds=np.stack(columns, axis=1) if len(table) else np.zeros((0, len(SIGNATURE_IDS)), np.float32),
        members=[codes[a:b] for a, b in pairwise(ends.tolist())],
        accounts=coded.dictionary.to_pylist(),
    )
