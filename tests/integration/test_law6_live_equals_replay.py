"""Law 6: with equal records, settings and keys, live gives the alerts and decisions of a replay, to the byte."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import orjson

from detector.runtime.kafka.connection import Connection
from tests.integration.conftest import Recorded
from tests.integration.live import all_ended, outputs, printed, read_topic, wait_until, worker


def test_live_gives_the_alerts_and_decisions_of_a_replay(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(snapshot_interval_ms=2_000)
    said = printed(
        "produce", str(recorded.log), "--end", "--bootstrap", connection.bootstrap, "--prefix", connection.prefix
    )
    assert said.startswith(f"{len(recorded.log.read_bytes().splitlines())} records sent")
    with worker(connection, tmp_path) as live:
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        assert live.stop() == 0, live.said()
    alerts, decisions = outputs(connection)
    assert alerts == (recorded.replay / "alerts.jsonl").read_bytes()
    assert decisions == (recorded.replay / "decisions.jsonl").read_bytes()
    enforced = read_topic(connection, "decisions")
    assert b"".join(r.value + b"\n" for r in enforced if r.value is not None) == decisions  # the mode is enforce
    # The log is two days long: what ended on the first was buried on the second, and nothing that stands.
    states: dict[bytes, list[str]] = {}
    for record in enforced:
        states.setdefault(record.key, []).append(orjson.loads(record.value)["state"] if record.value else "buried")
    buried = [at for told in states.values() for at in pairwise(told) if at[1] == "buried"]
    assert buried
    assert {before for before, _ in buried} <= {"expired", "revoked"}
    assert not read_topic(connection, "dead-letter")
