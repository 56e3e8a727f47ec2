"""A topic as an input gives what a file of the same records gives, and its rejects carry offsets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from detector.records import format_time
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topic_input import TopicInputs
from tests.integration.conftest import Recorded
from tests.integration.live import SETTINGS, printed, stillwatch

NAMES = ("alerts.jsonl", "decisions.jsonl", "members.jsonl")


def put(connection: Connection, topic: str, records: list[tuple[int, bytes | None, Any]]) -> None:
    """Write (partition, value, headers) in order."""
    producer = KafkaProducer(bootstrap_servers=connection.bootstrap)
    for partition, value, headers in records:
        producer.send(connection.topic(topic), value, key=b"k", partition=partition, headers=headers)
    producer.flush()
    producer.close()


def address(connection: Connection, query: str = "", *, brokers: bool = True) -> str:
    return f"kafka://{connection.bootstrap if brokers else ''}/{connection.topic('access')}{query}"


def test_a_replay_of_a_topic_is_that_of_the_file(
    installation: Callable[..., Connection], recorded: Recorded, tmp_path: Path
) -> None:
    connection = installation(partitions=4)
    place = ("--bootstrap", connection.bootstrap, "--prefix", connection.prefix)
    stillwatch("produce", str(recorded.log), "--end", *place)
    stillwatch("replay", address(connection), "--out", str(tmp_path / "run"), "--no-progress", *SETTINGS)
    for name in NAMES:
        assert (tmp_path / "run" / name).read_bytes() == (recorded.replay / name).read_bytes()
    assert (tmp_path / "run" / "rejects.jsonl").read_bytes() == b""
    inputs = [item["path"] for item in orjson.loads((tmp_path / "run" / "manifest.json").read_bytes())["inputs"]]
    # The range stands in the manifest, so that the run can be made again.
    assert [name.split("?")[1].split("&")[:2] for name in inputs] == [[f"partition={p}", "from=0"] for p in range(4)]
    said = orjson.loads(printed("validate", *inputs, "-o", "json"))
    assert said["rows"] == len(recorded.log.read_bytes().splitlines())
    assert [item["late"] for item in said["inputs"]] == [0, 0, 0, 0]


def event(number: int, **more: Any) -> bytes:
    made = {"event_id": f"e{number}", "event_time": format_time(1_782_050_400_000 + number), "account_id": "a"}
    return orjson.dumps(made | {"request_model": "m", "input_tokens": 1, "output_tokens": 1} | more)


def test_rejects_carry_offsets_and_markers_are_no_records(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=2)
    end = [("stillwatch.control", b"end")]
    text = event(2, content={"prompt": "tell\nme"})
    left = [(0, event(0), []), (0, b"", end), (0, b"{\n", [])]
    right = [(1, event(1, colour="red"), []), (1, None, []), (1, text, []), (1, event(0), [])]
    put(connection, "access", [*left, *right])
    stillwatch("replay", address(connection), "--out", str(tmp_path), "--no-progress")
    rejects = [orjson.loads(line) for line in (tmp_path / "rejects.jsonl").read_bytes().splitlines()]
    found = {(r["source"].split("?")[1].split("&")[0], r["offset"], r["reason"]) for r in rejects}
    assert found == {("partition=0", 2, "not_json"), ("partition=1", 1, "not_json"), ("partition=1", 3, "duplicate")}
    assert not any("line" in reject for reject in rejects)
    stillwatch("fingerprint", address(connection), "--out", str(tmp_path / "log.jsonl"))
    assert (tmp_path / "log.jsonl").read_bytes().count(b"\n") == 4
    assert b"tell" not in (tmp_path / "log.jsonl").read_bytes()


def test_a_range_is_cut_by_offset_or_by_time(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation(partitions=1)
    put(connection, "access", [(0, event(n), []) for n in range(10)])
    config = tmp_path / "c.toml"
    config.write_text(f'[kafka]\nbootstrap = "{connection.bootstrap}"\n')

    def rows(query: str) -> int:
        said = printed("validate", address(connection, query, brokers=False), "--config", str(config), "-o", "json")
        return int(orjson.loads(said)["rows"])

    assert rows("?from=2&to=7") == 5
    assert rows("?from=3") == 7
    assert rows("?to=1000000&partition=0") == 10
    assert rows("?from=2015-01-01T00:00:00Z&to=2199-01-01T00:00:00%2B02:00") == 10
    for query, said in (
        ("?from=7&to=7", "no record was accepted"),
        ("?to=2015-01-01T00:00:00Z", "no record was accepted"),
        ("?partition=9", "has no partition 9"),
    ):
        assert said in stillwatch(
            "validate", address(connection, query, brokers=False), "--config", str(config), code=3
        )
    assert "is missing" in stillwatch("validate", f"kafka://{connection.bootstrap}/none", code=4)


def test_records_that_go_while_a_topic_is_read_are_an_infrastructure_error(
    installation: Callable[..., Connection], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    connection = installation(partitions=1)
    put(connection, "access", [(0, event(n), []) for n in range(4)])
    fixed, gone = TopicInputs.add, iter(range(1, 4))

    def and_retention(inputs: TopicInputs, address: Any, connection: Connection) -> list[str]:
        names = fixed(inputs, address, connection)
        admin = KafkaAdminClient(bootstrap_servers=connection.bootstrap)
        admin.delete_records({TopicPartition(address.topic, 0): next(gone)})
        admin.close()
        return names

    monkeypatch.setattr(TopicInputs, "add", and_retention)
    for words in (("validate",), ("replay", "--out", str(tmp_path)), ("fingerprint", "--out", "-")):
        said = stillwatch(*words, address(connection), code=4)
        assert "to=4: reading stopped: " in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("kafka://b:9092", "a topic input does not read; expected kafka://BROKERS/TOPIC"),
        ("kafka://b:9092/t?from=soon", "from is neither an offset nor a time"),
        ("kafka://b:9092/t?since=1", "unknown or repeated part 'since'"),
        ("kafka://b:9092/t?from=1&from=2", "unknown or repeated part 'from'"),
        ("kafka://b:9092/t?partition=x", "partition='x' is no number"),
    ],
)
def test_an_address_that_does_not_read_is_an_input_error(name: str, said: str) -> None:
    assert said in stillwatch("validate", name, code=3)
