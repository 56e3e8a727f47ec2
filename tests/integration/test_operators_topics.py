"""Operators' topics, live: a word acts at once and once, and gives what a replay of the same records gives."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from detector.frames import OPERATOR_MAGIC, OperatorFrame, unwire_operators, wire_operators
from detector.records import format_time, parse_time
from detector.runtime.kafka.connection import Connection
from tests.integration.conftest import Recorded
from tests.integration.live import (
    SETTINGS,
    all_ended,
    committed,
    outputs,
    positions,
    progress,
    put_events,
    read_topic,
    stillwatch,
    wait_until,
    worker,
)

Installation = Callable[..., Connection]

LATENESS_MS = 5_000
BEGIN_MS = parse_time("2026-04-20T12:00:00.000Z")  # the campaign of the recorded log is under way


class Record(NamedTuple):
    """One record for an operators' topic."""

    topic: str
    key: bytes | None
    value: bytes | None


def key_of(tenant: str, scope: str, value: str) -> bytes:
    return orjson.dumps([tenant, scope, value])


def command(name: str, *, tenant: str = "default", **fields: Any) -> Record:
    said = {"command": name, "tenant": tenant, "by": "kim", "reason": "drill", "at": 0, **fields}
    return Record("commands", key_of(tenant, str(fields.get("scope")), str(fields.get("value"))), orjson.dumps(said))


def allow(scope: str, value: str, *, expires_at: str = "2100-01-01T00:00:00Z", tenant: str = "default") -> Record:
    said = {"tenant": tenant, "scope": scope, "value": value, "owner": "kim", "reason": "known", "signatures": []}
    return Record("allow", key_of(tenant, scope, value), orjson.dumps(said | {"expires_at": expires_at}))


def tell(connection: Connection, *records: Record) -> list[int]:
    """Write operators' records one after the other; returns when the broker appended them (ms)."""

    async def send() -> list[int]:
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            return [
                (await producer.send_and_wait(connection.topic(r.topic), r.value, key=r.key)).timestamp for r in records
            ]

    return asyncio.run(send())


def shifted(log: Path, by_ms: int) -> list[tuple[int, bytes]]:
    """The recorded log at another time: (event time, line)."""
    out = []
    for line in log.read_bytes().splitlines():
        event = orjson.loads(line)
        at_ms = parse_time(event["event_time"]) + by_ms
        event["event_time"] = format_time(at_ms)
        if event.get("account_created_at"):
            event["account_created_at"] = format_time(parse_time(event["account_created_at"]) + by_ms)
        out.append((at_ms, orjson.dumps(event)))
    return out


def decisions(connection: Connection, topic: str = "decisions") -> dict[str, list[dict[str, Any]]]:
    """Every decision of a topic, by whom it is about, in order."""
    out: dict[str, list[dict[str, Any]]] = {}
    for record in read_topic(connection, topic):
        if record.value is not None and record.key != b"__control__":
            made = orjson.loads(record.value)
            out.setdefault(made["value"], []).append(made)
    return out


def last_states(connection: Connection) -> dict[str, str]:
    return {value: made[-1]["state"] for value, made in decisions(connection).items()}


def recorded_line(record: Record, at_ms: int) -> bytes:
    return orjson.dumps({**orjson.loads(record.value or b"{}"), "ingest_time": at_ms})


def operators_frames(connection: Connection, partition: int = 0) -> list[OperatorFrame]:
    """The operators' frames of a tenant's log."""
    raws = [r.value for r in read_topic(connection, "frames") if r.partition == partition]
    return [unwire_operators(raw) for raw in raws if raw.startswith(OPERATOR_MAGIC)]


def sequenced(connection: Connection) -> int:
    """How many operators' records stand in frames."""
    return sum(len(frame.entries) for frame in operators_frames(connection))


def wide_pane_ms(now_ms: int) -> int:
    """Panes so wide that a test fits between two of their ends, with room on both sides of `now_ms`."""
    widths = range(900_000, 1_800_000, 10_000)
    return next(w for w in widths if 60_000 <= (now_ms - LATENESS_MS) % w <= w // 2)


def test_operators_records_give_what_a_replay_of_them_gives(
    installation: Installation, recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(partitions=2, snapshot_interval_ms=2_000)
    now_ms = int(time.time() * 1000)
    pane_ms = wide_pane_ms(now_ms)
    boundary_ms = (now_ms - LATENESS_MS) // pane_ms * pane_ms
    wide = tuple(f"--set={s}" for s in (f"pane_ms={pane_ms}", f"discovery_ms={pane_ms}", "skew_ms_max=1000000000"))
    events = shifted(recorded.log, boundary_ms - BEGIN_MS)
    cut_ms = boundary_ms + LATENESS_MS + 300_000
    with worker(connection, tmp_path, *wide) as live:
        wait_until(live.running, what="a start")
        put_events(connection, [line for at_ms, line in events if at_ms < cut_ms], partitions=2)
        wait_until(lambda: (p := progress(connection)) and p.pane_end_ms == boundary_ms, what="the boundary")
        leased = sorted(v for v, state in last_states(connection).items() if state == "active")
        alert = orjson.loads(read_topic(connection, "alerts")[-1].value)["alert_id"]
        told = [
            allow("account", leased[0]),
            command("revoke", scope="account", value=leased[1]),
            command("add", scope="api_key", value="key-ä", action="block", expires_at="2099-01-01T00:00:00Z"),
            command("approve", alert_id=alert, action="block"),
            command("kill_switch", enforcement="off"),
            command("kill_switch", enforcement="on"),
            command("revoke", scope="account", value="nobody"),
            Record("labels", b"a", orjson.dumps({"alert_id": alert, "verdict": "benign", "by": "kim", "at": 0})),
        ]
        times = []
        for number, record in enumerate(told, 1):
            times += tell(connection, record)
            wait_until(lambda stop=number: sequenced(connection) >= stop, what="the record's frame", every_s=0.05)
        wait_until(lambda: "active" not in last_states(connection).values(), what="the switch")
        put_events(connection, [line for at_ms, line in events if at_ms >= cut_ms], partitions=2, end=True)
        wait_until(lambda: live.process.poll() is not None or all_ended(connection), what="the end")
        assert live.stop() == 0, live.said()
    log, orders, out = tmp_path / "log.jsonl", tmp_path / "orders.jsonl", tmp_path / "out"
    log.write_bytes(b"\n".join(line for _, line in events))
    orders.write_bytes(b"\n".join(map(recorded_line, told, times)))
    stillwatch("replay", str(log), "--out", str(out), "--operators", str(orders), "--no-progress", *wide, *SETTINGS)
    alerts, made = outputs(connection)
    assert alerts == (out / "alerts.jsonl").read_bytes()
    assert made == (out / "decisions.jsonl").read_bytes()
    assert {d["origin"] for d in map(orjson.loads, made.splitlines())} == {"detector", "operator"}
    assert not read_topic(connection, "dead-letter")
    switches = [orjson.loads(r.value) for r in read_topic(connection, "decisions") if r.key == b"__control__"]
    assert [(s["enforcement"], s["by"]) for s in switches] == [("off", "kim"), ("on", "kim")]


def test_a_bad_record_stops_nothing_and_what_comes_again_changes_nothing(
    installation: Installation, recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(partitions=1)
    put_events(connection, recorded.log.read_bytes().splitlines()[:3_000], partitions=1)
    with worker(connection, tmp_path) as live:
        wait_until(lambda: "active" in last_states(connection).values(), what="a lease")
        tell(
            connection,
            Record("allow", b"x", b"\x00"),
            Record("commands", b"x", b'{"command": "revoke"}'),
            command("revoke", tenant="nobody", scope="account", value="a"),
            Record("commands", b"x", b"[" * 70_000),
            Record("labels", b"x", None),
            Record("labels", b"x", b"{}"),
        )
        leased = next(v for v, state in last_states(connection).items() if state == "active")
        tell(connection, allow("account", leased))
        wait_until(lambda: last_states(connection)[leased] == "revoked", what="the exemption")
        # The same entry again, ended: an exemption is taken back by a null as well.
        tell(connection, Record("allow", key_of("default", "account", leased), None))
        wait_until(lambda: committed(connection, "operators", "allow", 1) == [3], what="the commit")
        # Delivered again, as after a crash, it changes nothing.
        before = decisions(connection, "decision-log")
        again = [wire_operators(frame) for frame in operators_frames(connection)]
        stop = send_frames(connection, again)
        wait_until(lambda: (p := progress(connection)) and p.frame_offset >= stop, what="the fold")
        assert decisions(connection, "decision-log") == before
        assert live.stop() == 0, live.said()
    letters = [{name: v.decode() for name, v in r.headers} for r in read_topic(connection, "dead-letter")]
    letters = [r for r in letters if r["__streams.errors.topic"] != connection.topic("access")]
    reasons = sorted(
        (r["__streams.errors.topic"].removeprefix(connection.prefix), r["stillwatch.error.code"]) for r in letters
    )
    assert sorted(set(reasons)) == [
        ("allow", "not_json"),
        ("commands", "missing_field"),
        ("commands", "too_large"),
        ("commands", "unknown_tenant"),
        ("labels", "missing_field"),
    ]


def send_frames(connection: Connection, raws: list[bytes]) -> int:
    """Write to the frames' log; returns where it ends."""

    async def send() -> int:
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            topic = connection.topic("frames")
            return max([(await producer.send_and_wait(topic, raw, partition=0)).offset for raw in raws]) + 1

    return asyncio.run(send())


def test_the_mode_changes_with_a_restart_and_no_enforced_lease_outlives_it(
    installation: Installation, recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(partitions=1, snapshot_interval_ms=60_000)
    lines = recorded.log.read_bytes().splitlines()
    parts = [lines[:3_000], lines[3_000:3_600], lines[3_600:4_200]]
    modes = ["enforce", "shadow", "enforce"]
    enforced: list[list[dict[str, Any]]] = []
    seen = 0
    for part, mode in zip(parts, modes, strict=True):
        put_events(connection, part, partitions=1)
        seen += len(part)
        with worker(connection, tmp_path, "--mode", mode) as live:
            wait_until(lambda stop=seen: positions(connection) == {"access/0": stop}, what="the fold")
            live.kill()  # no snapshot has been made: every state is made again from the first frame
        enforced.append([d for made in decisions(connection).values() for d in made])
        states = last_states(connection)
        assert ("active" in states.values()) == (mode == "enforce"), mode
    log = decisions(connection, "decision-log")
    assert {d["mode"] for made in enforced for d in made} == {"enforce"}
    for value, made in log.items():
        assert [d["seq"] for d in made] == list(range(1, len(made) + 1)), value
    assert len({d["config_hash"] for made in log.values() for d in made}) == 2
    with worker(connection, tmp_path, "--set", "pane_ms=20000", "--set", "discovery_ms=60000") as live:
        wait_until(lambda: live.process.poll() is not None, what="the refusal")
        assert live.process.returncode == 4
        assert "built on pane_ms=10000, now it is 20000" in live.said()
