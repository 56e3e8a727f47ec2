"""Workers that are killed: what comes out is what an undisturbed run gives, once.

STILLWATCH_CHAOS_SEED and STILLWATCH_CHAOS_RUNS repeat and lengthen the first test.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from detector.runtime.kafka.connection import Connection
from tests.integration.conftest import Recorded
from tests.integration.live import all_ended, outputs, progress, read_topic, stillwatch, wait_until, worker

SEED = int(os.environ.get("STILLWATCH_CHAOS_SEED", "1"))
RUNS = int(os.environ.get("STILLWATCH_CHAOS_RUNS", "1"))


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


@pytest.mark.parametrize("seed", range(SEED, SEED + RUNS))
def test_a_worker_killed_at_random_points_leaves_no_trace(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    connection = installation(session_timeout_ms=1_500, snapshot_interval_ms=chance.choice([300, 1_000, 4_000]))
    put(connection, recorded)
    kills = 0
    while not all_ended(connection):
        # The disk is lost now and then: the judge must find its state on the topic.
        with worker(connection, tmp_path, state=f"state{kills if chance.random() < 0.5 else ''}") as live:
            wait_until(lambda: live.process.poll() is not None or live.running(), what="a start")
            deadline = time.monotonic() + (chance.uniform(0.05, 0.4 + kills) if kills < 3 else 60.0)
            while time.monotonic() < deadline and not all_ended(connection):
                time.sleep(0.02)
            assert live.process.poll() is None, f"seed {seed}: {live.said()}"
            live.kill()
        kills += 1
    assert kills > 1, f"seed {seed}"
    undisturbed(connection, recorded)


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
