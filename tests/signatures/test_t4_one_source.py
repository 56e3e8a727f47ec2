"""T4: prompts of strangers out of one source, without a text in common."""

from typing import Any

from detector.signatures.t4_one_source import (
    BARE_FULL,
    BARE_MIN,
    BETWEEN_FULL,
    BETWEEN_MAX,
    BLIND_COST,
    DISTINCT_FULL,
    DISTINCT_MIN,
    LOG_ODDS_MAX,
    MEMBERS_MIN,
    SHARED_FULL,
    SHARED_MAX,
    SIGNATURE,
)
from tests.signatures.builders import NAN, judge

REPLAY: dict[str, Any] = {
    "kind": "program",
    "compared": 4 * MEMBERS_MIN,
    "between_share": 0.0,
    "between_upper": BETWEEN_FULL / 3,
    "bare_share": 1.0,
    "shared_share": 0.15,
}
PEOPLE = 0.61


def test_fires_fully_on_a_prompt_set_dealt_out_over_many_accounts() -> None:
    assert judge(SIGNATURE, **REPLAY) == LOG_ODDS_MAX


def test_quiet_where_accounts_differ_as_people_do() -> None:
    assert judge(SIGNATURE, **REPLAY | {"between_upper": PEOPLE}) == 0.0
    assert 0.0 < judge(SIGNATURE, **REPLAY | {"between_upper": (BETWEEN_FULL + BETWEEN_MAX) / 2}) < LOG_ODDS_MAX


def test_quiet_on_customers_of_one_application_which_leaves_its_text() -> None:
    # The nearest innocents: a translator's customers send one mix as well, inside the translator's words ...
    assert judge(SIGNATURE, **REPLAY | {"shared_share": 0.97}) == 0.0
    assert judge(SIGNATURE, **REPLAY | {"shared_share": (SHARED_FULL + SHARED_MAX) / 2}) < LOG_ODDS_MAX
    # ... or under its system prompt.
    assert judge(SIGNATURE, **REPLAY | {"bare_share": 0.05}) == 0.0
    assert judge(SIGNATURE, **REPLAY | {"bare_share": (BARE_MIN + BARE_FULL) / 2}) < LOG_ODDS_MAX


def test_quiet_where_conversations_are_dealt_out_which_makes_prompts_alike() -> None:
    assert judge(SIGNATURE, **REPLAY | {"taking_over": 1.0}) == 0.0
    assert judge(SIGNATURE, **REPLAY | {"taking_over": 0.5}) == LOG_ODDS_MAX / 2


def test_quiet_on_evaluators_who_run_the_same_items() -> None:
    share = {"texts": 4_000.0, "prompts": 1_900.0, "prompts_lower": 4_000 * DISTINCT_MIN}
    assert judge(SIGNATURE, **REPLAY | share) == 0.0
    assert judge(SIGNATURE, **REPLAY | share | {"prompts_lower": 4_000 * DISTINCT_FULL}) == LOG_ODDS_MAX


def test_a_log_that_cannot_tell_items_apart_costs_a_part() -> None:
    assert judge(SIGNATURE, **REPLAY | {"texts": 0.0}) == round(LOG_ODDS_MAX - BLIND_COST, 6)


def test_evaded_by_accounts_that_each_have_a_topic() -> None:
    assert judge(SIGNATURE, **REPLAY | {"between_upper": BETWEEN_MAX}) == 0.0


def test_judges_no_few_no_texts_and_nothing_unknown() -> None:
    assert judge(SIGNATURE, **REPLAY | {"compared": MEMBERS_MIN - 1}) == 0.0
    assert judge(SIGNATURE, **REPLAY | {"kind": "subnet"}) == 0.0
    for name in ("between_upper", "bare_share", "shared_share"):
        assert judge(SIGNATURE, **REPLAY | {name: NAN}) == 0.0
