"""Time, fresh processes and printed figures, shared by the benches.

Every figure is printed with the bar that it is held against and, where there is one, as a
ratio to a floor measured in the same run: figures of two machines, or of a quiet and a
noisy hour, compare by their ratios only. Nothing is asserted.
"""

import argparse
import cProfile
import os
import platform
import pstats
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PROFILE_ROWS = 25
GIB = 1 << 30


class Bar(NamedTuple):
    """What a figure is held against: a limit, and whether it is the least or the most."""

    limit: float
    least: bool

    def met(self, value: float) -> bool:
        """Whether a value holds it."""
        return value >= self.limit if self.least else value <= self.limit


def at_least(limit: float) -> Bar:
    """A figure that should not be lower."""
    return Bar(limit, least=True)


def at_most(limit: float) -> Bar:
    """A figure that should not be higher."""
    return Bar(limit, least=False)


def number(value: float) -> str:
    """Write a figure with four significant digits or more.

    >>> number(1234567.8), number(0.5)
    ('1,234,568', '0.500')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def figure(name: str, value: float, unit: str, *, bar: Bar | None = None, ratio: float | None = None) -> None:
    """Print one figure, its ratio to the floor and its bar."""
    beside = "" if ratio is None else f"{ratio:8.2f} x floor"
    said = ""
    if bar is not None:
        side = ">=" if bar.least else "<="
        said = f"   bar {side} {number(bar.limit)}: {'met' if bar.met(value) else 'MISSED'}"
    print(f"  {name:<52}{number(value):>13} {unit:<10}{beside:<16}{said}", flush=True)


def headline(title: str, **sizes: object) -> None:
    """Print what is measured and at which sizes."""
    print(f"\n{title}", flush=True)
    if sizes:
        print(
            "  " + ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in sizes.items()), flush=True
        )


def revision() -> str:
    """The commit that is measured, with a mark where files differ from it."""
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],  # noqa: S607 - git is found by its path
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.stdout.strip() or "unknown"


def arguments(doc: str | None, add: Callable[[argparse.ArgumentParser], object] = lambda _: None) -> argparse.Namespace:
    """Read the options that all benches share, and print the machine and the commit.

    `add` adds the bench's own options.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full", action="store_true", help="the sizes of the bars; else smaller ones that end in a minute"
    )
    parser.add_argument("--profile", action="store_true", help="print where the measured process spends its time")
    parser.add_argument("--only", default="", help="run the parts whose name begins so")
    add(parser)
    read = parser.parse_args()
    name = Path(sys.argv[0]).stem
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    sizes = "full" if read.full else "quick"
    print(f"{name}: commit {revision()}, Python {platform.python_version()}, {cores} cores, {sizes} sizes")
    return read


def seconds(work: Callable[[], object]) -> float:
    """Processor time of one call in this process: others on the machine do not count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def best_seconds(work: Callable[[], object], *, passes: int = 3) -> float:
    """Best of some calls; a first one, which warms caches, does not count."""
    work()
    return min(seconds(work) for _ in range(passes))


@contextmanager
def profiled(*, on: bool) -> Iterator[None]:
    """Print the costliest functions of the block by processor time."""
    if not on:
        yield
        return
    profile = cProfile.Profile(time.process_time)
    profile.enable()
    try:
        yield
    finally:
        profile.disable()
        pstats.Stats(profile, stream=sys.stdout).sort_stats("tottime").print_stats(PROFILE_ROWS)


class Pace:
    """Rows over time, for a rate in the middle of a run as well as over the whole."""

    def __init__(self) -> None:
        """Start the clock."""
        self.start_s, self.start_cpu = time.perf_counter(), cpu()
        self.cpu = Cpu(0.0, 0.0)
        self.marks: list[tuple[float, int]] = []

    def mark(self, rows: int) -> None:
        """Note that so many rows are done in all."""
        self.marks.append((time.perf_counter() - self.start_s, rows))

    def stop(self, rows: int) -> "Pace":
        """Note the end, after which no process of the run is left."""
        self.mark(rows)
        self.cpu = cpu() - self.start_cpu
        return self

    def whole(self) -> float:
        """Rows per second from the start of the clock to the last mark."""
        took_s, rows = self.marks[-1]
        return rows / took_s

    def between(self, *, lead: int) -> float:
        """Rows per second without the first and the last `lead` marks.

        The start of worker processes falls out, and the queue of blocks under way is as
        full at the end of the span as at its beginning.
        """
        if len(self.marks) <= 2 * lead + 1:
            return self.whole()
        (first_s, first), (last_s, last) = self.marks[lead], self.marks[-1 - lead]
        return (last - first) / (last_s - first_s)

    def cost(self, *, since: float, until: float) -> float:
        """Seconds per row between two shares (0 to 1) of all rows."""
        total = self.marks[-1][1]
        span = [m for m in self.marks if since * total <= m[1] <= until * total]
        return (span[-1][0] - span[0][0]) / max(span[-1][1] - span[0][1], 1)


class Cpu(NamedTuple):
    """Processor seconds: of this process, and of its children that have ended."""

    own_s: float
    workers_s: float

    def __sub__(self, other: "Cpu") -> "Cpu":
        """The time between two readings."""
        return Cpu(self.own_s - other.own_s, self.workers_s - other.workers_s)


def cpu() -> Cpu:
    """Read it: on a machine that others use too it says more than the clock."""
    own, ended = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return Cpu(own.ru_utime + own.ru_stime, ended.ru_utime + ended.ru_stime)


class Memory(NamedTuple):
    """Resident bytes of a process: now, and the most so far."""

    now: int
    peak: int


def memory() -> Memory:
    """Resident memory of this process."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return Memory(*(int(lines[k].split()[0]) * 1024 for k in ("VmRSS", "VmHWM")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Memory(peak, peak)


def in_child(work: Callable[..., Any], *args: Any) -> Any:
    """Run a module-level function in a fresh process, whose memory holds nothing else, and return its value."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *args).result()


@contextmanager
def folder(kept: Path | None) -> Iterator[Path]:
    """The folder for logs that a bench makes: a temporary one, or one that stays."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="stillwatch-bench-") as made:
        yield Path(made)
