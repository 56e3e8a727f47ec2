"""LiteLLM's keys under leases, against a server that answers as its management API is documented to."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from detector.enforce.client import now_ms
from detector.enforce.leases import CONTROL_KEY
from detector.enforce.litellm_keys import LitellmCopy
from detector.records import ConfigError, DecisionParams
from tests.unit.test_copies import Pushing, current, pushing
from tests.unit.waiting import until

ADMIN = "sk-admin"
FREE = {"blocked": False, "rpm_limit": None, "tpm_limit": None}


def token_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


class Proxy(http.server.ThreadingHTTPServer):
    """Keys by hash; answers with an error as often as it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.keys: dict[str, dict[str, Any]] = {}
        self.errors = 0
        self.asked: list[str] = []
        self.admin = ADMIN

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def make(self, name: str, user: str, **had: Any) -> str:
        self.keys[token_of(name)] = {"user_id": user, **FREE, **had}
        return token_of(name)

    def state(self, name: str) -> dict[str, Any]:
        return {field: self.keys[token_of(name)][field] for field in FREE}


class Answer(http.server.BaseHTTPRequestHandler):
    """One request to the management API."""

    server: Proxy

    def _say(self, status: int, body: Any) -> None:
        raw = orjson.dumps(body)
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def _refused(self) -> bool:
        if self.headers["Authorization"] != f"Bearer {self.server.admin}":
            self._say(401, {"error": "no"})
        elif self.server.errors:
            self.server.errors -= 1
            self._say(503, {"error": "the database is away"})
        else:
            return False
        return True

    def do_GET(self) -> None:
        if self._refused():
            return
        at = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(at.query).items()}
        if at.path == "/key/info":
            info = self.server.keys.get(asked["key"])
            self._say(200 if info else 404, {"key": asked["key"], "info": info})
            return
        wanted, page, size = asked.get("user_id"), int(asked["page"]), int(asked["size"])
        # Some versions list by a part of the name.
        found = [t for t, info in self.server.keys.items() if wanted is not None and wanted in info["user_id"]]
        shown = found[(page - 1) * size : page * size]
        self._say(200, {"keys": shown, "total_count": len(found), "total_pages": -(-len(found) // size)})

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        self.server.asked.append(self.path)
        held = self.server.keys.get(body["key"])
        if held is None:
            self._say(404, {"error": "no such key"})
            return
        if self.path == "/key/update":
            held |= {name: body[name] for name in ("rpm_limit", "tpm_limit") if name in body}
        else:
            held["blocked"] = self.path == "/key/block"
        self._say(200, held)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    made = Proxy()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def copy_to(proxy: Proxy, journal: Path) -> LitellmCopy:
    return LitellmCopy(proxy.url, admin_key=ADMIN, journal=journal)


def in_step(live: Pushing) -> bool:
    status = live.pusher.status()
    return status.in_step and not live.pusher._told.due(now_ms=now_ms())


SLOW = DecisionParams(requests_per_minute=5, tokens_per_minute=900)


def test_every_key_of_an_account_is_blocked_and_given_back_as_it_was(proxy: Proxy, journal: Path) -> None:
    for number in range(130):  # more than a page
        proxy.make(f"k-{number}", "a-1")
    proxy.make("limited", "a-1", rpm_limit=3)
    proxy.make("theirs", "a-1", blocked=True)
    proxy.make("another's", "a-12")
    before = {token: dict(info) for token, info in proxy.keys.items()}
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current())
        until(lambda: sum(info["blocked"] for info in proxy.keys.values()) == 132)
        assert not proxy.state("another's")["blocked"]
        live.tell(current(seq=2, state="revoked"))
        until(lambda: proxy.keys == before)
    assert orjson.loads(journal.read_bytes()) == {}


def test_a_throttle_limits_and_never_loosens(proxy: Proxy, journal: Path) -> None:
    proxy.make("free", "a-1")
    proxy.make("tight", "a-1", rpm_limit=2, tpm_limit=5_000)
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current(action="throttle", params=SLOW))
        until(lambda: in_step(live))
        assert proxy.state("free") == {"blocked": False, "rpm_limit": 5, "tpm_limit": 900}
        assert proxy.state("tight") == {"blocked": False, "rpm_limit": 2, "tpm_limit": 900}
        live.tell(current(seq=2, action="block"))  # raised
        until(lambda: proxy.state("free") == FREE | {"blocked": True})
        live.tell(current(seq=3, action="block", expires_at=now_ms() + 300))  # a renewal, which runs out
        until(lambda: proxy.state("free") == FREE)
        until(lambda: proxy.state("tight") == {"blocked": False, "rpm_limit": 2, "tpm_limit": 5_000})


def test_a_key_by_its_hash_and_two_leases_on_one_key(proxy: Proxy, journal: Path) -> None:
    token = proxy.make("k", "a-1")
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current(token, scope="api_key"), current(action="throttle", params=SLOW))
        until(lambda: proxy.state("k") == {"blocked": True, "rpm_limit": 5, "tpm_limit": 900})
        live.tell(current(token, scope="api_key", seq=2, state="revoked"))
        until(lambda: proxy.state("k") == {"blocked": False, "rpm_limit": 5, "tpm_limit": 900})
        live.tell_raw(CONTROL_KEY, b'{"enforcement":"off","since":0,"by":"kim","reason":"drill"}')
        until(lambda: proxy.state("k") == FREE)
        live.tell(current("nobody"), current("10.0.0.0/8", scope="subnet"), current("sk-x", scope="api_key"))
        until(lambda: in_step(live))


def test_a_proxy_that_is_away_loses_no_order(proxy: Proxy, journal: Path) -> None:
    proxy.make("k", "a-1")
    proxy.errors = 3
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current())
        until(lambda: proxy.state("k")["blocked"])
        assert live.pusher.failures >= 1
        proxy.errors = 2
        live.tell(current(seq=2, state="revoked"))
        until(lambda: not proxy.state("k")["blocked"])
        proxy.admin = "sk-rotated"
        live.tell(current(seq=3))
        until(lambda: "master key" in live.pusher.status().error)
        assert not live.pusher.status().in_step


def test_a_restart_keeps_what_stands_and_gives_back_what_ended(proxy: Proxy, journal: Path) -> None:
    proxy.make("k", "a-1", rpm_limit=40)
    proxy.make("l", "a-2")
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current(), current("a-2"))
        until(lambda: proxy.state("k")["blocked"] and proxy.state("l")["blocked"])
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current("a-2"))  # of the other nothing stands any more
        until(lambda: not proxy.state("k")["blocked"])
        until(lambda: in_step(live))
        assert proxy.state("l")["blocked"]
        assert proxy.state("k")["rpm_limit"] == 40
    assert copy_to(proxy, journal).release() == 1
    assert proxy.state("l") == FREE


def test_what_someone_changed_meanwhile_is_theirs(proxy: Proxy, journal: Path) -> None:
    proxy.make("k", "a-1")
    with pushing(copy_to(proxy, journal)) as live:
        live.tell(current(action="throttle", params=SLOW))
        until(lambda: in_step(live))
        proxy.keys[token_of("k")] |= {"rpm_limit": 77, "blocked": True}
        live.tell(current(seq=2, state="revoked"))
        until(lambda: proxy.state("k") == {"blocked": True, "rpm_limit": 77, "tpm_limit": None})
        proxy.keys.clear()
        live.tell(current(seq=3))
        until(lambda: in_step(live))


def test_a_journal_that_does_not_read_is_no_reason_to_forget_it(journal: Path) -> None:
    journal.write_bytes(b"{")
    with pytest.raises(ConfigError, match="does not read"):
        LitellmCopy("http://127.0.0.1:1", admin_key=ADMIN, journal=journal)
