"""When who sends what: sessions of requests, hour by hour.

Purpose: a `Population` draws its accounts' sessions for one hour of event time after the
other and turns them into rows; a session that runs past the hour waits for its turn.
Invariants: draws depend on (seed, population, hour) alone; memory holds one hour and what
is still open, however long the run.
A request that fails is sent again a few seconds later, as client libraries do.
Limits: a session lasts at most `max_turns` requests; times are whole milliseconds.
"""

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from detector.tuning.generate.accounts import DAY_MS, NEW_MODEL, REASONING, Accounts
from detector.tuning.generate.answers import Board, name_answers, thought
from detector.tuning.generate.columns import F64, I64, U64, Mask, pick, ranks_within, sums_before
from detector.tuning.generate.rates import WEEK_HOURS, Rates, draw

HOUR_MS = 3_600_000
CHARS_PER_TOKEN = 4.0
SECOND_MODEL_SHARE = 0.15
# Outcomes of a request: fine, too many requests, server error, overloaded, bad request.
STATUS_WEIGHTS = (987, 6, 2, 2, 3)
OUTAGE_WEIGHTS = (700, 60, 60, 175, 5)
BAD_REQUEST = 4
RETRY_SHARE = 0.7
RETRY_S = 4.0
RETRIES = 3


class Rows(NamedTuple):
    """Requests before they are rendered, as equal-length columns."""

    account: I64
    time_ms: I64  # completion
    text: I64
    variant: I64
    session: U64  # opaque; one per request where requests stand alone
    turn: I64  # 0 for single requests
    history_tokens: I64
    visible_tokens: I64
    place: I64  # which of the account's addresses
    model: I64  # index into `accounts.MODELS`
    status: I64  # index into the outcomes
    answer: U64  # name of the output, 0 none
    recycled: U64  # the earlier answer that the prompt holds, 0 none
    presented: U64  # the earlier answer whose reasoning signature the request presents, 0 none
    system: I64  # index of the system prompt, -1 none


class Rhythm(NamedTuple):
    """How each account of a population behaves in time: arrays over accounts unless said otherwise."""

    sessions_per_day: F64
    turns: F64  # mean requests per session
    gap_s: F64  # median gap inside a session
    gap_sigma: F64
    profile: I64  # row of `Rates.weights`
    output: I64  # row of `Rates.outputs`
    output_factor: F64
    from_ms: I64
    until_ms: I64
    home: F64  # 1: all addresses alike; more: mostly the first
    day_shape: float = 2.0  # gamma shape of an account's days: small is bursty
    single: bool = False  # every request stands alone
    max_turns: int = 40
    keeps_history: bool = True  # input tokens grow with the conversation
    reuses: float = 0.08  # share of later turns whose prompt quotes the answer before


class Exchange(NamedTuple):
    """What a population does with its own and others' answers, and how its accounts share the work."""

    writes: Board | None = None  # leaves its answers here
    reads: Board | None = None  # prompts quote answers from here ...
    reads_share: float = 0.0  # ... in this share of requests
    replays: Board | None = None  # presents reasoning signatures of answers from here ...
    replays_share: float = 0.0
    spreads: bool = False  # the turns of a session go through any accounts of the population
    elsewhere: bool = False  # a failed request is sent again through another account
    systems: tuple[int, ...] = ()  # each session brings one of these system prompts instead of the account's


ALONE = Exchange()


class Session(NamedTuple):
    """The requests of some sessions, session after session: arrays over requests, `starts` over sessions."""

    account: I64
    rank: I64  # position in its session
    session: I64  # index of the session
    turns: I64  # over sessions: number of requests


Chooser = Callable[[np.random.Generator, Session], tuple[I64, I64]]
Starts = Callable[[np.random.Generator, int, int], tuple[I64, I64, I64]]


def empty_rows() -> Rows:
    """No rows."""
    none, names = np.zeros(0, np.int64), np.zeros(0, np.uint64)
    return Rows(none, none, none, none, names, none, none, none, none, none, none, names, names, names, none)


def stack(parts: Sequence[Rows]) -> Rows:
    """Rows one after the other."""
    return Rows._make(np.concatenate(columns) for columns in zip(*parts, strict=True)) if parts else empty_rows()


def select(rows: Rows, *, at: Mask | I64) -> Rows:
    """The rows at the given places or where the mask holds."""
    return Rows._make(column[at] for column in rows)


def poisson_starts(rhythm: Rhythm, *, rates: Rates, seed: Sequence[int]) -> Starts:
    """Sessions at random, by the account's rate, its hour of the week and how busy its day is."""

    def starts(rng: np.random.Generator, start_ms: int, stop_ms: int) -> tuple[I64, I64, I64]:
        hour = (start_ms // HOUR_MS + 72) % WEEK_HOURS  # 1970-01-01 was a Thursday; hour 0 is Monday 00:00
        day = np.random.default_rng([*seed, start_ms // DAY_MS])  # one mood per account and day
        shape = rhythm.day_shape
        mood = day.gamma(shape, 1 / shape, rhythm.turns.size)
        lived = np.minimum(rhythm.until_ms, stop_ms) - np.maximum(rhythm.from_ms, start_ms)
        expected = rhythm.sessions_per_day * rates.weights[rhythm.profile, hour] * mood * np.maximum(lived, 0) / DAY_MS
        account = np.repeat(np.arange(rhythm.turns.size), rng.poisson(expected))
        low = np.maximum(rhythm.from_ms[account], start_ms)
        high = np.minimum(rhythm.until_ms[account], stop_ms)
        began = low + (rng.random(account.size) * (high - low)).astype(np.int64)
        turns = 1 + rng.geometric(1 / np.maximum(rhythm.turns[account], 1.0)) - 1
        return account, began, np.clip(turns, 1, rhythm.max_turns)

    return starts


def nightly_starts(*, hour: I64, items: I64) -> Starts:
    """One session per account and night that walks through all its items, a few minutes past the hour."""

    def starts(rng: np.random.Generator, start_ms: int, stop_ms: int) -> tuple[I64, I64, I64]:
        account = np.flatnonzero(hour == start_ms // HOUR_MS % 24).astype(np.int64)
        return account, start_ms + rng.integers(0, min(600_000, stop_ms - start_ms), account.size), items[account]

    return starts


def name_seed(name: str) -> int:
    """A number for a population's name, the same everywhere."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big")


class Population:
    """Accounts of one kind, their rhythm, what they say; holds the sessions still open."""

    def __init__(
        self,
        name: str,
        *,
        campaign: str,
        accounts: Accounts,
        rhythm: Rhythm,
        chooser: Chooser,
        rates: Rates,
        seed: int,
        starts: Starts | None = None,
        exchange: Exchange = ALONE,
    ) -> None:
        """`seed` is the world's; `starts` defaults to sessions at random."""
        self.name = name
        self.campaign = campaign
        self.accounts = accounts
        self.rhythm = rhythm
        self._chooser = chooser
        self._rates = rates
        self._seed = [seed, name_seed(name)]
        self._starts = starts or poisson_starts(rhythm, rates=rates, seed=[*self._seed, 1])
        self._exchange = exchange
        self._waiting = empty_rows()

    def hour(self, *, start_ms: int, stop_ms: int, chars: I64, outage: tuple[int, int] = (0, 0)) -> Rows:
        """The rows that fall into [start_ms, stop_ms), in no particular order.

        Hours must be asked for in order. `chars` is the length of every text of the world;
        between the two times of `outage` many requests fail.
        """
        number = start_ms // HOUR_MS
        rng = np.random.default_rng([*self._seed, 2, number])
        account, began, turns = self._starts(rng, start_ms, stop_ms)
        made = empty_rows()
        if account.size:
            made = self._requests(rng, account=account, began=began, turns=turns, chars=chars)
            made = self._tried(rng, made, outage=outage)
            made = self._exchanged(rng, made, hour=number)
        rows = stack([self._waiting, made])
        rows = select(rows, at=rows.time_ms < self.rhythm.until_ms[rows.account])
        now = rows.time_ms < stop_ms
        self._waiting = select(rows, at=~now)
        rows = select(rows, at=now)
        if self._exchange.writes is not None:
            self._exchange.writes.put(rows.answer, hour=number)
        return rows

    def _requests(self, rng: np.random.Generator, *, account: I64, began: I64, turns: I64, chars: I64) -> Rows:
        """Spell out sessions into requests."""
        rhythm = self.rhythm
        session = np.repeat(np.arange(account.size), turns)
        rank = ranks_within(session)
        who = account[session]
        text, variant = self._chooser(rng, Session(account=who, rank=rank, session=session, turns=turns))
        if self._exchange.spreads:
            who = account[rng.integers(0, account.size, who.size)]
        u = rng.random(who.size)
        visible = np.maximum(draw(self._rates.outputs, row=rhythm.output[who], u=u) * rhythm.output_factor[who], 1)
        visible = visible.astype(np.int64)
        gap_s = rhythm.gap_s[who] * np.exp(rhythm.gap_sigma[who] * rng.standard_normal(who.size))
        # Reading and writing take time too: an answer of n tokens delays the next request by n/60 s.
        gap_ms = (1000 * (gap_s + 0.3)).astype(np.int64) + visible * 1000 // 60
        time_ms = began[session] + sums_before(gap_ms, ranks=rank) + visible * 12
        prompt_tokens = np.ceil(chars[text] / CHARS_PER_TOKEN).astype(np.int64)
        history = np.zeros_like(rank)
        if rhythm.keeps_history and not rhythm.single:
            history = sums_before(prompt_tokens + visible, ranks=rank)
        at_home = rng.random(account.size)[session] ** rhythm.home[who]
        names = rng.integers(1, 1 << 63, who.size if rhythm.single else account.size, dtype=np.uint64)
        model = self._models(rng, who=who, time_ms=time_ms)
        answer = name_answers(rng, tokens=visible, thinks=np.asarray(REASONING)[model])
        before = np.where(rank > 0, np.roll(answer, 1), np.uint64(0))
        quotes = before * (rng.random(who.size) < rhythm.reuses).astype(np.uint64)
        signed = thought(before) & (not rhythm.single) & self.accounts.keeps_signatures[who]
        return Rows(
            account=who,
            time_ms=time_ms,
            text=text,
            variant=variant,
            session=names if rhythm.single else names[session],
            turn=np.zeros_like(rank) if rhythm.single else rank,
            history_tokens=history,
            visible_tokens=visible,
            place=(self.accounts.address_count[who] * at_home).astype(np.int64),
            model=model,
            status=np.zeros_like(rank),
            answer=answer,
            recycled=quotes,
            presented=np.where(signed, before, np.uint64(0)),
            system=self._systems(names[: account.size], who=who, session=session),
        )

    def _systems(self, names: U64, *, who: I64, session: I64) -> I64:
        """The account's system prompt, or the one that the session brought along."""
        if not self._exchange.systems:
            return self.accounts.system[who]
        brought = np.asarray(self._exchange.systems)
        return np.asarray(brought[(names % np.uint64(brought.size)).astype(np.int64)][session], np.int64)

    def _models(self, rng: np.random.Generator, *, who: I64, time_ms: I64) -> I64:
        """The model of each request: the account's first or second choice, or the new one once it has moved."""
        accounts = self.accounts
        other = rng.random(who.size) < SECOND_MODEL_SHARE
        usual = np.where(other, accounts.second_model[who], accounts.model[who])
        moved = (time_ms >= accounts.switch_ms[who]) & (rng.random(who.size) > SECOND_MODEL_SHARE)
        return np.where(moved, NEW_MODEL, usual)

    def _tried(self, rng: np.random.Generator, rows: Rows, *, outage: tuple[int, int]) -> Rows:
        """Let requests fail and be sent again."""
        out = []
        alive = np.unique(rows.account)
        for _ in range(RETRIES + 1):
            count = rows.time_ms.size
            bad = (rows.time_ms >= outage[0]) & (rows.time_ms < outage[1])
            status = np.where(
                bad,
                pick(rng, weights=OUTAGE_WEIGHTS, count=count),
                pick(rng, weights=STATUS_WEIGHTS, count=count),
            )
            rows = rows._replace(status=status, answer=np.where(status == 0, rows.answer, np.uint64(0)))
            out.append(rows)
            rows = select(rows, at=(status > 0) & (status != BAD_REQUEST) & (rng.random(count) < RETRY_SHARE))
            again = rows.time_ms.size
            if again == 0:
                break
            if self._exchange.elsewhere:
                rows = rows._replace(account=alive[rng.integers(0, alive.size, again)], place=np.zeros_like(rows.place))
            later = (1000 * RETRY_S * rng.exponential(1.0, again) + 200).astype(np.int64)
            names = name_answers(rng, tokens=rows.visible_tokens, thinks=np.asarray(REASONING)[rows.model])
            rows = rows._replace(time_ms=rows.time_ms + later, answer=names)
        return stack(out)

    def _exchanged(self, rng: np.random.Generator, rows: Rows, *, hour: int) -> Rows:
        """Put answers found on boards into prompts, and their signatures into requests."""
        about, count = self._exchange, rows.time_ms.size
        if about.reads is not None:
            found = about.reads.take(rng, count=count, hour=hour)
            rows = rows._replace(recycled=np.where(rng.random(count) < about.reads_share, found, rows.recycled))
        if about.replays is not None:
            found = about.replays.take(rng, count=count, hour=hour, thinking=True)
            rows = rows._replace(presented=np.where(rng.random(count) < about.replays_share, found, rows.presented))
        return rows
