"""Law 6: with equal records, settings and keys, live gives the alerts and decisions of a replay, to the byte."""

from collections.abc import Callable
from pathlib import Path

from detector.runtime.kafka.connection import Connection
from tests.integration.conftest import Recorded
from tests.integration.live import all_ended, outputs, read_topic, stillwatch, wait_until, worker


def test_live_gives_the_alerts_and_decisions_of_a_replay(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(snapshot_interval_ms=2_000)
    said = stillwatch(
        "produce", str(recorded.log), "--end", "--bootstrap", connection.bootstrap, "--prefix", connection.prefix
    )
    assert said.startswith("9288 records sent")
    with worker(connection, tmp_path) as live:
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        assert live.stop() == 0, live.said()
    alerts, decisions = outputs(connection)
    assert alerts == (recorded.replay / "alerts.jsonl").read_bytes()
    assert decisions == (recorded.replay / "decisions.jsonl").read_bytes()
    enforced = b"".join(record.value + b"\n" for record in read_topic(connection, "decisions"))
    assert enforced == decisions  # the mode is enforce
    assert not read_topic(connection, "dead-letter")
