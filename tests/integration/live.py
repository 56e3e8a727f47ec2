"""What the tests of this folder share: workers as processes, topics read to their end, recorded runs."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import msgspec
import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from typer.testing import CliRunner

from detector.__main__ import app
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.kafka.clients import last_record, make_reader, partitions_of, read_stretch
from detector.runtime.kafka.connection import Connection, client_arguments
from detector.runtime.kafka.produce import send_end
from detector.runtime.kafka.publishing import Progress, read_progress
from tests.conftest import ROOT

SETTINGS = ("--set", 'mode="enforce"')
READY = b"running: "
MARKERS_S = 2.0


def environment(*paths: Path) -> dict[str, str]:
    """The program's environment; `paths` come before the checkout where modules are looked for."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT))),
        "STILLWATCH_FINGERPRINT_KEY": DEVELOPMENT_KEY.hex(),
    }


def stillwatch(*arguments: str, code: int = 0) -> str:
    """Run a verb to its end, in this process: a new one would take longer than most verbs.

    Returns all it said: a library may warn there ("retrying") while it succeeds, so look for what
    should be in it, and compare only what is `printed`.
    """
    done = CliRunner(env=environment()).invoke(app, arguments)
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


def printed(*arguments: str, code: int = 0) -> str:
    """Run a verb and return what it printed on standard output, however it ended."""
    done = CliRunner(env=environment()).invoke(app, arguments)
    assert done.exit_code == code, (done.output, done.exception)
    return done.stdout


def recorded_run(folder: Path) -> tuple[Path, Path]:
    """Fingerprint the sample log and replay it."""
    log, out = folder / "events.jsonl", folder / "replay"
    with as_file(files("detector.tuning") / "demo") as demo:
        stillwatch("fingerprint", str(demo / "events.jsonl.zst"), "--out", str(log))
    stillwatch("replay", str(log), "--out", str(out), "--no-progress", *SETTINGS)
    return log, out


def configuration(connection: Connection, folder: Path) -> Path:
    """Write the connection as a configuration file."""
    path = folder / f"{connection.group}.toml"
    tree = msgspec.to_builtins(connection)
    path.write_bytes(msgspec.toml.encode({"kafka": tree}))
    return path


class Worker:
    """A `stillwatch run` of its own."""

    def __init__(
        self,
        connection: Connection,
        folder: Path,
        *arguments: str,
        state: str = "state",
        begin: str = "start",
        clock_ahead_s: int = 0,
    ) -> None:
        config = configuration(msgspec.structs.replace(connection, state_directory=str(folder / state)), folder)
        self.log = folder / f"worker-{time.monotonic_ns()}.log"
        self.file = self.log.open("wb")
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "detector",
                "run",
                "--config",
                str(config),
                *(["--from-beginning"] if begin == "start" else []),
                *("--http", "127.0.0.1:0"),
                *SETTINGS,
                *arguments,
            ],
            env=environment(*([_clock(folder, clock_ahead_s)] if clock_ahead_s else [])),
            cwd=folder,
            stdout=self.file,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the tests start no threads that hold locks
        )

    def running(self) -> bool:
        return READY in self.log.read_bytes()

    def address(self) -> str:
        """Where its HTTP server listens."""
        found = wait_until(lambda: re.search(r"(http://[\d.:]+)/status", self.log.read_text()), what="the HTTP server")
        return str(found[1])

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a power cut would; its children too are ended by the system."""
        self.process.kill()
        self.process.wait()
        self.file.close()

    def stop(self, timeout_s: float = 15.0) -> int:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout_s)
        self.file.close()
        return code

    def said(self) -> str:
        return self.log.read_text()[-4_000:]


def _clock(folder: Path, ahead_s: int) -> Path:
    """A folder with what makes a program's wall clock wrong from its start."""
    clock = folder / f"clock{ahead_s}"
    clock.mkdir(exist_ok=True)
    (clock / "sitecustomize.py").write_text(f"import time\ntrue = time.time\ntime.time = lambda: true() + {ahead_s}\n")
    return clock


def end_with_parent() -> None:
    import ctypes  # noqa: PLC0415 - runs in the child, before the program

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@contextmanager
def worker(connection: Connection, folder: Path, *arguments: str, **more: Any) -> Iterator[Worker]:
    """A worker that ends with the block."""
    made = Worker(connection, folder, *arguments, **more)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.kill()
        made.file.close()


def wait_until(true: Callable[[], Any], *, timeout_s: float = 60.0, what: str = "it", every_s: float = 0.2) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (value := true()):
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(every_s)
    return value


def progress(connection: Connection, partition: int = 0) -> Progress | None:
    record = asyncio.run(last_record(connection, "progress", partition))
    return read_progress(record.value) if record is not None else None


def positions(connection: Connection, partition: int = 0) -> dict[str, int]:
    """How far each source was folded."""
    found = progress(connection, partition)
    return {name: place.position for name, place in found.sources.items()} if found is not None else {}


def all_ended(connection: Connection, *, partition: int = 0) -> bool:
    found = progress(connection, partition)
    return found is not None and all(place.ended for place in found.sources.values())


async def records_of(connection: Connection, topic: str) -> AsyncIterator[Any]:
    """Every committed record of a topic, partition by partition."""
    async with make_reader(connection) as reader:
        for number in await partitions_of(connection, topic):
            place = TopicPartition(connection.topic(topic), number)
            reader.assign([place])
            first = (await reader.beginning_offsets([place]))[place]
            stop = await committed_end(connection, reader, place)
            async for record in read_stretch(reader, place, first=first, stop=stop):
                yield record


async def committed_end(connection: Connection, reader: AIOKafkaConsumer, place: TopicPartition) -> int:
    """The end of what is committed: a commit is answered before its markers are in the log, so wait for them.

    A transaction that a killed producer left open holds the end back; it is waited for no longer than `MARKERS_S`.
    """
    deadline = time.monotonic() + MARKERS_S
    async with AIOKafkaConsumer(**client_arguments(connection), group_id=None) as uncommitted:
        whole = (await uncommitted.end_offsets([place]))[place]
    while (stop := (await reader.end_offsets([place]))[place]) < whole and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return int(stop)


def read_topic(connection: Connection, topic: str) -> list[Any]:
    """The same as a list."""

    async def read() -> list[Any]:
        return [record async for record in records_of(connection, topic)]

    return asyncio.run(read())


def put_events(connection: Connection, lines: Iterable[bytes], *, partitions: int, end: bool = False) -> None:
    """Write events, each account's to one partition; `end` writes the end markers too."""

    async def send() -> None:
        topic = connection.topic("access")
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            for line in lines:
                account = orjson.loads(line)["account_id"]
                await producer.send(topic, line, partition=sum(account.encode()) % partitions)
            await producer.flush()
            if end:
                await send_end(producer, topic, list(range(partitions)))

    asyncio.run(send())


def committed(connection: Connection, role: str, topic: str, partitions: int) -> list[int | None]:
    async def ask() -> list[int | None]:
        client = AIOKafkaConsumer(bootstrap_servers=connection.bootstrap, group_id=f"{connection.group}-{role}")
        await client.start()
        try:
            places = [TopicPartition(connection.topic(topic), p) for p in range(partitions)]
            return [await client.committed(place) for place in places]
        finally:
            await client.stop()

    return asyncio.run(ask())


def outputs(connection: Connection) -> tuple[bytes, bytes]:
    """What replay calls alerts.jsonl and decisions.jsonl."""
    return tuple(  # type: ignore[return-value]
        b"".join(record.value + b"\n" for record in read_topic(connection, topic))
        for topic in ("alerts", "decision-log")
    )
