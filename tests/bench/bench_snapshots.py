"""Snapshots of a judge at size, on a real Kafka: how long they stop the fold, what they hold, how fast they come back.

Floor: the same fold in the same process while no snapshot is made; the state's own resident
memory (with everything, less an empty judge); the whole generation, for what changed.
Measured: a judge that knows so many accounts and links folds `--rate` events a second, drawn
over all of them, while its state is written by the child, sent and acknowledged: the longest
wait for the fold of 256 events (a pane of their own; discovery at every sixth); parent and
child together in memory (PSS); the size of a generation after a minute at letter density (15
events a second); a fresh process that takes over from the topic onto an empty disk, and one
that finds its files. By the clock a wait has the machine's other work in it.
Not measured: brokers over a network; the frames that a successor folds after the snapshot.
Run: `python -m tests.bench.bench_snapshots [--full] [--accounts N] [--rate N]`.
"""

import argparse
import asyncio
import multiprocessing
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from detector.config import Settings, TableSettings
from detector.frames import NUM, Frame
from detector.hashing import DEVELOPMENT_KEY
from detector.judge import Judge
from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.generations import Past
from detector.runtime.kafka.recovery import recover
from detector.runtime.kafka.session import Place, Session
from detector.runtime.kafka.tally import Tally
from detector.runtime.kafka.topics import create_topics
from tests.bench import traffic
from tests.bench.measure import arguments, at_most, figure, folder, headline, in_child, memory

QUICK, FULL = 60_000, 1_300_000  # of each table; the latter are 2 GB
PER_SECOND = 20_000  # while the tables are filled
EVENTS_PER_ACCOUNT = 2
STEP_ROWS = 256
WARM_S, CALM_S, STOCK_S = 2.0, 6.0, 20.0
NAP_S, SAMPLE_S = 0.002, 0.2
LETTER_ROWS, MINUTE_MS, PANE_MS = 900, 60_000, 10_000  # 15 events a second
GB = 1e9
KINDS = ("whole", "whole, sampled", "after a letter minute")


class Wait(NamedTuple):
    """The longest time from one fold to the next one's turn: by the clock, and of the thread's processor."""

    clock_s: float
    busy_s: float


class Made(NamedTuple):
    """One snapshot as the folding process saw it."""

    took_s: float
    wait: Wait
    bytes: int
    before: int  # resident bytes when it began, what the bench holds ready included


class Held(NamedTuple):
    """What the first process measured; memory in bytes."""

    empty: int
    state: int
    peak: int
    live: tuple[int, int, int]
    calm: Wait
    made: dict[str, Made]


class Taken(NamedTuple):
    """What a successor measured."""

    took_s: float
    now: int
    peak: int


def settings_for(accounts: int) -> Settings:
    """Tables with room for so many."""
    rows = max(accounts, TableSettings().accounts_max)
    return Settings(tables=TableSettings(accounts_max=rows, links_max=rows))


def place_of(bootstrap: str, directory: str, settings: Settings) -> Place:
    """The place of the one tenant."""
    connection = Connection(bootstrap=bootstrap, group="bench", state_directory=directory)
    return Place(
        tenant=traffic.TENANT,
        partition=0,
        settings=settings,
        key=DEVELOPMENT_KEY,
        connection=connection,
        tally=Tally(),
    )


class Events:
    """An endless log, a step at a time; what comes is made before it is asked for."""

    def __init__(self, accounts: int) -> None:
        """Begin at the first event."""
        self.mix = traffic.Mix(
            accounts=accounts, shared=accounts // traffic.shared_columns("bench"), per_second=PER_SECOND
        )
        self.row, self.next = traffic.example("bench"), 0
        self.ready: deque[Frame] = deque()
        self.now_ms = 0

    def frame(self, rows: int) -> Frame:
        """The next rows."""
        first, self.next = self.next, self.next + rows
        return traffic.framed(traffic.batch(self.row, self.mix, first=first, rows=rows), first=first)

    def over(self, rows: int, *, span_ms: int) -> Frame:
        """The next rows, spread evenly over so much event time after all before."""
        frame = self.frame(rows)
        numbers = frame.numbers.copy()
        start_ms = max(self.now_ms, int(numbers[0, NUM.TIME]) // MINUTE_MS * MINUTE_MS + MINUTE_MS)
        numbers[:, NUM.TIME] = start_ms + np.arange(rows) * span_ms // rows
        self.now_ms = start_ms + span_ms
        return frame._replace(numbers=numbers)

    def stock(self, seconds: float, *, rate: int) -> None:
        """Make the steps of so many seconds, each a pane of its own: a step merges what the one before it brought."""
        steps = int(seconds * rate) // STEP_ROWS
        self.ready += [self.over(STEP_ROWS, span_ms=PANE_MS) for _ in range(steps)]

    def give_back(self) -> None:
        """Forget what nobody folded."""
        if self.ready:
            self.next = self.ready[0].first
            self.ready.clear()


def fold(judge: Judge, frame: Frame) -> None:
    """Fold, and take what comes of it."""
    judge.apply(frame)
    judge.take_outputs()
    judge.take_refused()


async def folding(judge: Judge, events: Events, rate: int, until: Callable[[], bool]) -> Wait:
    """Fold what is in stock at a pace; returns how long a fold's turn took at most."""
    longest, folded, begun = Wait(0.0, 0.0), 0, time.perf_counter()
    while events.ready and not until():
        busy, start = time.thread_time(), time.perf_counter()
        fold(judge, events.ready.popleft())
        folded += STEP_ROWS
        await asyncio.sleep(0)
        over = time.perf_counter() - start
        due = begun + folded / rate
        while (rest := min(due - time.perf_counter(), NAP_S)) > 0:
            slept = time.perf_counter()
            await asyncio.sleep(rest)
            over = max(over, time.perf_counter() - slept - rest)
        longest = Wait(max(longest.clock_s, over), max(longest.busy_s, time.thread_time() - busy))
    events.give_back()
    return longest


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    except OSError:
        return 0


def _children(pid: int) -> set[int]:
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def watch(pid: int, ready: Any, done: Any, peak: Any) -> None:
    """Sample what a process and the children that it has from now on hold together; runs in a process of its own."""
    others = _children(pid)
    ready.set()
    while not done.wait(SAMPLE_S):
        peak.value = max(peak.value, _pss(pid) + sum(map(_pss, _children(pid) - others)))


async def made_while_folding(session: Session, events: Events, rate: int) -> Made:
    """Make a snapshot while the fold goes on."""
    events.stock(STOCK_S, rate=rate)
    before = memory().now
    session.next_offset += 1
    start = time.perf_counter()
    task = asyncio.create_task(session.snapshot())
    wait = await folding(session.judge, events, rate, task.done)
    await task
    return Made(time.perf_counter() - start, wait, session.past.chain[-1].size, before)


async def _hold(bootstrap: str, directory: str, accounts: int, rate: int) -> Held:
    session = await recover(place_of(bootstrap, directory, settings_for(accounts)), first=0)
    events = Events(accounts)
    judge = session.judge = Judge(traffic.TENANT, (traffic.SOURCE,), settings_for(accounts))
    fold(judge, events.frame(STEP_ROWS))
    empty = memory().now
    while events.next < accounts * EVENTS_PER_ACCOUNT:
        fold(judge, events.frame(traffic.BLOCK_ROWS))
    session.past = Past(judge, key=DEVELOPMENT_KEY)
    state = memory().now
    for seconds in (WARM_S, CALM_S):
        events.stock(seconds, rate=rate)
        calm = await folding(judge, events, rate, lambda: False)
    made = {KINDS[0]: await made_while_folding(session, events, rate)}

    context = multiprocessing.get_context("spawn")
    ready, done, peak = context.Event(), context.Event(), context.Value("q", 0)
    session.past.chain = ()  # so that the next one is whole again
    watcher = context.Process(target=watch, args=(multiprocessing.current_process().pid, ready, done, peak))
    watcher.start()
    ready.wait()
    made[KINDS[1]] = await made_while_folding(session, events, rate)
    done.set()
    watcher.join()

    while True:
        session.next_offset += 1
        await session.snapshot()
        if not session.past.whole_due():
            break
    fold(judge, events.over(LETTER_ROWS, span_ms=MINUTE_MS))
    session.next_offset += 1
    start = time.perf_counter()
    await session.snapshot()
    made[KINDS[2]] = Made(time.perf_counter() - start, calm, session.past.chain[-1].size, 0)
    pools = judge.links.pools.shape[0] - int(judge.links.free[0])
    live = (judge.accounts.index.live(), judge.links.index.live(), pools)
    await session.close()
    return Held(empty, state, peak.value, live, calm, made)


def hold(bootstrap: str, directory: str, accounts: int, rate: int) -> Held:
    """Fill a judge and make its snapshots."""
    return asyncio.run(_hold(bootstrap, directory, accounts, rate))


async def _take_over(bootstrap: str, directory: str, accounts: int) -> Taken:
    start = time.perf_counter()
    session = await recover(place_of(bootstrap, directory, settings_for(accounts)), first=0)
    took_s = time.perf_counter() - start
    await session.close()
    return Taken(took_s, *memory())


def take_over(bootstrap: str, directory: str, accounts: int) -> Taken:
    """Recover what the topic or the disk holds."""
    return asyncio.run(_take_over(bootstrap, directory, accounts))


def report(held: Held, rate: int) -> None:
    """Print what the folding process measured."""
    size = held.state - held.empty
    headline(
        "state and its snapshots", accounts=held.live[0], links=held.live[1], pools=held.live[2], events_per_second=rate
    )
    figure("state in memory", size / GB, "GB", ratio=1.0)
    figure("longest wait for a fold without a snapshot", held.calm.clock_s * 1e3, "ms", ratio=1.0)
    figure("the same, of the thread's own work", held.calm.busy_s * 1e3, "ms", ratio=1.0)
    whole = held.made[KINDS[0]]
    for kind in KINDS[:2]:
        made = held.made[kind]
        figure(f"{kind}: durable in", made.took_s, "s")
        for what, wait, calm in (
            ("wait", made.wait.clock_s, held.calm.clock_s), ("own work", made.wait.busy_s, held.calm.busy_s),
        ):  # fmt: skip
            figure(f"{kind}: longest {what}", wait * 1e3, "ms", ratio=wait / calm)
            figure("  which is more than without by", (wait - calm) * 1e3, "ms", bar=at_most(200.0))
    figure("whole: sent", whole.bytes / GB, "GB", ratio=whole.bytes / size)
    both = size + held.peak - held.made[KINDS[1]].before
    figure("parent and child at most", both / GB, "GB", ratio=both / size, bar=at_most(1.5 * size / GB))
    letter = held.made[KINDS[2]]
    figure(f"{KINDS[2]}: sent", letter.bytes / GB * 1e3, "MB", ratio=letter.bytes / whole.bytes)
    figure(f"{KINDS[2]}: durable in", letter.took_s, "s")


def main() -> None:
    """Print what snapshots cost and how fast they come back."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--accounts", type=int, default=0)
        parser.add_argument("--rate", type=int, default=5_000)

    options = arguments(__doc__, own)
    accounts = options.accounts or (FULL if options.full else QUICK)
    with folder(None) as work, Broker(work / "broker") as broker:
        create_topics(Connection(bootstrap=broker.bootstrap), Settings(), access_partitions=1)
        raw = in_child(hold, broker.bootstrap, str(work / "first"), accounts, options.rate)
        held = Held(*raw)
        report(held, options.rate)
        headline("taken over by a fresh process: the chain of a whole generation and two more")
        size = held.state - held.empty
        for name, directory in (("from Kafka onto an empty disk", "second"), ("from the local copy", "second")):
            taken = Taken(*in_child(take_over, broker.bootstrap, str(work / directory), accounts))
            figure(f"{name}: state restored in", taken.took_s, "s", bar=at_most(60.0))
            figure(f"{name}: memory at most", (taken.peak - held.empty) / GB, "GB",
                   ratio=(taken.peak - held.empty) / size, bar=at_most(1.5 * size / GB))  # fmt: skip


if __name__ == "__main__":
    main()
