"""Whole runs through the real feed and the real replay, as the benches of input measure them."""

import resource
import sys
from pathlib import Path
from typing import Any, NamedTuple

from detector.config import Settings
from detector.events import EventBatch
from detector.runtime.feed import AHEAD, pieces
from detector.runtime.replay import Result, replay
from detector.runtime.writer import EventWriter
from tests.bench import traffic
from tests.bench.measure import GIB, Bar, Pace, figure, in_child, memory, profiled

WORKERS = 2
LEAD = AHEAD * WORKERS  # blocks under way


class Run(NamedTuple):
    """What a replay showed."""

    pace: Pace
    links: int
    alerts: int
    members: int
    peak: int  # resident bytes, this process
    peak_worker: int  # and of the largest of its workers


def feed_pace(path: Path) -> Pace:
    """Read a log through the feed, dropping its frames."""
    pace, rows = Pace(), 0
    for piece in pieces([str(path)], key=traffic.KEY, tenants=(), workers=WORKERS):
        if not isinstance(piece, str):
            rows += piece.rows
            pace.mark(rows)
    return pace.stop(rows)


def replay_run(path: str, out: str, workers: int = WORKERS, profile: bool = False) -> Run:  # noqa: FBT002 - goes to a child
    """Replay a log with the settings as shipped."""
    pace = Pace()
    with profiled(on=profile):
        result: Result = replay(
            [path],
            out=Path(out),
            settings=Settings(),
            key=traffic.KEY,
            workers=workers,
            progress=lambda p: pace.mark(p.rows),
        )
    pace.stop(result.rows)
    links = sum(j.links.index.live() for j in result.judges.values())
    scale = 1 if sys.platform == "darwin" else 1024
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * scale
    return Run(pace, links, len(result.alerts), len(result.members), memory().peak, worker)


def fresh_replay(path: Path, *, out: Path, workers: int = WORKERS, profile: bool = False) -> Run:
    """The same in a process of its own, so that its memory is its own too."""
    made: Any = in_child(replay_run, str(path), str(out), workers, profile)
    return Run(*made)


def write_log(path: Path, batches: Any) -> Path:
    """Write event batches, unless the log is there."""
    if not path.exists():
        batch: EventBatch
        with EventWriter(path) as writer:
            for batch in batches:
                writer.write(batch)
    return path


def print_pace(
    name: str, pace: Pace, *, short: Pace, floor: float, bar: Bar | None = None, ratio_bar: Bar | None = None
) -> None:
    """Print the rate in the middle of a run, over the whole, and what two idle cores would allow.

    `short` is the same over few events: the difference is free of what starting costs.
    """
    rate = pace.between(lead=LEAD)
    figure(name, rate, "events/s", ratio=rate / floor, bar=bar)
    if ratio_bar is not None:
        figure("  ratio to the floor", rate / floor, "", bar=ratio_bar)
    figure("  with start and end of the processes", pace.whole(), "events/s", ratio=pace.whole() / floor)
    own_s, workers_s = pace.cpu - short.cpu
    rows = pace.marks[-1][1] - short.marks[-1][1]
    figure("  processor time, start aside: this process", own_s / rows * 1e6, "us/event")
    figure("  processor time, start aside: the workers", workers_s / rows * 1e6, "us/event")
    # The parent's work is serial; what the workers do fills up the rest of two cores.
    idle = rows / max(own_s, (own_s + workers_s) / 2)
    figure("  so two idle cores would make at most", idle, "events/s", ratio=idle / floor)
    figure("  processor time of a start", sum(short.cpu), "s")


def print_memory(run: Run) -> None:
    """Print what the processes held at most."""
    figure("  resident at most: judge", run.peak / GIB, "GiB")
    figure("  resident at most: a worker", run.peak_worker / GIB, "GiB")
