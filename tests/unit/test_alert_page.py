"""An alert on a terminal: readable by a person, harmless to the terminal."""

import orjson
import pytest

from detector.cli.alert_page import write_page
from detector.cli.alerts import COLUMNS
from detector.cli.forms import row_of
from detector.cli.output import Listing, write_one, write_rows, write_stream
from tests.contract.test_sinks import hostile
from tests.hostile_strings import HOSTILE, unprintable
from tests.unit.alerting import alert, operational, resolved


def page(capsys: pytest.CaptureFixture[str], *alerts: object) -> str:
    for made in alerts:
        write_page(made)  # type: ignore[arg-type] # one of the records
    return capsys.readouterr().out


def test_a_page_answers_the_questions_of_three_in_the_morning_in_their_order(
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = page(capsys, alert())
    assert said.startswith("HIGH: Coordinated distillation campaign, campaign c-0000000000000001\n")
    headings = [line for line in said.splitlines() if line and not line.startswith(" ")][3:]
    assert headings == ["Why", "It would be wrong", "Left the building", "Do now", "Shared", "Read on"]
    for words in (
        "212 accounts sent 48,310 requests in 4.0 h",
        "████████████████████  +5.0  One text on many unrelated accounts: organisations 210 (at least 8",
        "██░░░░░░░░░░░░░░░░░░  -0.5  A pool crowds onto few prefixes",
        "new items fill the account (not counted)",
        "log-odds 2.0, of which -8.0 before any evidence; an alert needs 1.5",
        "48,310 exchanges with 9,000,000 output tokens, 400,000 of them reasoning, worth 135.50 USD",
        "challenge: refuse its accounts until their owners have proved who they are",
        "'acct_1', 'acct_2', 'acct_3' and 209 more",
        "deploy/runbooks/c1_shared_template.md",
    ):
        assert words in said


def test_a_shadow_alert_says_so_and_an_operational_one_accuses_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    said = page(capsys, alert(mode="shadow"), operational(), resolved())
    assert "HIGH (shadow): " in said
    assert "shadow mode, nothing is enforced" in said
    assert "nobody is accused" in said
    assert "resolved (idle)" in said


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_an_alert_reaches_the_terminal_as_more_than_text(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert unprintable(page(capsys, hostile(text))) == set()


@pytest.mark.parametrize("listing", list(Listing))
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_nothing_in_a_list_of_alerts_is_more_than_text(
    capsys: pytest.CaptureFixture[str], text: str, listing: Listing
) -> None:
    row = row_of(hostile(text))
    write_rows([row], COLUMNS, listing, nothing="none")
    write_stream([row], COLUMNS, listing)
    write_one(row, listing)
    said = capsys.readouterr().out
    assert unprintable(said) == set()
    if listing is Listing.jsonl:
        assert [orjson.loads(line) for line in said.splitlines()] == [row, row, row]
