"""The live worker: its roles, from start to an orderly stop.

Purpose: what `stillwatch run` runs.
Invariants: a role that fails is stopped with nothing acknowledged that was not finished;
brokers that are away are waited for, anything else ends the worker with its reason.
Limits: roles of one process share one thread; for speed run them in processes of their own.
Source: the shape that loses nothing stands in `application`.
"""

import asyncio
import gc
import logging
import signal
from collections.abc import Iterable
from typing import Final, Protocol

from aiokafka.errors import KafkaError

from detector.config import Settings
from detector.records import DetectorError
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encode_role import EncodeRole
from detector.runtime.kafka.judge_role import JudgeRole

log = logging.getLogger("stillwatch.worker")

ROLES: Final = ("encode", "judge")
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
STOP_TIMEOUT_S: Final = 10.0
RETRY_FIRST_S, RETRY_LAST_S = 1.0, 30.0
GARBAGE_OBJECTS: Final = 100_000


class Role(Protocol):
    """What a role can do."""

    async def start(self) -> None: ...  # noqa: D102 - said by the roles
    async def stop(self) -> None: ...  # noqa: D102 - said by the roles
    async def wait_failed(self) -> BaseException: ...  # noqa: D102 - said by the roles


def make_roles(names: Iterable[str], connection: Connection, settings: Settings, *, key: bytes) -> list[Role]:
    """Build the roles, encode first."""
    kinds: dict[str, type[EncodeRole | JudgeRole]] = {"encode": EncodeRole, "judge": JudgeRole}
    return [kinds[name](connection, settings, key=key) for name in ROLES if name in set(names)]


async def run(names: tuple[str, ...], connection: Connection, settings: Settings, *, key: bytes) -> None:
    """Run until SIGTERM or SIGINT. Raises what ended a role, unless the brokers were away."""
    # Each record is an object for a moment. Python would look for cycles after every 700, among all that is loaded too:
    # a quarter of the time that encode takes.
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    pause_s = RETRY_FIRST_S
    try:
        while not stopping.is_set():
            begun_s = loop.time()
            wrong = await run_once(make_roles(names, connection, settings, key=key), stopping)
            if wrong is None:
                return
            if isinstance(wrong, DetectorError) or not _of_the_brokers(wrong):
                raise wrong
            pause_s = RETRY_FIRST_S if loop.time() - begun_s > RETRY_LAST_S else min(pause_s * 2, RETRY_LAST_S)
            log.warning("brokers: %s; trying again in %.0f s", wrong, pause_s)
            await _wait(stopping, pause_s)
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def _of_the_brokers(wrong: BaseException) -> bool:
    return isinstance(wrong, KafkaError | ConnectionError | TimeoutError)


async def _wait(stopping: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.create_task(stopping.wait())
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()


async def run_once(roles: list[Role], stopping: asyncio.Event) -> BaseException | None:
    """Run roles until one fails or `stopping` is set; returns the failure."""
    started: list[Role] = []
    try:
        for role in roles:
            started.append(role)
            await role.start()
    except Exception as wrong:  # noqa: BLE001 - run() decides what it means
        await _stop(started)
        return wrong
    log.info("running: %s", ", ".join(type(role).__name__ for role in roles))
    asked = asyncio.create_task(stopping.wait())
    failing = [asyncio.create_task(role.wait_failed()) for role in roles]
    done, _ = await asyncio.wait([asked, *failing], return_when=asyncio.FIRST_COMPLETED)
    failures = [task.result() for task in failing if task in done]
    for task in (asked, *failing):
        task.cancel()
    await asyncio.gather(asked, *failing, return_exceptions=True)
    await _stop(started)
    return failures[0] if failures else None


async def _stop(roles: list[Role]) -> None:
    for role in roles:
        try:
            await asyncio.wait_for(role.stop(), STOP_TIMEOUT_S)
        except Exception as wrong:  # noqa: BLE001 - what cannot stop in order is left to the group's timeout
            log.warning("%s did not stop in order: %r", type(role).__name__, wrong)
