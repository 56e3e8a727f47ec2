"""The worker's HTTP server, without Kafka: what it shows, to whom, and that it changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from detector import desk
from detector.config import Settings, parse
from detector.desk import Desk
from detector.hashing import DEVELOPMENT_KEY
from detector.operators import Label
from detector.records import ConfigError
from detector.runtime.kafka import http
from detector.runtime.kafka.http import (
    HttpSettings,
    address_of,
    http_settings_from,
    may_act,
    serving,
    token_of,
    worker_told,
)
from detector.runtime.kafka.metrics import FAMILIES, PREFIX, labelled, registry_of
from detector.runtime.kafka.status import Process, status_of, waiting_for
from detector.signatures.registry import SIGNATURES
from detector.snapshot import snapshot
from tests.unit.watched import KEY, process

# The operators' list; what enforcers say is in deploy/README.md.
LISTED = (
    "events_total raw_content_rejected_total events_dead_letter_total consumer_lag_records event_time_lag_seconds "
    "watermark_timestamp_seconds late_events_total event_processing_seconds rebalance_total signature_seconds "
    "signature_active signature_score state_keys state_bytes state_evictions_total checkpoint_age_seconds "
    "alerts_total alerts_open alert_time_to_detect_seconds decisions_total decisions_active decisions_vetoed_total "
    "blast_radius_ratio blocked_tokens_ratio blast_radius_cap_hits_total decision_publish_seconds config_info "
    "build_info fingerprint_key_info ready labels_total precision_estimate "
)


def scrape(watched: Process) -> str:
    return generate_latest(registry_of(watched)).decode()


async def no_alert() -> list[str]:
    return []


def asked(watched: Process, ask: Callable[[ClientSession, str], Awaitable[None]], **settings: str) -> None:
    async def run() -> None:
        at = HttpSettings(bind="127.0.0.1:0", **settings)
        async with serving(at, worker_told(watched, test_alert=no_alert)) as address, ClientSession() as client:
            await ask(client, f"http://{address}")

    asyncio.run(run())


def test_the_metrics_are_those_of_the_list() -> None:
    text = scrape(process())
    families = {family.name: family for family in text_string_to_metric_families(text)}
    exposed = {name + ("_total" if family.type == "counter" else "") for name, family in families.items()}
    assert exposed == {PREFIX + name for name in LISTED.split()}
    assert {PREFIX + name for name in FAMILIES} == set(families)


def test_every_sample_has_the_labels_of_its_family_and_most_families_have_one() -> None:
    silent = set(FAMILIES)
    for family in text_string_to_metric_families(scrape(process())):
        name = family.name.removeprefix(PREFIX)
        for sample in family.samples:
            silent.discard(name)
            assert set(sample.labels) - {"le"} == set(FAMILIES[name].labels), sample
    assert silent == {"consumer_lag_records", "precision_estimate"}  # nobody is connected, no analyst has spoken


def test_what_analysts_say_is_counted_by_verdict() -> None:
    held = Desk()
    for number, verdict in enumerate(("true_positive", "false_positive", "true_positive")):
        record = Label(alert_id=f"a-{number}", verdict=verdict, by="kim", at=0)  # type: ignore[arg-type]
        desk.label(held, record, signature_ids=("c1_shared_template",))
    sessions: list[Any] = [SimpleNamespace(judge=SimpleNamespace(cases=SimpleNamespace(desk=held)))]
    said = {(name, *labels): value for name, labels, value in labelled(sessions)}
    assert said["labels", "true_positive"] == 2
    assert said["labels", "benign"] == 0  # a series begins at zero
    assert said["precision_estimate", "c1_shared_template"] == round(2 / 3, 6)


def test_the_counts_are_those_of_the_roles() -> None:
    watched = process()
    held = {
        (s.name.removeprefix(PREFIX), *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(scrape(watched))
        for s in family.samples
    }
    (session,) = watched.sessions()
    judge = session.judge
    assert held["events_dead_letter_total", "not_json"] == 2
    assert held["raw_content_rejected_total",] == 2
    assert held["events_total", "ok", "s-0"] + held["events_total", "ok", "s-1"] == sum(
        n for (_, result), n in watched.tally.events.items() if result == "ok"
    )
    assert held["state_keys", "accounts"] == judge.accounts.index.live() > 0
    assert held["signature_active", "c1_shared_template", "default"] == 1
    assert sum(v for k, v in held.items() if k[0] == "alerts_open") >= 1
    assert sum(v for k, v in held.items() if k[0] == "decisions_active") == len(judge.cases.ledger.leases) > 0
    assert held["alert_time_to_detect_seconds_count",] >= 1
    assert held["event_processing_seconds_count", "judge"] == 1


def test_no_page_names_an_account_and_looking_changes_nothing() -> None:
    watched = process()
    (session,) = watched.sessions()
    judge = session.judge
    before = snapshot(judge, key=KEY)
    pages = scrape(watched) + orjson.dumps(status_of(watched)).decode()
    names = [name.decode() for name in judge.accounts.index.names if name is not None]
    assert len(names) > 20
    assert not [name for name in names if name in pages]
    assert snapshot(judge, key=KEY) == before


def test_a_process_without_running_roles_lives_and_is_not_ready() -> None:
    idle = Process(Settings(), key=DEVELOPMENT_KEY)

    async def ask(client: ClientSession, at: str) -> None:
        for path, status in (("livez", 200), ("readyz", 503), ("healthz", 503), ("metrics", 200), ("nothing", 404)):
            async with client.get(f"{at}/{path}") as answer:
                assert answer.status == status, path
        async with client.get(f"{at}/readyz") as answer:
            assert await answer.text() == "start: the roles are not running, brokers may be away\n"
        async with client.post(f"{at}/test-alert") as answer:
            assert answer.status == 409

    asked(idle, ask)
    assert waiting_for(idle)


# The laws' world has no logit probes, outputs or mail domains.
BLIND = ("a12_logit_probe", "c9_outputs_return", "p2_alike_registrations")
SAID = f"{len(SIGNATURES) - len(BLIND)} of {len(SIGNATURES)} signatures active"


def test_status_is_json_and_text() -> None:
    async def ask(client: ClientSession, at: str) -> None:
        async with client.get(f"{at}/status") as answer:
            said = await answer.json()
        (tenant,) = said["tenants"]
        assert tenant["coverage"]["said"] == SAID
        assert {source["source"] for source in tenant["sources"]} == {"s-0", "s-1"}
        assert said["rejects"]["not_json"] == 2
        assert said["config_hash"] == process().config_hash
        for form in ({"params": {"format": "text"}}, {"headers": {"Accept": "text/plain"}}):
            async with client.get(f"{at}/status", **form) as answer:
                text = await answer.text()
                assert answer.content_type == "text/plain"
                assert f"    coverage:\n      said: {SAID}\n" in text

    asked(process(), ask)


@pytest.mark.parametrize(
    ("peer", "origin", "authorization", "allowed"),
    [
        ("127.0.0.1", None, None, True),
        ("::1", None, None, True),
        ("127.0.0.1", "http://127.0.0.1:9464", None, False),
        ("10.0.0.9", None, None, False),
        ("10.0.0.9", None, "Bearer wrong", False),
        ("10.0.0.9", None, "Bearer 0123456789abcdef", True),
        ("10.0.0.9", "https://a.example", "Bearer 0123456789abcdef", False),
        (None, None, None, False),
        ("unix", None, None, False),
    ],
)
def test_only_loopback_or_the_token_may_act(
    peer: str | None, origin: str | None, authorization: str | None, *, allowed: bool
) -> None:
    said = may_act(peer=peer, origin=origin, authorization=authorization, token=b"0123456789abcdef")
    assert said is allowed


def test_a_web_page_cannot_ask_for_a_test_alert() -> None:
    async def ask(client: ClientSession, at: str) -> None:
        async with client.post(f"{at}/test-alert", headers={"Origin": at}) as answer:
            assert answer.status == 403

    asked(process(), ask)


@pytest.mark.parametrize("bind", ["", "9464", "localhost", "host:port", "a:-1", "a:70000", ":1"])
def test_a_bind_that_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(ConfigError, match=r"http\.bind"):
        address_of(bind)


def test_settings_come_from_the_file_the_environment_and_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = '[http]\nbind = "127.0.0.1:1"'
    assert http_settings_from("").bind == "127.0.0.1:9464"
    assert http_settings_from(text).bind == "127.0.0.1:1"
    monkeypatch.setenv(http.BIND_VARIABLE, "127.0.0.1:2")
    assert http_settings_from(text).bind == "127.0.0.1:2"
    assert http_settings_from(text, bind="off").bind == "off"
    with pytest.raises(ConfigError, match="unknown"):
        http_settings_from("[http]\nport = 1")
    assert parse(text) == Settings()  # it is no part of what outcomes depend on


def test_off_is_off_and_a_taken_port_says_what_to_do() -> None:
    watched = process()  # it has a loop of its own

    async def run() -> None:
        async with serving(HttpSettings(bind="off"), worker_told(watched, test_alert=no_alert)) as address:
            assert address is None
        async with serving(HttpSettings(bind="127.0.0.1:0"), worker_told(watched, test_alert=no_alert)) as address:
            assert address is not None
            with pytest.raises(ConfigError, match="another process"):
                async with serving(HttpSettings(bind=address), worker_told(watched, test_alert=no_alert)):
                    pass

    asyncio.run(run())


def test_a_token_is_read_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("0123456789abcdef\n")
    assert token_of(HttpSettings(token_file=str(path))) == b"0123456789abcdef"
    path.write_text("short\n")
    with pytest.raises(ConfigError, match="at least 16"):
        token_of(HttpSettings(token_file=str(path)))
    with pytest.raises(ConfigError, match="No such file"):
        token_of(HttpSettings(token_file=str(tmp_path / "none")))
