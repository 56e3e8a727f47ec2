"""Contained accounts answer back: the engine in the loop of a world.

Purpose: after each hour the judge, as installed, sees what was written, and its decisions act
from then on: requests that fall under one carry `disposition` and `decision_id`, and what was
challenged or blocked has no answer. A contained attacker's account goes on for two hours, falls
silent for half a day, or is given up at once; a spare account takes over what is given up.
Invariants: deterministic; innocent accounts change nothing in what they do; shadow decisions
act as if enforced, as everywhere in scoring.
Limits: decisions act from the hour's end on, account scope only.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from detector.config import Settings
from detector.encode import encode
from detector.events import EventBatch
from detector.judge import Judge
from detector.records import Decision
from detector.tuning.generate.columns import I64, mix64
from detector.tuning.generate.render import BLOCKS_FROM, Enforced
from detector.tuning.generate.sessions import HOUR_MS, Population, Rows
from detector.tuning.scores import LEVELS

SOURCE = "log"
TENANT = "default"
RETRIES_MS = 2 * HOUR_MS
SILENCE_MS = 12 * HOUR_MS
REPLACED_MS = 2 * HOUR_MS  # how long it takes until a spare account works, at most
RETRIES_SHARE, SILENT_SHARE = 0.4, 0.3


class Reaction:
    """The judge, what it decided about each account, and how attackers answer."""

    def __init__(
        self,
        populations: Sequence[Population],
        *,
        names: pa.StringArray,
        seed: int,
        key: bytes,
        settings: Settings,
        approve_after_ms: int = -1,
    ) -> None:
        """`names` are the account ids, population after population."""
        self._judge = Judge(TENANT, (SOURCE,), settings)
        self._judge.cases.desk.approve_after_ms = approve_after_ms
        self._key, self._seed, self._written = key, seed, 0
        self._at = {name: row for row, name in enumerate(names.to_pylist())}
        size = len(names)
        self._level, self._decision = np.zeros(size, np.int64), np.full(size, -1, np.int64)
        self._from_ms, self._until_ms = np.zeros(size, np.int64), np.zeros(size, np.int64)
        self._answered = np.zeros(size, bool)
        self._ids: list[str] = []
        self._populations = list(populations)
        self._bases = np.cumsum([0] + [p.accounts.size for p in populations])
        self._spares = [_spares(population) for population in populations]

    def enforced(self, rows: Rows) -> Enforced:
        """What decisions do to these requests."""
        who = rows.account
        inside = (self._from_ms[who] <= rows.time_ms) & (rows.time_ms < self._until_ms[who])
        level = np.where(inside, self._level[who], 0)
        ids = pa.array(self._ids, pa.string())
        taken = pa.array(np.maximum(self._decision[who], 0), mask=level == 0)
        return Enforced(level, ids.take(taken) if self._ids else pa.nulls(who.size, pa.string()))

    def show(self, batch: EventBatch) -> None:
        """Let the judge see events."""
        first, stop = self._written, self._written + len(batch)
        self._written = stop
        positions = np.arange(first, stop)
        for frame in encode(batch, positions=positions, source=SOURCE, first=first, stop=stop, key=self._key):
            self._judge.apply(frame)

    def answer(self, now_ms: int) -> None:
        """Take what was decided by now and let attackers answer it."""
        for output in self._judge.take_outputs():
            if isinstance(output, Decision) and output.scope == "account" and output.value in self._at:
                self._decide(self._at[output.value], output, now_ms=now_ms)
        struck = (self._level >= BLOCKS_FROM) & ~self._answered & (self._until_ms > now_ms)
        for at in np.flatnonzero(struck).tolist():
            self._answered[at] = True
            number = int(np.searchsorted(self._bases, at, side="right")) - 1
            population = self._populations[number]
            if population.campaign:
                spares = self._spares[number]
                self._respond(population, at - int(self._bases[number]), spares=spares, row=at, now_ms=now_ms)

    def _decide(self, row: int, decision: Decision, *, now_ms: int) -> None:
        self._level[row] = LEVELS[decision.action] if decision.state == "active" else 0
        self._from_ms[row], self._until_ms[row] = max(decision.effective_at, now_ms), decision.expires_at
        self._decision[row] = len(self._ids)
        self._ids.append(decision.decision_id)

    def _respond(self, population: Population, account: int, *, spares: Iterator[int], row: int, now_ms: int) -> None:
        """Go on, fall silent, or give the account up for a spare one."""
        beat = population.rhythm
        drawn = mix64(np.asarray([row], np.uint64), seed=np.full(1, self._seed + 31, np.uint64))[0]
        mood, delay = float(drawn % np.uint64(1_000)) / 1_000, int(drawn >> np.uint64(32)) % REPLACED_MS
        if RETRIES_SHARE <= mood < RETRIES_SHARE + SILENT_SHARE:
            beat.from_ms[account] = now_ms + SILENCE_MS
            return
        ends_ms = now_ms + (RETRIES_MS if mood < RETRIES_SHARE else 0)
        beat.until_ms[account] = min(int(beat.until_ms[account]), ends_ms)
        spare = next(spares, None)
        if spare is not None:  # one that would begin after the run's end is never seen
            beat.from_ms[spare] = ends_ms + delay


def _spares(population: Population) -> Iterator[int]:
    """The accounts that nobody uses before the run's end, each once."""
    beat = population.rhythm
    unused: I64 = np.flatnonzero(beat.from_ms >= beat.until_ms.max(initial=0))
    return iter(unused.tolist())
