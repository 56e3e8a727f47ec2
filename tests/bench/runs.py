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


def start_cpu_s(at: Path, *, feed: bool) -> float:
    """Processor time of a run over a single event: what processes cost before they read."""
    path = write_log(at / "one.jsonl.zst", traffic.batches("thin", traffic.Mix(50, 5, 1), rows=1))
    return (feed_pace(path) if feed else fresh_replay(path, out=at / "out").pace).cpu_s


def write_log(path: Path, batches: Any) -> Path:
    """Write event batches, unless the log is there."""
    if not path.exists():
        batch: EventBatch
        with EventWriter(path) as writer:
            for batch in batches:
                writer.write(batch)
    return path


def print_pace(
    name: str, pace: Pace, *, start_s: float, floor: float, bar: Bar | None = None, ratio_bar: Bar | None = None
) -> None:
    """Print the rate in the middle of a run, over the whole, and what two idle cores would allow.

    `start_s` is the processor time of a run over nothing.
    """
    rate, rows = pace.between(lead=LEAD), pace.marks[-1][1]
    figure(name, rate, "events/s", ratio=rate / floor, bar=bar)
    if ratio_bar is not None:
        figure("  ratio to the floor", rate / floor, "", bar=ratio_bar)
    figure("  with start and end of the processes", pace.whole(), "events/s", ratio=pace.whole() / floor)
    cpu_s = max(pace.cpu_s - start_s, 1e-9) / rows
    figure("  processor time of all processes, start aside", cpu_s * 1e6, "us/event")
    figure("  so two idle cores would make at most", 2 / cpu_s, "events/s", ratio=2 / cpu_s / floor)


def print_memory(run: Run) -> None:
    """Print what the processes held at most."""
    figure("  resident at most: judge", run.peak / GIB, "GiB")
    figure("  resident at most: a worker", run.peak_worker / GIB, "GiB")
