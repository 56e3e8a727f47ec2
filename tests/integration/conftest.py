"""A Kafka for the tests of this folder, and a recorded run to hold live ones against."""

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import pytest

from detector.config import Settings
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.jars import BrokerError
from detector.runtime.kafka.topics import create_topics
from tests.integration import brokers, security
from tests.integration.live import recorded_run
from tests.integration.security import SecuredKafka

SAID = pytest.StashKey[list[str]]()
LEFT_OUT = pytest.StashKey[list[str]]()


class Recorded(NamedTuple):
    """A log, and the files that a replay of it wrote."""

    log: Path
    replay: Path


@pytest.fixture(scope="session")
def bootstrap(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    said: list[str] = request.config.stash.setdefault(SAID, [])
    with brokers.provided(tmp_path_factory.mktemp("kafka"), said) as address:
        yield address


Provided = TypeVar("Provided")


def _or_without(request: pytest.FixtureRequest, provided: Provided | None) -> Provided:
    """What a test needs; it fails, or with `--no-broker` is left out, where that cannot be had."""
    if provided is None:
        request.config.stash.setdefault(LEFT_OUT, []).append(request.node.nodeid)
        reason = "no Kafka: " + "; ".join(request.config.stash[SAID])
        if request.config.getoption("--no-broker"):
            pytest.skip(reason)
        pytest.fail(f"{reason}; --no-broker leaves these tests out", pytrace=False)
    return provided


@pytest.fixture
def kafka(request: pytest.FixtureRequest, bootstrap: str | None) -> str:
    """The address of a broker; the test fails where there is none, unless told `--no-broker`."""
    return _or_without(request, bootstrap)


@pytest.fixture(scope="session")
def secured_broker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredKafka | None]:
    """A broker of our own with TLS, passwords and an authorizer: none that is named has those of our making."""
    said: list[str] = request.config.stash.setdefault(SAID, [])
    try:
        made = security.make(tmp_path_factory.mktemp("secured"))
        made.broker.start()
    except BrokerError as wrong:
        said.append(f"no broker with TLS: {wrong}")
        yield None
        return
    said.append(f"broker from jars with TLS, passwords and ACLs: {made.broker.java}, jars from {made.broker.jars}")
    try:
        yield made
    finally:
        made.broker.stop()


@pytest.fixture
def secured(request: pytest.FixtureRequest, secured_broker: SecuredKafka | None) -> SecuredKafka:
    """A broker with TLS; the test fails where there is none, unless told `--no-broker`."""
    return _or_without(request, secured_broker)


_NUMBERS = itertools.count(1)
_RUN = f"{time.time_ns():x}"  # a broker that is named may hold what earlier runs left


@pytest.fixture
def installation(kafka: str, tmp_path: Path) -> Callable[..., Connection]:
    """Make topics under a prefix of their own; returns the connection."""

    def make(settings: Settings | None = None, *, partitions: int = 4, **more: object) -> Connection:
        name = f"t{_RUN}-{next(_NUMBERS)}"
        connection = Connection(
            bootstrap=kafka,
            prefix=f"{name}.",
            group=name,
            state_directory=str(tmp_path / "state"),
            **{"session_timeout_ms": 6_000, **more},
        )
        create_topics(connection, settings or Settings(), access_partitions=partitions)
        return connection

    return make


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """The sample log with fingerprints for text, and its replay."""
    return Recorded(*recorded_run(tmp_path_factory.mktemp("recorded")))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for sentence in config.stash.get(SAID, []):
        terminalreporter.write_line(f"kafka: {sentence}")
    left_out = config.stash.get(LEFT_OUT, [])
    if left_out:
        terminalreporter.write_line("not run for lack of a Kafka:\n  " + "\n  ".join(left_out))
