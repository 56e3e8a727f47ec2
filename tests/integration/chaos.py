"""Chaos: workers of every layout, killed, paused, stopped and robbed of their disks at random, brokers bounced.

`make chaos SEED= RUNS=`, or `python -m tests.integration.chaos`: every run draws a layout and some
actions from its seed, lets the workers finish, and holds the outputs against a replay's, byte
for byte and each once. It prints the log of each seed that failed, and one line at the end.
Workers are forked from this process, which has loaded all that they need: a start takes the
time of joining a group. One broker serves all runs; topics, groups and disks are of a run.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from detector.__main__ import app
from detector.config import Settings
from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.integration.conftest import Recorded
from tests.integration.live import (
    SETTINGS,
    all_ended,
    configuration,
    end_with_parent,
    environment,
    progress,
    recorded_run,
    wait_until,
)
from tests.integration.test_crashes import put, undisturbed

SESSION_MS = 1_500
PAUSE_S = 1.5  # beyond the session's end
FINISH_S = 90.0
TAIL_BYTES = 3_000
FILES_MAX = 4_096
LAYOUTS = (("encode,judge",), ("encode,judge",) * 2, ("encode", "judge"), ("encode", "encode", "judge", "judge"))


class Forked:
    """A worker: a fork of this process that runs the command line, with its log in a file."""

    def __init__(self, connection: Connection, folder: Path, roles: str, number: int) -> None:
        """Prepare; nothing runs before `start`."""
        self.roles, self.state, self.log = roles, folder / f"state{number}", folder / f"worker{number}.log"
        own = msgspec.structs.replace(connection, state_directory=str(self.state))
        home = folder / f"home{number}"
        home.mkdir()
        self.arguments = [
            "run",
            "--config",
            str(configuration(own, home)),
            "--from-beginning",
            "--roles",
            roles,
            *("--http", "127.0.0.1:0"),
            *SETTINGS,
        ]
        self.pid = 0

    def start(self) -> None:
        """Run it; a process of threads could not be forked."""
        assert threading.active_count() == 1, threading.enumerate()
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            end_with_parent()
            out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            os.closerange(3, FILES_MAX)  # the pipe that keeps the broker alive among them
            app(self.arguments, standalone_mode=False)
            code = 0
        except BaseException:  # noqa: BLE001 - said in the log, and by the code
            traceback.print_exc()
        finally:
            os._exit(code)

    def alive(self) -> bool:
        """Whether it runs; one that ended by itself is an error of the run."""
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.pid = 0
            raise AssertionError(f"{self.roles} ended by itself")
        return bool(self.pid)

    def end(self, number: signal.Signals) -> None:
        """Send a signal that ends it, and wait for that."""
        if self.pid:
            os.kill(self.pid, number)
            os.waitpid(self.pid, 0)
            self.pid = 0


class Run:
    """One seed's workers and what is done to them."""

    def __init__(self, seed: int, broker: Broker, recorded: Recorded, folder: Path) -> None:
        """Make topics and draw the layout."""
        self.chance, self.broker, self.recorded, self.folder = random.Random(seed), broker, recorded, folder
        interval_ms = self.chance.choice([300, 1_000, 4_000])
        self.connection = Connection(
            bootstrap=broker.bootstrap, prefix=f"c{seed}.", group=f"c{seed}", session_timeout_ms=SESSION_MS,
            snapshot_interval_ms=interval_ms,
        )  # fmt: skip
        create_topics(self.connection, Settings(), access_partitions=4)
        roles = self.chance.choice(LAYOUTS)
        self.workers = [Forked(self.connection, folder, r, number) for number, r in enumerate(roles)]
        self.done = [f"layout {' | '.join(roles)}, snapshots every {interval_ms} ms"]

    def note(self, what: str) -> None:
        """Remember what was done."""
        self.done.append(what)

    def some(self, role: str) -> Forked:
        """One of the workers of a role."""
        return self.chance.choice([w for w in self.workers if role in w.roles])

    def restart(self, worker: Forked) -> None:
        """Start it again, now and then on an empty disk."""
        if self.chance.random() < 0.5:
            shutil.rmtree(worker.state, ignore_errors=True)
            self.note("  its disk is lost")
        worker.start()

    def kill(self) -> None:
        """End one as a power cut would."""
        worker = self.chance.choice(self.workers)
        self.note(f"kill {worker.roles}")
        worker.end(signal.SIGKILL)
        self.restart(worker)

    def leave(self) -> None:
        """Stop one in order: the group is balanced anew, twice."""
        worker = self.chance.choice(self.workers)
        self.note(f"stop {worker.roles}")
        worker.end(signal.SIGTERM)
        time.sleep(self.chance.uniform(0, 1))
        self.restart(worker)

    def redeliver(self) -> None:
        """Kill an encoder whose frames are durable and whose offsets are not committed."""
        worker = self.some("encode")
        before = self.position()
        deadline_s = time.monotonic() + 2
        while self.position() == before and time.monotonic() < deadline_s:
            time.sleep(0.01)
        self.note(f"kill {worker.roles} behind its frames, at {self.position()} of them after {before}")
        worker.end(signal.SIGKILL)
        self.restart(worker)

    def position(self) -> int:
        """How far the judge has folded."""
        found = progress(self.connection)
        return found.frame_offset if found is not None else 0

    def pause(self) -> None:
        """Let a judge sleep until another one has taken over, and wake."""
        worker = self.some("judge")
        assert worker.alive()
        os.kill(worker.pid, signal.SIGSTOP)
        heir = Forked(self.connection, self.folder, "judge", len(self.workers))
        heir.start()
        self.workers.append(heir)
        asleep_s = SESSION_MS / 1000 + self.chance.uniform(0.2, PAUSE_S)
        self.note(f"pause {worker.roles} for {asleep_s:.1f} s")
        time.sleep(asleep_s)
        os.kill(worker.pid, signal.SIGCONT)

    def bounce(self) -> None:
        """Stop the broker, in order or not, and start it."""
        kills, away_s = self.chance.random() < 0.5, self.chance.uniform(0, 1.5)
        self.note(f"{'kill' if kills else 'stop'} the broker for {away_s:.1f} s")
        (self.broker.kill if kills else self.broker.stop)()
        time.sleep(away_s)
        self.broker.start()

    def perform(self) -> None:
        """Do all of it; raises where an output differs, a worker ends by itself, or nothing goes on."""
        early = self.chance.random() < 0.7
        if early:
            put(self.connection, self.recorded)
        for worker in self.workers:
            worker.start()
        if not early:
            time.sleep(self.chance.uniform(0.2, 1.5))
            put(self.connection, self.recorded)
        self.note(f"records {'before' if early else 'behind'} the start")
        actions: list[Callable[[], None]] = [self.kill] * 4 + [self.redeliver] * 3 + [self.pause] * 2 + [self.leave] * 2
        if self.chance.random() < 0.15:
            self.chance.choice([time.sleep, lambda _: wait_until(self.position, what="progress")])(0.2)
            self.bounce()
        for _ in range(self.chance.randrange(1, 4)):
            time.sleep(self.chance.uniform(0.05, 0.8))
            self.chance.choice(actions)()
        self.note("no more")
        wait_until(
            lambda: all(w.alive() for w in self.workers) and all_ended(self.connection),
            timeout_s=FINISH_S, what="the end",
        )  # fmt: skip
        undisturbed(self.connection, self.recorded)

    def close(self) -> None:
        """End what is left."""
        for worker in self.workers:
            worker.end(signal.SIGKILL)


def failure(seed: int, broker: Broker, recorded: Recorded, *, done: Counter[str]) -> str | None:
    """Run a seed, counting what is done; returns what went wrong, with the workers' logs, or None."""
    with tempfile.TemporaryDirectory(prefix=f"stillwatch-chaos-{seed}-") as made:
        folder = Path(made)
        run = Run(seed, broker, recorded, folder)
        try:
            run.perform()
        except Exception:  # noqa: BLE001 - the seed is said, the other seeds run
            said = [traceback.format_exc()[-TAIL_BYTES:], *run.done]
            said += [f"--- {log.name}\n{log.read_text()[-TAIL_BYTES:]}" for log in sorted(folder.glob("*.log"))]
            return "\n".join(said)
        finally:
            run.close()
            done.update(note.split()[0] for note in run.done if note.startswith(("kill", "stop", "pause", "  its")))
    return None


@contextmanager
def prepared() -> Iterator[tuple[Broker, Recorded]]:
    """A broker, and a recorded run, which loads what the workers need."""
    os.environ.update(environment())
    with tempfile.TemporaryDirectory(prefix="stillwatch-chaos-") as made:
        folder = Path(made)
        recorded = Recorded(*recorded_run(folder))
        with Broker(folder / "kafka") as broker:
            yield broker, recorded


def main() -> None:
    """Run the seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    failed, done, begun_s = [], Counter[str](), time.monotonic()
    with prepared() as (broker, recorded):
        for seed in range(options.seed, options.seed + options.runs):
            wrong = failure(seed, broker, recorded, done=done)
            print(f"\rseed {seed}: {time.monotonic() - begun_s:.0f} s", end="", file=sys.stderr)  # noqa: T201 - a sign of life
            if wrong is not None:
                failed.append(seed)
                print(f"seed {seed} failed:\n{wrong}\n", flush=True)  # noqa: T201 - a program of its own
    said = f"seeds {', '.join(map(str, failed))} failed" if failed else "all passed"
    counts = f"{done['kill']} kills, {done['stop']} stops, {done['pause']} pauses, {done['its']} lost disks"
    took_s = time.monotonic() - begun_s
    print(  # noqa: T201 - the same
        f"chaos: {options.runs} runs from seed {options.seed} in {took_s:.0f} s, {counts}: {said}", flush=True
    )
    raise SystemExit(bool(failed))


if __name__ == "__main__":
    main()
