"""T5: customers of one program take far more out than they put in."""

from typing import Any

from detector.signatures.t5_taken_out import (
    BLIND_COST,
    LOG_ODDS_MAX,
    ORGS_MIN,
    SIGNATURE,
    SINGLE_FULL,
    SINGLE_MIN,
    TAKING_FULL,
    TAKING_MIN,
)
from tests.signatures.builders import NAN, judge

REPLAY: dict[str, Any] = {"kind": "program", "taking": 78.0, "taking_known": 80.0, "single_share": 1.0}


def test_fires_fully_where_nearly_all_members_take_more_than_three_of_four_innocents() -> None:
    assert judge(SIGNATURE, **REPLAY) == LOG_ODDS_MAX


def test_quiet_on_a_program_of_strangers() -> None:
    assert judge(SIGNATURE, **REPLAY | {"taking": 20.0}) == 0.0


def test_it_is_the_lower_bound_that_accuses() -> None:
    share = (TAKING_MIN + TAKING_FULL) / 2
    many = judge(SIGNATURE, **REPLAY | {"taking": 1_000 * share, "taking_known": 1_000.0})
    few = judge(SIGNATURE, **REPLAY | {"taking": 10 * share, "taking_known": 10.0})
    assert few == 0.0 < many < LOG_ODDS_MAX
    assert judge(SIGNATURE, **REPLAY | {"taking": ORGS_MIN - 1, "taking_known": ORGS_MIN - 1}) == 0.0


def test_quiet_on_a_chat_application_whose_conversations_go_on() -> None:
    assert judge(SIGNATURE, **REPLAY | {"single_share": 0.6}) == 0.0
    assert 0.0 < judge(SIGNATURE, **REPLAY | {"single_share": (SINGLE_MIN + SINGLE_FULL) / 2}) < LOG_ODDS_MAX


def test_unknown_turns_cost_a_part() -> None:
    assert judge(SIGNATURE, **REPLAY | {"single_share": NAN}) == LOG_ODDS_MAX - BLIND_COST


def test_evaded_by_asking_for_brevity() -> None:
    assert judge(SIGNATURE, **REPLAY | {"taking": 8.0}) == 0.0


def test_speaks_of_programs_only() -> None:
    assert judge(SIGNATURE, **REPLAY | {"kind": "template_fp"}) == 0.0
    assert judge(SIGNATURE, **REPLAY | {"taking": 0.0, "taking_known": 0.0}) == 0.0
