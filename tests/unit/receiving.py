"""A receiver of alerts on loopback that answers as documented, or as the test wants it to misbehave."""

import http.server
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson


class Reply(NamedTuple):
    """What to answer; `hang_s` before it, `cut` closes the connection instead: taken, but nobody hears of it."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hang_s: float = 0.0
    cut: bool = False


class Request(NamedTuple):
    """What came."""

    path: str
    headers: dict[str, str]
    body: Any


class Receiver:
    """Answers with `script`'s replies, one each, then with what `answer` says."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.answer, self.script = answer, list[Reply]()
        self.requests: list[Request] = []  # those that were taken
        self.tries = 0
        self.lock = threading.Lock()
        self.url = ""

    def reply(self, request: Request) -> Reply:
        with self.lock:
            self.tries += 1
            said = self.script.pop(0) if self.script else self.answer(request)
            if 200 <= said.status < 300:
                self.requests.append(request)
            return said


@contextmanager
def receiving(answer: Callable[[Request], Reply], *, port: int = 0) -> Iterator[Receiver]:
    """A receiver that listens within the block."""
    held = Receiver(answer)

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            form = "urlencoded" in headers.get("content-type", "")
            body = dict(urllib.parse.parse_qsl(raw.decode())) if form else orjson.loads(raw)
            said = held.reply(Request(self.path, headers, body))
            time.sleep(said.hang_s)
            if said.cut:
                self.close_connection = True
                return
            self.send_response(said.status)
            for name, value in said.headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    held.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def pagerduty(request: Request) -> Reply:
    """As the Events API v2 answers: 202 with the key, 400 where the event is not valid."""
    event = request.body
    valid = request.path == "/v2/enqueue" and {"routing_key", "event_action"} <= set(event)
    valid = valid and (event["event_action"] != "trigger" or {"summary", "source", "severity"} <= set(event["payload"]))
    if not valid:
        return Reply(400, b'{"status":"invalid event","message":"Event object is invalid","errors":[]}')
    said = {"status": "success", "message": "Event processed", "dedup_key": event["dedup_key"]}
    return Reply(202, orjson.dumps(said))


def taking(request: Request) -> Reply:
    """A webhook's yes."""
    del request
    return Reply(200)
