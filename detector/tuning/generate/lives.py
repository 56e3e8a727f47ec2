"""When accounts live and begin: arrivals, events, hand-overs, bans, jobs by the clock.

Purpose: functions that rows of populations name. A life gives the first and last possible
request of every account that the population ever uses.
"""

import numpy as np

from detector.tuning.generate.accounts import DAY_MS
from detector.tuning.generate.cast import Life, StartsOf
from detector.tuning.generate.columns import I64
from detector.tuning.generate.population import Setting
from detector.tuning.generate.sessions import HOUR_MS, Rhythm, Starts

BAN_AT = 0.4  # of the run: when a pool is banned


def slots(life_days: float) -> Life:
    """Places of a pool: lives laid end to end, so that the number alive stays the same."""

    def life(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
        life_ms = max(int(life_days * DAY_MS), 1)
        began, ended = [], []
        for _ in range(count):
            at = setting.start_ms - int(rng.random() * life_ms)
            while at < setting.stop_ms:
                until = at + max(int(life_ms * rng.normal(1.0, 0.1)), life_ms // 4)
                if until > setting.start_ms:
                    began.append(max(at, setting.start_ms))
                    ended.append(min(until, setting.stop_ms))
                at = until
        return np.asarray(began, np.int64), np.asarray(ended, np.int64)

    return life


def banned_and_replaced(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
    """A first pool is banned within an hour; a second of the same size takes over within two."""
    span = setting.stop_ms - setting.start_ms
    ban_ms = setting.start_ms + int(span * BAN_AT)
    ended = ban_ms + (rng.random(count) * HOUR_MS).astype(np.int64)
    began = ban_ms + HOUR_MS // 4 + (rng.random(count) * 2 * HOUR_MS).astype(np.int64)
    first = np.full(count, setting.start_ms)
    stop = np.full(count, setting.stop_ms)
    return np.concatenate([first, np.minimum(began, stop)]), np.concatenate([np.minimum(ended, stop), stop])


def moved(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
    """Customers who go over to new keys: the first half of the rows ends where the second begins."""
    half = max(count // 2, 1)
    span = setting.stop_ms - setting.start_ms
    at = setting.start_ms + (span * rng.uniform(0.35, 0.65, half)).astype(np.int64)
    first, stop = np.full(half, setting.start_ms), np.full(half, setting.stop_ms)
    return np.concatenate([first, at]), np.concatenate([at, stop])


def within(begin: float, end: float, *, drip: float = 0.1) -> Life:
    """An event: everybody comes between two shares of the run, over a `drip` of its length, and leaves together."""

    def life(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
        span = setting.stop_ms - setting.start_ms
        began = setting.start_ms + (span * (begin + drip * (end - begin) * rng.random(count))).astype(np.int64)
        ended = np.full(count, setting.start_ms + int(span * end))
        return began, np.maximum(ended, began)

    return life


def from_release(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
    """After a release: half of the users within half a day, the others over two."""
    late_ms = rng.exponential(0.7, count) * DAY_MS
    began = np.minimum(setting.release_ms + late_ms.astype(np.int64), setting.stop_ms)
    return began, np.full(count, setting.stop_ms)


def trials(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
    """Trial accounts: each for a day or so, others after them."""
    return slots(1.3)(rng, setting, count)


def on_the_hour(share: float) -> StartsOf:
    """Jobs by the clock: everybody begins a few seconds past the same full hours."""

    def starts_of(setting: Setting, rhythm: Rhythm) -> Starts:
        def starts(rng: np.random.Generator, start_ms: int, stop_ms: int) -> tuple[I64, I64, I64]:
            chosen = np.random.default_rng([setting.seed, 6, start_ms // HOUR_MS]).random() < share
            alive = (rhythm.from_ms <= start_ms) & (rhythm.until_ms > start_ms) & (rng.random(rhythm.turns.size) < 0.9)
            account = np.flatnonzero(alive & chosen)
            began = start_ms + rng.integers(0, min(60_000, stop_ms - start_ms), account.size)
            turns = np.maximum(rng.poisson(rhythm.sessions_per_day[account] * rhythm.turns[account] / (24 * share)), 1)
            return account, began, np.minimum(turns, rhythm.max_turns)

        return starts

    return starts_of
