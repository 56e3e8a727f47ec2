"""Workers that are killed: what comes out is what an undisturbed run gives, once.

`make chaos` repeats and lengthens the first test.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from detector.runtime.kafka.connection import Connection
from tests.conftest import ROOT
from tests.integration.conftest import Recorded
from tests.integration.live import all_ended, environment, outputs, progress, read_topic, stillwatch, wait_until, worker


def put(connection: Connection, recorded: Recorded) -> None:
    stillwatch(
        "produce", str(recorded.log), "--end", "--bootstrap", connection.bootstrap, "--prefix", connection.prefix
    )


def undisturbed(connection: Connection, recorded: Recorded) -> None:
    """Hold the outputs against the replay's, and their keys against repeats."""
    alerts, decisions = outputs(connection)
    assert alerts == (recorded.replay / "alerts.jsonl").read_bytes()
    assert decisions == (recorded.replay / "decisions.jsonl").read_bytes()
    revisions = Counter((a["alert_id"], a["revision"]) for a in map(orjson.loads, alerts.splitlines()))
    assert revisions.most_common(1)[0][1] == 1
    enforced = read_topic(connection, "decisions")
    seqs = [(r.key, orjson.loads(r.value)["seq"]) for r in enforced if r.value is not None]
    assert Counter(seqs).most_common(1)[0][1] == 1
    before: dict[bytes, bytes | None] = {}
    for r in enforced:
        if r.value is None:  # a tombstone stands behind the record of an end, once
            assert orjson.loads(before[r.key] or b"{}")["state"] in ("revoked", "expired")
        before[r.key] = r.value
    assert None in before.values()


@pytest.mark.timeout(600)
def test_workers_that_are_disturbed_at_random_leave_no_trace(kafka: str) -> None:
    del kafka  # said what can run here
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.chaos", "--seed", "1", "--runs", "3"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_workers_share_the_encoding_and_one_takes_over_all_of_it(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(session_timeout_ms=1_500, snapshot_interval_ms=1_000)
    with worker(connection, tmp_path, state="one") as first:
        wait_until(first.running, what="the first start")
        with worker(connection, tmp_path, state="two") as second:
            wait_until(second.running, what="the second start")
            put(connection, recorded)
            wait_until(lambda: progress(connection), what="progress")
            first.kill()  # a rebalance in the middle of everything
            wait_until(lambda: second.process.poll() is not None or all_ended(connection), what="the end")
            assert second.stop() == 0, second.said()
    undisturbed(connection, recorded)
