"""Operators' topics, live: a word acts at once and once, and gives what a replay of the same records gives."""

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer

from detector.frames import OPERATOR_MAGIC, OperatorFrame, unwire_operators
from detector.records import format_time, parse_time
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encoding import CONTROL_HEADER, END_CONTROL
from tests.integration.conftest import Recorded
from tests.integration.live import SETTINGS, all_ended, outputs, progress, read_topic, stillwatch, wait_until, worker

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


def put_events(connection: Connection, lines: Iterable[bytes], *, partitions: int, end: bool = False) -> None:
    """Write events, each account's to one partition."""

    async def send() -> None:
        topic = connection.topic("access")
        async with AIOKafkaProducer(bootstrap_servers=connection.bootstrap) as producer:
            for line in lines:
                account = orjson.loads(line)["account_id"]
                await producer.send(topic, line, partition=sum(account.encode()) % partitions)
            await producer.flush()
            for partition in range(partitions if end else 0):
                headers = [(CONTROL_HEADER, END_CONTROL)]
                await producer.send_and_wait(topic, b"", partition=partition, headers=headers)

    asyncio.run(send())


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
