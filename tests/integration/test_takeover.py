"""A judge that is taken over, brokers that go away, and frames that do not join."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from detector.config import Settings
from detector.runtime.kafka.broker import Broker
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.integration.conftest import Recorded
from tests.integration.live import all_ended, progress, read_topic, wait_until, worker
from tests.integration.test_crashes import put, undisturbed


def published(connection: Connection) -> dict[str, list[tuple[bytes, bytes]]]:
    """Everything that readers see of what judges say."""
    topics = ("alerts", "decisions", "decision-log")
    return {topic: [(r.key, r.value) for r in read_topic(connection, topic)] for topic in topics}


def test_a_paused_judge_that_wakes_after_the_takeover_publishes_nothing(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(session_timeout_ms=1_500, snapshot_interval_ms=700)
    with (
        worker(connection, tmp_path, "--roles", "encode") as encoder,
        worker(connection, tmp_path, "--roles", "judge", state="first") as sleeper,
    ):
        wait_until(encoder.running, what="a start")
        wait_until(sleeper.running, what="a start")
        put(connection, recorded)
        wait_until(lambda: progress(connection), what="progress", every_s=0.02)
        sleeper.signal(signal.SIGSTOP)
        with worker(connection, tmp_path, "--roles", "judge", state="second") as heir:
            wait_until(lambda: heir.process.poll() is not None or all_ended(connection), what="the end")
            before = published(connection)
            sleeper.signal(signal.SIGCONT)
            time.sleep(2)  # it may try what it likes
            assert published(connection) == before
            assert heir.stop() == 0, heir.said()
        assert sleeper.process.poll() is None, sleeper.said()
        time.sleep(2)  # now it gets the partition back, finds all of it done, and goes on
        assert sleeper.stop() == 0, sleeper.said()
    undisturbed(connection, recorded)


def test_brokers_that_stop_and_start_again_cost_nothing(recorded: Recorded, tmp_path: Path, kafka: str) -> None:
    del kafka  # said what can run here
    with Broker(tmp_path / "broker") as broker:
        connection = Connection(
            bootstrap=broker.bootstrap, group="g", session_timeout_ms=3_000, snapshot_interval_ms=1_000
        )
        create_topics(connection, Settings(), access_partitions=4)
        with worker(connection, tmp_path) as live:
            wait_until(live.running, what="a start")
            put(connection, recorded)
            wait_until(lambda: progress(connection), what="progress", every_s=0.02)
            broker.kill()
            time.sleep(1)
            broker.start()
            wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end", timeout_s=90)
            assert live.process.poll() is None, live.said()
            assert live.stop() == 0, live.said()
        undisturbed(connection, recorded)
