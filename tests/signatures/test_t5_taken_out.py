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
    TALK_COST,
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


def test_quiet_on_a_chat_application() -> None:
    # The nearest innocents take nearly as much: sixty of a hundred lie beyond three of four others.
    assert judge(SIGNATURE, **REPLAY | {"taking": 60.0, "taking_known": 100.0, "single_share": 0.4}) == 0.0


def test_conversations_cost_a_part() -> None:
    talking = judge(SIGNATURE, **REPLAY | {"single_share": 0.3})
    assert talking == round(LOG_ODDS_MAX - TALK_COST, 6)
    assert talking < judge(SIGNATURE, **REPLAY | {"single_share": (SINGLE_MIN + SINGLE_FULL) / 2}) < LOG_ODDS_MAX


def test_unknown_turns_cost_a_part() -> None:
    assert judge(SIGNATURE, **REPLAY | {"single_share": NAN}) == round(LOG_ODDS_MAX - BLIND_COST, 6)


def test_evaded_by_asking_for_brevity() -> None:
    assert judge(SIGNATURE, **REPLAY | {"taking": 8.0}) == 0.0


def test_speaks_of_programs_and_texts() -> None:
    assert judge(SIGNATURE, **REPLAY | {"kind": "payment_fp"}) == 0.0
    assert judge(SIGNATURE, **REPLAY | {"taking": 0.0, "taking_known": 0.0}) == 0.0
