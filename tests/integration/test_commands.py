"""The verbs around a broker: topics, produce, run, dev kafka."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from detector.__main__ import app
from detector.runtime.kafka.connection import Connection
from tests.integration.live import committed, environment, printed, read_topic, stillwatch, wait_until, worker


def test_topics_are_created_once_and_checked(kafka: str) -> None:
    place = ("--bootstrap", kafka, "--prefix", "made.")
    assert "made.access: missing" in stillwatch("topics", "check", *place, code=1)
    made = printed("topics", "create", "--access-partitions", "3", *place)
    assert made.count("created made.") == 11
    assert printed("topics", "create", *place) == "all topics are there\n"
    assert printed("topics", "check", *place).count(": ok\n") == 11


def test_a_new_installation_begins_at_the_end_and_goes_on_where_it_was(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=1)
    place = ("--bootstrap", connection.bootstrap, "--prefix", connection.prefix)
    log = tmp_path / "log.jsonl"
    log.write_bytes(b"no event\n" * 5)
    assert printed("produce", str(log), *place) == f"5 records sent to {connection.prefix}access\n"
    with worker(connection, tmp_path, "--roles", "encode", begin="end") as live:
        wait_until(live.running, what="a start")
        stillwatch("produce", str(log), "--rate", "1000", *place)
        wait_until(lambda: committed(connection, "encode", "access", 1) == [10], what="the commit")
        assert live.stop() == 0
    said = [dict(letter.headers)["__streams.errors.offset"] for letter in read_topic(connection, "dead-letter")]
    assert said == [b"5", b"6", b"7", b"8", b"9"]


def test_run_needs_a_key() -> None:
    done = CliRunner(env={"STILLWATCH_FINGERPRINT_KEY": None}).invoke(app, ["run"])
    assert done.exit_code == 2
    assert "no fingerprint key: set STILLWATCH_FINGERPRINT_KEY" in done.output


def test_brokers_that_do_not_answer_are_an_infrastructure_error() -> None:
    said = stillwatch("topics", "check", "--bootstrap", "127.0.0.1:1", code=4)
    assert "error: no broker lets us in: 127.0.0.1:1: Connection refused; check --bootstrap\n" in said


def test_dev_kafka_says_where_it_is_and_ends_in_order(kafka: str) -> None:
    del kafka  # said what can run here
    with subprocess.Popen(
        [sys.executable, "-m", "detector", "dev", "kafka"], env=environment(), stdout=subprocess.PIPE, text=True
    ) as dev:
        assert dev.stdout is not None
        assert "jars from" in dev.stdout.readline()
        assert dev.stdout.readline().startswith("export STILLWATCH_BOOTSTRAP=127.0.0.1:")
        dev.send_signal(signal.SIGTERM)
        assert dev.stdout.readline() == "stopped\n"
        assert dev.wait(20) == 0
