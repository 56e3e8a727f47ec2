"""Which Kafka the tests run against: one that is named, a container, or a broker from jars.

Every source that was tried leaves a sentence; the run prints them at its end.
"""

import os
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
from docker.errors import DockerException
from testcontainers.community.kafka import KafkaContainer

from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.jars import BrokerError

VARIABLE = "STILLWATCH_TEST_BOOTSTRAP"
IMAGE = "confluentinc/cp-kafka:7.9.2"


def docker_says() -> str | None:
    """None where Docker answers, else why not."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if host.startswith("unix://"):
        # Asked by hand first: Docker's client leaves its socket open where nobody answers.
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(host.removeprefix("unix://"))
            except OSError as wrong:
                return f"no Docker at {host}: {wrong.strerror}"
    try:
        client = docker.from_env(timeout=5)
        client.ping()
        client.close()
    except (DockerException, OSError) as wrong:
        return str(wrong).splitlines()[0][:120]
    return None


@contextmanager
def provided(directory: Path, said: list[str]) -> Iterator[str | None]:
    """Yield the bootstrap address of the first source that works, None where none does."""
    named = os.environ.get(VARIABLE)
    if named:
        said.append(f"broker at {named} ({VARIABLE})")
        yield named
        return
    said.append(f"{VARIABLE} is not set")
    silent = docker_says()
    if silent is None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            container = KafkaContainer(IMAGE).with_kraft()
        with container:
            said.append(f"testcontainers runs {IMAGE}")
            yield container.get_bootstrap_server()
        return
    said.append(f"testcontainers does not run: {silent}")
    try:
        broker = Broker(directory)
        broker.start()
    except BrokerError as wrong:
        said.append(f"no broker from jars: {wrong}")
        yield None
        return
    said.append(f"broker from jars runs at {broker.bootstrap}: {broker.java}, jars from {broker.jars}")
    try:
        yield broker.bootstrap
    finally:
        broker.stop()
