"""The live page without Kafka: what the topics' fold keeps, what the page says, and who is answered."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientSession

from detector.config import ConfigError
from detector.operators import Control
from detector.pages.live import live_page
from detector.pages.rendering import live_html
from detector.pages.serve import HEADERS, serving, token_from
from detector.records import Alert, Approval, Decision, decision_key, decode, encode
from detector.runtime.kafka.orders_out import CONTROL_KEY
from detector.runtime.kafka.publishing import progress_message
from detector.runtime.kafka.situation import KEPT_MS, Situation
from detector.runtime.kafka.watching import Seen
from detector.runtime.printing import printable
from tests.hostile_strings import HOSTILE
from tests.unit.paging import Read, chunks, hostile_alert, judge, seen_of
from tests.unit.replaying import replay, write_log

TOKEN = "t" * 32
Ask = Callable[[ClientSession, str], Awaitable[None]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("live") / "out"
    result = replay(write_log(out.parent / "log.jsonl"), "--out", out)
    assert result.exit_code == 0, result.stderr
    return out


@pytest.fixture(scope="module")
def alerts(folder: Path) -> list[Alert]:
    return [decode(raw, kind=Alert) for raw in (folder / "alerts.jsonl").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def decisions(folder: Path) -> list[Decision]:
    return [decode(raw, kind=Decision) for raw in (folder / "decisions.jsonl").read_bytes().splitlines()]


def text_of(seen: Seen, *, now_ms: int) -> str:
    return " ".join("".join(Read(live_html(live_page(seen, now_ms=now_ms), refresh_s=5)).texts).split())


def key_of(d: Decision) -> bytes:
    return decision_key(tenant=d.tenant, scope=d.scope, value=d.value)


# --- the fold ------------------------------------------------------------------


def test_the_fold_keeps_the_highest_revision_and_sequence_whatever_the_order(
    alerts: list[Alert], decisions: list[Decision]
) -> None:
    folds = []
    for backwards in (False, True):
        fold = Situation()
        records = [("alerts", b"", encode(a)) for a in alerts] + [
            ("decision-log", key_of(d), encode(d)) for d in decisions
        ]
        for topic, key, value in (records[::-1] if backwards else records) + records[:3]:
            fold.apply(topic, key, value)
        folds.append(fold)
    assert folds[0].alerts == folds[1].alerts
    assert folds[0].log == folds[1].log
    for alert in alerts:
        assert folds[0].alerts[alert.alert_id].revision == max(
            a.revision for a in alerts if a.alert_id == alert.alert_id
        )
    assert folds[0].unreadable == {}


def test_what_does_not_read_is_counted_and_a_tombstone_ends_a_key(decisions: list[Decision]) -> None:
    fold, one = Situation(), decisions[0]
    for topic in ("alerts", "decisions", "progress"):
        fold.apply(topic, b"x", b'{"class_uid": 2004}')
    assert fold.unreadable == {"alerts": 1, "decisions": 1, "progress": 1}
    fold.apply("decisions", key_of(one), encode(one))
    assert len(fold.decisions) == 1
    fold.apply("decisions", key_of(one), None)
    assert fold.decisions == {}
    fold.apply("decisions", CONTROL_KEY, encode(Control(enforcement="off", since=0, by="ann", reason="drill")))
    assert fold.control is not None
    fold.apply("decisions", CONTROL_KEY, None)
    assert fold.control is None


def test_what_ended_a_day_ago_leaves_and_open_alerts_stay(alerts: list[Alert], decisions: list[Decision]) -> None:
    now_ms = max(d.expires_at for d in decisions) + KEPT_MS
    open_ = msgspec.structs.replace(alerts[0], alert_id="open", status="open")
    closed = msgspec.structs.replace(alerts[0], alert_id="closed", status="resolved")
    seen = seen_of([open_, closed], decisions, now_ms=now_ms)
    seen.situation.prune(now_ms=now_ms)
    assert list(seen.situation.alerts) == ["open"]
    assert seen.situation.log == {}


# --- the page ------------------------------------------------------------------


def test_the_page_says_campaigns_leases_caps_coverage_and_how_old_it_is(
    alerts: list[Alert], decisions: list[Decision]
) -> None:
    now_ms = decisions[-1].issued_at
    enforced = msgspec.structs.replace(
        decisions[-1], mode="enforce", approval=Approval(required=True, state="pending", proposed_action="block")
    )
    seen = seen_of(
        [msgspec.structs.replace(a, status="updated", status_reason=None) for a in alerts], decisions, now_ms=now_ms
    )
    seen.situation.apply("decisions", key_of(enforced), encode(enforced))
    seen.situation.apply("progress", b"0", progress_message(judge(now_ms), partition=0).value)
    said = text_of(seen, now_ms=now_ms)
    assert "leases enforced 1" in said
    assert "awaiting approval 1" in said
    assert "enforcement on" in said
    for alert in alerts:
        assert alert.entity.value in said
    for words in ("new blocks in the last hour", "signatures could judge", "How far each tenant's judge has come"):
        assert words in said
    late = text_of(seen._replace(trouble="NoBrokersAvailable"), now_ms=now_ms)
    assert "No word from the brokers (NoBrokersAvailable). What stands here is as of" in late
    assert "still being read" in text_of(seen._replace(complete=False), now_ms=now_ms)


def test_the_kill_switch_is_the_first_thing_that_is_said(alerts: list[Alert]) -> None:
    seen = seen_of(alerts, [], now_ms=0)
    seen.situation.control = Control(enforcement="observe_only", since=0, by="ann", reason="<b>drill</b>")
    page = live_html(live_page(seen, now_ms=0), refresh_s=5)
    assert "Kill switch: enforcement is observe only since 1970-01-01 00:00:00 UTC, by ann: <b>drill</b>" in "".join(
        Read(page).texts
    )
    assert "<b>" not in page


def test_an_empty_situation_makes_a_page() -> None:
    said = text_of(Seen(Situation(), complete=False, trouble="connecting", since_ms=0), now_ms=0)
    assert "nothing was read yet" in said
    assert "No campaign is open." in said


@pytest.mark.parametrize("texts", list(chunks([text for text in HOSTILE.values() if text], 20)))
def test_a_hostile_string_is_text_on_the_live_page(
    alerts: list[Alert], decisions: list[Decision], texts: list[str]
) -> None:
    base, one = next(a for a in alerts if a.campaign is not None), decisions[0]

    def page_of(values: list[str]) -> Read:
        names = [
            msgspec.structs.replace(one, value=value, tenant=value, reason_code=value, campaign_id=value)
            for value in values
        ]
        some = [msgspec.structs.replace(hostile_alert(base, value, n), status="open") for n, value in enumerate(values)]
        seen = seen_of(some, names, now_ms=one.issued_at)
        return Read(live_html(live_page(seen._replace(trouble=values[0]), now_ms=one.issued_at), refresh_s=5))

    page, harmless = page_of(texts), page_of([f"plain {number}" for number in range(len(texts))])
    assert page.open == []
    assert page.elements == harmless.elements
    said = "".join(page.texts)
    assert all(printable(text).strip() in said for text in texts)


# --- the server ----------------------------------------------------------------


def asked(ask: Ask, *, token: bytes = b"", seen: Seen | None = None) -> None:
    shown = seen if seen is not None else Seen(Situation(), complete=True, trouble="", since_ms=1)

    async def run() -> None:
        async with serving(lambda: shown, host="127.0.0.1", port=0, token=token) as address, ClientSession() as client:
            await ask(client, address)

    asyncio.run(run())


def test_every_answer_carries_the_policy_and_pages_take_only_what_is_theirs() -> None:
    async def ask(client: ClientSession, address: str) -> None:
        for path, kind in (
            *(("", "text/html"), ("view", "text/html"), ("style.css", "text/css"), ("live.js", "text/javascript")),
            ("livez", "text/plain"),
        ):
            async with client.get(address + path) as answer:
                assert answer.status == 200, path
                assert answer.content_type == kind
                assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        async with client.get(address + "etc/passwd") as answer:
            assert answer.status == 404
            assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]

    asked(ask)


def test_nothing_can_be_changed_through_it() -> None:
    async def ask(client: ClientSession, address: str) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            async with client.request(method, address, data=b"") as answer:
                assert answer.status == 405, method

    asked(ask)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "10.0.0.1", "localhost.evil.example", "[2001:db8::1]:1"]
)
def test_without_a_token_it_answers_to_loopbacks_names_only(host: str) -> None:
    async def ask(client: ClientSession, address: str) -> None:
        async with client.get(address + "view", headers={"Host": host}) as answer:
            assert answer.status == 421
        async with client.get(address + "view", headers={"Host": "localhost:1"}) as answer:
            assert answer.status == 200

    asked(ask)


def test_with_a_token_every_page_asks_for_it_and_probes_do_not() -> None:
    refused = (
        {},
        {"Authorization": "Bearer " + "x" * 32},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": TOKEN},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic " + base64.b64encode(b"no colon").decode()},
        {"Authorization": "Bearer \u00fc"},
    )

    async def ask(client: ClientSession, address: str) -> None:
        for path in ("", "view", "live.js", "style.css", "nothing"):
            for headers in refused:
                async with client.get(address + path, headers=headers) as answer:
                    assert answer.status == 401, (path, headers)
                    assert answer.headers["WWW-Authenticate"].startswith("Basic ")
        async with client.get(address, headers={"Authorization": f"Bearer {TOKEN}", "Host": "watch.example"}) as answer:
            assert answer.status == 200
        basic = base64.b64encode(f"anyone:{TOKEN}".encode()).decode()
        async with client.get(address, headers={"Authorization": f"Basic {basic}"}) as answer:
            assert answer.status == 200
        async with client.get(address + "readyz") as answer:
            assert answer.status == 200

    asked(ask, token=TOKEN.encode())


@pytest.mark.parametrize(
    ("complete", "trouble", "status", "says"),
    [(True, "", 200, "ok"), (False, "", 503, "being read"), (True, "gone", 503, "do not answer")],
)
def test_readiness_says_what_is_waited_for(complete: bool, trouble: str, status: int, says: str) -> None:
    async def ask(client: ClientSession, address: str) -> None:
        async with client.get(address + "readyz") as answer:
            assert answer.status == status
            assert says in await answer.text()
        async with client.get(address) as answer:
            assert answer.status == 200

    asked(ask, seen=Seen(Situation(), complete=complete, trouble=trouble, since_ms=1))


def test_afar_needs_a_token_and_the_token_a_length(tmp_path: Path) -> None:
    short, good = tmp_path / "short", tmp_path / "good"
    short.write_text("short")
    good.write_text(f"{TOKEN}\n")
    assert token_from(None, host="127.0.0.1") == b""
    assert token_from(good, host="watch.example") == TOKEN.encode()
    bad = (("::", None), ("watch.example", None), ("127.0.0.1", short), ("127.0.0.1", tmp_path / "none"))
    for host, path in bad:
        with pytest.raises(ConfigError, match="token"):
            token_from(path, host=host)


def test_the_parts_are_what_the_page_has(alerts: list[Alert]) -> None:
    seen = seen_of(alerts, [], now_ms=0)

    async def ask(client: ClientSession, address: str) -> None:
        async with client.get(address) as whole, client.get(address + "view") as parts:
            ids = [dict(a)["id"] for tag, a in Read(await whole.text()).elements if tag == "section"]
            assert ids == [dict(a)["id"] for tag, a in Read(await parts.text()).elements if tag == "section"]
            assert ids == ["now", "campaigns", "leases", "caps", "coverage", "judges"]

    asked(ask, seen=seen)
