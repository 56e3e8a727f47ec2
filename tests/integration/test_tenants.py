"""Several tenants: their judges spread over workers, and a worker that dies leaves its tenants to the other."""

from collections.abc import Callable
from pathlib import Path

import orjson

from detector.config import Settings
from detector.runtime.kafka.connection import Connection
from tests.integration.conftest import Recorded
from tests.integration.live import (
    SETTINGS,
    Worker,
    all_ended,
    outputs,
    progress,
    put_events,
    stillwatch,
    wait_until,
    worker,
)

TENANTS = ("one", "two", "three")
LISTED = (*SETTINGS, "--set", f"tenants={list(TENANTS)}")


def shared_out(log: Path) -> list[bytes]:
    """The recorded log's first hours, once for each tenant, with events of its own."""
    out = []
    for line in log.read_bytes().splitlines()[:2_400]:
        event = orjson.loads(line)
        out += [orjson.dumps({**event, "tenant": t, "event_id": f"{t}-{event['event_id']}"}) for t in TENANTS]
    return out


def judged(live: Worker) -> set[int]:
    """The frame partitions that a worker took over."""
    lines = (orjson.loads(line) for line in live.log.read_bytes().splitlines() if line.startswith(b"{"))
    return {line["partition"] for line in lines if line.get("event.action") == "state.restored"}


def by_tenant(lines: bytes) -> dict[str, list[bytes]]:
    out: dict[str, list[bytes]] = {}
    for line in lines.splitlines():
        record = orjson.loads(line)
        out.setdefault(record.get("tenant") or record["entity"]["tenant"], []).append(line)
    return out


def test_tenants_are_judged_by_several_workers_and_move_when_one_dies(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    settings = Settings(tenants=TENANTS)
    connection = installation(settings, partitions=2, session_timeout_ms=1_500, snapshot_interval_ms=1_000)
    lines = shared_out(recorded.log)
    half = len(lines) // 2
    with worker(connection, tmp_path, *LISTED, state="a") as first:
        wait_until(first.running, what="the first start")
        with worker(connection, tmp_path, *LISTED, state="b") as second:
            wait_until(second.running, what="the second start")
            put_events(connection, lines[:half], partitions=2)
            wait_until(lambda: all(progress(connection, p) for p in range(3)), what="progress of all tenants")
            wait_until(lambda: judged(first) and judged(second), what="two judging workers")
            put_events(connection, lines[half:], partitions=2, end=True)
            lost = judged(first)
            first.kill()
            wait_until(
                lambda: second.process.poll() is not None or all(all_ended(connection, partition=p) for p in range(3)),
                what="the end",
            )
            assert second.stop() == 0, second.said()
            assert judged(second) == {0, 1, 2} >= lost
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    log.write_bytes(b"\n".join(lines))
    stillwatch("replay", str(log), "--out", str(out), "--no-progress", *LISTED)
    for made, name in zip(outputs(connection), ("alerts", "decisions"), strict=True):
        expected = by_tenant((out / f"{name}.jsonl").read_bytes())
        assert by_tenant(made) == expected
        assert set(expected) == set(TENANTS)
