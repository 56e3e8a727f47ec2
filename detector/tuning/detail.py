"""Detail: what a labelled run shows beyond its scores: its accounts, and the leak over time.

Purpose: watch the events go by while they are scored, and keep what the report draws:
accounts.parquet (per account: truth, what it sent, what was decided, its tier, SDK and network)
and timeline.parquet (per window, of the whole log and of each labelled campaign: tokens out, slowed, contained).
Invariants: counts are exact, of the same events and decisions as the scores; shadow decisions
count as if enforced. Equal input gives equal tables, rows sorted.
Limits: memory grows with accounts, and with campaigns times windows. An
account's tier, SDK and network are the last ones that it showed.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from detector.records import Alert, Decision
from detector.runtime import timeline_file
from detector.runtime.timeline_file import window_ms_for
from detector.tuning.evaluate import UNLABELLED
from detector.tuning.scores import CONTAINS, SLOWS, levels_of, targets, timelines

COLUMNS: Final = ("output_tokens", "account_tier", "sdk_name", "asn")
SHOWN: Final = ("account_tier", "sdk_name", "asn")
I64 = npt.NDArray[np.int64]
Truth = dict[str, tuple[str, str]]  # account -> (campaign, population)


class Detail:
    """Events on their way to be scored; iterating passes them on and counts them."""

    def __init__(
        self,
        events: Iterable[pa.RecordBatch],
        *,
        truth: Truth,
        decisions: Sequence[Decision],
        span_ms: tuple[int, int],
    ) -> None:
        """Watch `events`, whose batches have `COLUMNS` and what scoring needs."""
        self._events, self._truth, self._decisions = events, truth, decisions
        self._by_scope = timelines(decisions)
        self.window_ms = window_ms_for(span_ms)
        self._first_window = span_ms[0] // self.window_ms
        self._campaigns = sorted({campaign for campaign, _ in truth.values()} - {""})
        windows = span_ms[1] // self.window_ms - self._first_window + 1
        # requests, output tokens, tokens slowed, tokens contained; by campaign, the whole log last; by window
        self._line: I64 = np.zeros((4, len(self._campaigns) + 1, windows), np.int64)
        self._clear()

    def _clear(self) -> None:
        self._line[:] = 0
        self._index: dict[str, int] = {}
        self._campaign: I64 = np.zeros(0, np.int64)
        self._counts: I64 = np.zeros((4, 0), np.int64)  # requests, output tokens, slowed, contained requests
        self._shown: dict[str, list[str]] = {name: [] for name in SHOWN}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Pass the events on from their start; counts begin anew."""
        self._clear()
        for batch in self._events:
            self._count(batch)
            yield batch

    def _grow(self, names: list[str]) -> I64:
        """Rows of accounts, new ones added."""
        new = [name for name in names if name not in self._index]
        for name in new:
            self._index[name] = len(self._index)
        if new:
            at = {name: number for number, name in enumerate(self._campaigns)}
            of = [at.get(self._truth.get(name, ("", ""))[0], -1) for name in new]
            self._campaign = np.concatenate([self._campaign, np.asarray(of, np.int64)])
            self._counts = np.concatenate([self._counts, np.zeros((4, len(new)), np.int64)], axis=1)
            for column in self._shown.values():
                column.extend([""] * len(new))
        return np.asarray([self._index[name] for name in names], np.int64)

    def _count(self, batch: pa.RecordBatch) -> None:
        coded = batch.column("account_id").dictionary_encode()
        local = self._grow(coded.dictionary.to_pylist())
        account = local[coded.indices.to_numpy(zero_copy_only=False)]
        tokens = batch.column("output_tokens").fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        level = levels_of(batch, by_scope=self._by_scope)
        slowed, contained = level == SLOWS, level >= CONTAINS
        for row, values in enumerate((np.ones_like(tokens), tokens, slowed, contained)):
            np.add.at(self._counts[row], account, values.astype(np.int64))
        time_ms = batch.column("event_time").cast(pa.int64()).to_numpy(zero_copy_only=False)
        window, campaign = time_ms // self.window_ms - self._first_window, self._campaign[account]
        known = campaign >= 0
        places = (campaign[known], window[known])
        for row, values in enumerate((np.ones_like(tokens), tokens, tokens * slowed, tokens * contained)):
            np.add.at(self._line[row], places, values[known])
            np.add.at(self._line[row, -1], window, values)
        for name, column in self._shown.items():
            said = batch.column(name)
            rows = np.flatnonzero(said.is_valid().to_numpy(zero_copy_only=False))
            # The last row of each account is what it shows.
            owners, last = np.unique(account[rows][::-1], return_index=True)
            values = said.take(pa.array(rows[::-1][last])).to_pylist()
            for owner, value in zip(owners.tolist(), values, strict=True):
                column[owner] = str(value)

    def finish(self, folder: Path, *, alerts: Iterable[Alert], scores: dict[str, Any]) -> dict[str, Any]:
        """Write both tables into `folder`; returns what the scores add of them."""
        pyarrow.parquet.write_table(self._accounts(), folder / "accounts.parquet", compression="zstd")
        self._write_timeline(folder / timeline_file.FILE)
        detected = {a.alert_id: a.detected_at for a in alerts}
        out = 0
        for number, name in enumerate(self._campaigns):
            ids = scores["campaigns"][name]["alert_ids"]
            until = detected[ids[0]] // self.window_ms - self._first_window if ids else self._line.shape[2]
            out += int(self._line[1, number, : max(until, 0)].sum())
        return {"leaked_output_tokens_before_detection": out, "timeline_window_ms": self.window_ms}

    def _accounts(self) -> pa.Table:
        names = sorted(self._index)
        rows = [self._index[name] for name in names]
        truth = [self._truth.get(name, ("", UNLABELLED)) for name in names]
        struck = {account for account, _ in targets(self._decisions)}
        return pa.table(
            {
                "account_id": pa.array(names, pa.string()),
                "campaign": pa.array([campaign for campaign, _ in truth], pa.string()),
                "population": pa.array([population for _, population in truth], pa.string()),
                **{
                    name: self._counts[at, rows]
                    for at, name in enumerate(("requests", "output_tokens", "slowed", "contained"))
                },
                "acted_on": pa.array([name in struck for name in names], pa.bool_()),
                **{name: pa.array([column[row] for row in rows], pa.string()) for name, column in self._shown.items()},
            }
        )

    def _write_timeline(self, path: Path) -> None:
        names = [*self._campaigns, None]
        number, window = np.nonzero(self._line[0])
        columns = ("requests", "output_tokens", "slowed_output_tokens", "contained_output_tokens")
        timeline_file.write_rows(
            path,
            {
                "window_start_ms": (window + self._first_window) * self.window_ms,
                "campaign": [names[n] for n in number.tolist()],
                **{name: self._line[at, number, window] for at, name in enumerate(columns)},
            },
        )
