"""A campaign's dossier: the demo's campaign told in full, and what strangers' strings cannot do to it."""

from pathlib import Path

import msgspec
import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from detector.config import Settings
from detector.events import event_batch
from detector.hashing import DEVELOPMENT_KEY
from detector.operators import Label
from detector.runtime.explain import read_run
from detector.runtime.replay import replay
from detector.tuning.dossier import CaseFile, NoCampaignError, accounts_of, case_file, dossier
from detector.tuning.dossier_text import code, literal, markdown
from detector.tuning.traffic import traffic, walk
from tests.conftest import ROOT
from tests.unit.replaying import run as program

EVENTS = str(ROOT / "detector" / "tuning" / "demo" / "events.jsonl.zst")
HOSTILE = (
    "<script>alert(1)</script>",
    "![x](http://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "a|b|c\n| d | e |",
    "`` ` ```",
    "\n# heading\n\n- list",
    "http://evil.example www.evil.example a@evil.example",
    "&lt;b&gt; \\<b> *bold* __bold__ ~~gone~~",
    "\u202etxt\x1b[31m\x00",
)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    replay([EVENTS], out=folder, settings=Settings(), key=DEVELOPMENT_KEY)
    return folder


@pytest.fixture(scope="module")
def case(ran: Path) -> CaseFile:
    found = read_run(ran)
    made = case_file(found.alerts[0].alert_id, alerts=found.alerts, members=found.members, decisions=found.decisions)
    assert made is not None
    seen = traffic(
        walk([EVENTS], key=DEVELOPMENT_KEY), tenant="default", members=accounts_of(made), key=DEVELOPMENT_KEY
    )
    return made._replace(traffic=seen)


def test_the_table_says_what_alert_members_and_log_say(case: CaseFile) -> None:
    told = dossier(case)
    last = case.alert
    assert last.campaign is not None
    assert last.damage is not None
    assert told["accounts"]["total"] == last.campaign.accounts == len(case.members)
    assert told["exchanges"] == last.campaign.requests
    assert told["damage"]["output_tokens"] == last.damage.output_tokens
    assert sum(told["accounts"]["by_tier"].values()) == len(case.members)
    assert {"capability": "reasoning", "share": 1.0} in told["capabilities"]
    assert told["decisions"]["keys_by_strictest_action"] == {"challenge": len(case.members)}
    assert told["timeline"][-1]["requests"] == last.campaign.requests
    assert orjson.loads(orjson.dumps(told)) == told


def test_without_the_log_it_says_so(case: CaseFile) -> None:
    told = dossier(case._replace(traffic=None))
    assert told["pathway"]["traffic"] is None
    assert "The log was not at hand" in markdown(told)


def test_a_dossier_is_about_a_campaign(case: CaseFile) -> None:
    other = msgspec.structs.replace(case.alert, kind="operational", campaign=None)
    with pytest.raises(NoCampaignError):
        case_file(other.alert_id, alerts=[other], members=(), decisions=())
    assert case_file("nothing", alerts=[other], members=(), decisions=()) is None


def _tags(text: str) -> set[str]:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table").enable("strikethrough")
    kinds = set()
    for token in parser.parse(text):
        kinds |= {token.type, *(child.type for child in token.children or ())}
    return kinds


def test_no_stranger_s_string_is_markup(case: CaseFile) -> None:
    plain = _tags(markdown(dossier(case)))
    campaign = case.alert.campaign
    assert campaign is not None
    for text in HOSTILE:
        links = tuple(msgspec.structs.replace(link, value=text, kind="program") for link in campaign.links[:3])
        block = msgspec.structs.replace(campaign, links=links)
        alert = msgspec.structs.replace(case.alert, campaign=block, status="resolved", status_reason=text)
        assert case.traffic is not None
        seen = case.traffic._replace(models={text: 5}, networks={text: 5})
        note = Label(alert_id=alert.alert_id, verdict="false_positive", by=text, note=text, at=0)
        written = markdown(dossier(CaseFile(alert, [alert], labels=[note], traffic=seen)))
        assert _tags(written) <= plain | {"text", "tbody_open"}, text
        rows = [line for line in written.splitlines() if line.startswith("|")]
        assert all(line.isprintable() for line in rows), text


@given(text=st.text(max_size=40))
def test_a_literal_and_a_code_span_show_the_same_text(text: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    table = parser.parse(f"| a | b |\n| --- | --- |\n| x{literal(text)} | {code(text)} |")
    cells = [token for token in table if token.type == "inline"][2:]
    assert len(cells) == 2
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    assert "".join(child.content for child in cells[0].children or ()) == ("x" + shown).rstrip()
    (span,) = cells[1].children or ()
    assert (span.type, span.content.strip()) == ("code_inline", shown.strip())


def test_traffic_counts_members_against_others_of_their_tenant() -> None:
    rows = 9
    batch = event_batch(
        {
            "event_id": pa.array([f"e{i}" for i in range(rows)]),
            "event_time": pa.array(range(rows), pa.int64()),
            "account_id": pa.array(["a", "a", "b", "c", "d", "d", "e", "a", "b"]),
            "request_model": pa.array(["m"] * rows),
            "ja4": pa.array(["j"] * 5 + ["k", "j", "j", None]),
            "tenant": pa.array([None] * 7 + ["other"] * 2),
            "payment_fp": pa.array(["p", "p", "q", None, "r", "r", "r", "s", "s"]),
        },
        rows=rows,
    )
    seen = traffic([batch], tenant="default", members={"a", "b", "c"}, key=DEVELOPMENT_KEY)
    assert (seen.accounts, seen.others, seen.requests, seen.payments) == (3, 2, 4, 2)
    (shared,) = seen.attributes
    assert shared._asdict() == {"kind": "ja4", "value": "j", "accounts": 3, "requests": 4, "other_accounts": 2}


def test_the_verb_tells_a_replay_s_campaign(ran: Path, case: CaseFile) -> None:
    said = program("alerts", "show", case.alert.alert_id, "--dossier", "--in", ran)
    assert said.exit_code == 0, said.output
    assert said.stdout == markdown(dossier(case))
    tree = orjson.loads(program("alerts", "show", case.alert.alert_id, "--dossier", "--in", ran, "-o", "json").stdout)
    assert tree == dossier(case)
    assert program("alerts", "show", "nothing", "--dossier", "--in", ran).exit_code == 3
