"""A walk from traffic to a refusal and back, on real parts: `python -m tests.integration.walk` prints each step's time.

Kafka, the worker in enforce mode, the sinks, Redis and the LiteLLM proxy are real; only PagerDuty is a server on
loopback that answers as its API does. The traffic is the first hours of the sample log, moved so that it ends now.
A time is counted from the end of the step before.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import redis

from detector.config import Settings
from detector.records import Decision, decode, parse_time
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.topics import create_topics
from tests.integration import brokers
from tests.integration.gateways import Proxy, proxy
from tests.integration.live import (
    configuration,
    end_with_parent,
    environment,
    read_topic,
    stillwatch,
    wait_until,
    worker,
)
from tests.unit.receiving import Receiver, pagerduty, receiving
from tests.unit.test_copies import Server

HOURS = 12
PROMPT = "Explain step by step how a bill becomes a law"
REDIS_KEYS = "stillwatch:dec:default:account:"


class Step(NamedTuple):
    """What happened, and how long it took."""

    name: str
    seconds: float
    said: str


class Parts(NamedTuple):
    """What the walk goes through."""

    connection: Connection
    options: tuple[str, ...]
    pager: Receiver
    store: redis.Redis
    gateway: Proxy


def traffic(folder: Path) -> Path:
    """The first hours of the sample log, with fingerprints for text, ending now."""
    whole, log = folder / "sample.jsonl", folder / "traffic.jsonl"
    with as_file(files("detector.tuning") / "demo") as demo:
        stillwatch("fingerprint", str(demo / "events.jsonl.zst"), "--out", str(whole))
    events = [orjson.loads(line) for line in whole.read_bytes().splitlines()]
    last_ms = min(map(_time_of, events)) + HOURS * 3_600_000
    moved_ms = int(time.time() * 1000) - last_ms
    kept = [event for event in events if _time_of(event) <= last_ms]
    for event in kept:
        for name in {"event_time", "account_created_at"} & event.keys():
            event[name] = _time_of(event, name) + moved_ms
    log.write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in kept))
    return log


def _time_of(event: dict[str, Any], name: str = "event_time") -> int:
    at = event[name]
    return at if isinstance(at, int) else parse_time(at)


@contextmanager
def verb(*arguments: str, folder: Path, **more: str) -> Iterator[None]:
    """A verb that runs while the block does."""
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "detector", *arguments],
            env={**environment(), **more},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the walk's threads hold no locks that matter there
        )
        try:
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def parts(connection: Connection, folder: Path) -> Iterator[Parts]:
    """Everything, started side by side."""
    with ExitStack() as held:
        server = Server()
        store = server.start()
        held.callback(server.kill)
        pager = held.enter_context(receiving(pagerduty))
        config = folder / "walk-and-sinks.toml"
        table = f'\n[[sinks]]\nkind = "pagerduty"\nurl = "{pager.url}/v2/enqueue"\n'
        config.write_text(configuration(connection, folder).read_text() + table)
        place = ("--config", str(config))
        live = held.enter_context(worker(connection, folder))
        begun = ("--from-beginning", "--http", "off")
        held.enter_context(verb("sinks", *begun, *place, folder=folder, STILLWATCH_PAGERDUTY_KEY="k" * 32))
        held.enter_context(verb("enforce", "redis", "--url", server.url, "--http", "off", *place, folder=folder))
        gateway = held.enter_context(proxy(connection, folder))
        wait_until(live.running, what="the worker", timeout_s=120)
        yield Parts(connection, place, pager, store, gateway)


def events_of(connection: Connection, account: str, disposition: str) -> list[dict[str, Any]]:
    """What the gateway has told about an account."""
    told = (orjson.loads(record.value) for record in read_topic(connection, "access"))
    return [event for event in told if event["account_id"] == account and event.get("disposition") == disposition]


def decision_of(connection: Connection, account: str) -> Decision:
    """The decision about an account that stands."""
    made = (decode(record.value, kind=Decision) for record in read_topic(connection, "decisions") if record.value)
    return [decision for decision in made if decision.value == account][-1]


def walk(with_: Parts, log: Path) -> list[Step]:
    """Go; each step waits for what it is about."""
    steps: list[Step] = []
    connection, options, pager, store, gateway = with_

    def step(name: str, done: Callable[[], Any], say: Callable[[Any], str]) -> Any:
        begun_s = time.monotonic()
        found = wait_until(done, what=name, timeout_s=60, every_s=0.02)
        steps.append(Step(name, time.monotonic() - begun_s, say(found)))
        return found

    def page() -> dict[str, Any] | None:
        return next((r.body for r in pager.requests if r.body["event_action"] == "trigger"), None)

    def asked(account: str, status: int) -> Callable[[], Any]:
        return lambda: (got := gateway.ask(account, PROMPT)).status == status and got

    def order(*arguments: str) -> Callable[[], str]:
        return lambda: stillwatch(*arguments, "--by", "kim", "-o", "human", *options)

    step("traffic goes in", lambda: stillwatch("produce", str(log), *options), str.strip)
    said = step("an alert pages on PagerDuty", page, lambda body: str(body["payload"]["summary"]))
    names = step(
        "decisions are in Redis", lambda: sorted(store.keys(REDIS_KEYS + "*")), lambda keys: f"{len(keys)} accounts"
    )
    account = names[0].decode().removeprefix(REDIS_KEYS)
    held = decision_of(connection, account)
    assert (held.origin, held.mode, held.action) == ("detector", "enforce", "challenge")
    assert orjson.loads(store.get(names[0]) or b"{}")["decision_id"] == held.decision_id
    step(
        "the request is refused", asked(account, 403), lambda got: f"{got.status}, {got.body['error']['message'][:60]}"
    )
    refused = step(
        "the refusal is back as an event",
        lambda: events_of(connection, account, "challenged"),
        lambda told: f"{told[0]['disposition']} by {told[0]['decision_id']}",
    )
    assert refused[0]["decision_id"] == held.decision_id
    alert = held.alert_ids[0]
    assert alert in str(said)
    label = ("alerts", "label", alert, "false_positive")
    step("the analyst labels it false", order(*label), str.strip)
    revoke = ("decisions", "revoke", held.decision_id, "--reason", "an honest customer")
    step("the decision is revoked", order(*revoke), str.strip)
    step("Redis has forgotten it", lambda: not store.exists(names[0]), lambda _: "the key is gone")
    step("the request passes", asked(account, 200), lambda got: str(got.status))
    step(
        "and is told as an event",
        lambda: events_of(connection, account, "allowed"),
        lambda told: told[0]["disposition"],
    )
    return steps


def show(steps: list[Step]) -> str:
    """A line for each step."""
    return "\n".join(f"{step.seconds:7.2f} s  {step.name:<32} {step.said}" for step in steps)


def main() -> None:
    """Walk with a broker of its own."""
    said: list[str] = []
    with tempfile.TemporaryDirectory() as name, brokers.provided(Path(name), said) as bootstrap:
        if bootstrap is None:
            raise SystemExit("; ".join(said))
        folder = Path(name)
        connection = Connection(
            bootstrap=bootstrap, prefix="walk.", group="walk", state_directory=str(folder / "state")
        )
        create_topics(connection, Settings(), access_partitions=4)
        with ThreadPoolExecutor(1) as beside:
            log = beside.submit(traffic, folder)
            with parts(connection, folder) as made:
                print(show(walk(made, log.result())))  # noqa: T201 - the walk's own output


if __name__ == "__main__":
    main()
