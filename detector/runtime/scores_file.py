"""Scores: what every signature says of every account and pool when a run ends.

Purpose: `scores.parquet`: how near to an alert the accounts and pools came that raised none, for
the report, for thresholds and for `explain`.
Invariants: looking changes nothing: the outcome of a run is the same with or without it. One row
per account of the table and per pool that is large enough to be judged; `log_odds` is the
verdict's number (of an account: the best of the campaigns that it is a member of and of the pools
that no campaign holds, null where there is none), then one column per active signature: natural
log odds of pools; of accounts 1 fires, -1 is quiet, 0 cannot say.
Limits: one window, the whole run, as the tables stand at its end: accounts that were forgotten
are missing, and a pool's accounts are its sample of at most 128. Campaigns' members are complete.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from detector.accounts import A
from detector.discovery import REQUESTS_MIN, score_pools
from detector.judge import Judge
from detector.link_columns import KINDS, P
from detector.records import Alert, Member
from detector.signatures.registry import ACCOUNT_SIGNATURES, SIGNATURES
from detector.views import account_view, link_view

FILE = "scores.parquet"
ROWS_AT_ONCE = 1 << 16
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

_SCHEMA = pa.schema(
    [
        ("tenant", pa.string()),
        ("kind", pa.string()),  # account, or the kind of a pool's link
        ("value", pa.string()),
        ("requests", pa.int64()),
        ("in_campaign", pa.bool_()),
        ("log_odds", pa.float64()),
        ("families", pa.int16()),  # that accuse; null for accounts
        *((s.id, pa.float32()) for s in SIGNATURES),
    ]
)


def _pools(judge: Judge, best: F64) -> pa.Table:
    """The pools' rows; `best` takes each account row's best pool.

    Who carries a campaign's links and is no member was told from its members: such pools say nothing of an account.
    """
    links, active = judge.links, judge.coverage()[0]
    pools = np.flatnonzero(links.pools[:, P.REQUESTS] >= REQUESTS_MIN)
    pools = pools[np.argsort(links.index.keys[links.pools[pools, P.LINK]], kind="stable")]
    known = (judge.accounts, judge.population, judge.tails, judge.registrations)
    view = link_view(links, pools, *known, now_ms=judge.discovered_ms)
    answers, total, families = score_pools(view, active, judge.settings)
    sample = links.large.columns
    loose = np.flatnonzero(links.pools[pools, P.CAMPAIGN] == 0)
    for at, pool in zip(loose.tolist(), pools[loose].tolist(), strict=True):
        held = judge.accounts.index.find(sample.hashes[pool, : int(sample.sizes[pool])])
        np.fmax.at(best, held[held >= 0], total[at])
    rows = links.pools[pools, P.LINK]
    names = [links.index.name(row) or f"{links.index.keys[row]:016x}" for row in rows.tolist()]
    columns = {
        "tenant": [judge.tenant] * len(pools),
        "kind": [KINDS[kind] for kind in links.pools[pools, P.KIND].tolist()],
        "value": names,
        "requests": links.pools[pools, P.REQUESTS],
        "in_campaign": links.pools[pools, P.CAMPAIGN] > 0,
        "log_odds": total,
        "families": families,
    }
    return _table(columns | {s.id: answer.log_odds for s, answer in answers}, len(pools))


def _accounts(judge: Judge, best: F64, rows: I64) -> pa.Table:
    active = judge.coverage()[0]
    view = account_view(judge.accounts, rows, judge.population, judge.tails)
    said = {s.id: s.judge(view).log_odds for s in ACCOUNT_SIGNATURES if s.id in active}
    columns = {
        "tenant": [judge.tenant] * len(rows),
        "kind": ["account"] * len(rows),
        "value": [judge.accounts.index.name(row) for row in rows.tolist()],
        "requests": judge.accounts.stats[rows, A.REQUESTS],
        "in_campaign": judge.accounts.stats[rows, A.CAMPAIGN] > 0,
        "log_odds": pa.array(best[rows], from_pandas=True),  # NaN: no pool holds it
    }
    return _table(columns | said, len(rows))


def _table(columns: dict[str, object], rows: int) -> pa.Table:
    made = [pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in _SCHEMA]
    return pa.table(made, schema=_SCHEMA)


def read_account(path: Path, account_id: str) -> list[dict[str, Any]]:
    """The rows of one account, one per tenant; none where the file or the account is missing."""
    if not path.exists() or "kind" not in pyarrow.parquet.read_schema(path).names:
        return []
    mine = (pc.field("kind") == "account") & (pc.field("value") == account_id)
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path, filters=mine).to_pylist()
    return rows


def write_scores(path: Path, judges: Iterable[Judge], *, alerts: Iterable[Alert], members: Iterable[Member]) -> None:
    """Write the file; `alerts` and `members` say what campaigns of the whole run held and how they were judged."""
    verdicts = {a.campaign.id: a.verdict.log_odds for a in alerts if a.campaign is not None and a.verdict is not None}
    held = [m for m in members if m.campaign_id in verdicts]
    with pyarrow.parquet.ParquetWriter(path, _SCHEMA, compression="zstd") as writer:
        for judge in judges:
            index = judge.accounts.index
            best = np.full(max(index.used, 1), np.nan)
            pools = _pools(judge, best)
            row_of = {index.names[row]: row for row in range(index.used)}
            for member in held:
                row = row_of.get(member.account_id.encode()) if member.tenant == judge.tenant else None
                if row is not None:
                    best[row] = np.fmax(best[row], verdicts[member.campaign_id])
            writer.write_table(pools)
            live = np.flatnonzero(index.keys[: index.used] != 0)
            for start in range(0, live.size, ROWS_AT_ONCE):
                writer.write_table(_accounts(judge, best, live[start : start + ROWS_AT_ONCE]))
