"""A2: most requests demand reasoning or training data."""

from detector.signatures.a2_elicitation import BASE_MULTIPLE_MIN, ELICITED_SHARE_MIN, SCORED_MIN, SIGNATURE
from tests.signatures.builders import judge, judge_pool

MANY = 20 * SCORED_MIN


def test_fires_when_nearly_every_request_demands_the_reasoning() -> None:
    assert judge(SIGNATURE, elicited=0.95 * MANY, elicitation_known=MANY) == 1.0


def test_fires_from_its_least_evidence_on() -> None:
    assert judge(SIGNATURE, elicited=SCORED_MIN, elicitation_known=SCORED_MIN) == 1.0
    assert judge(SIGNATURE, elicited=SCORED_MIN - 1, elicitation_known=SCORED_MIN - 1) == 0.0


def test_fires_where_one_of_four_fixed_texts_makes_the_demand() -> None:
    assert judge(SIGNATURE, elicited=MANY / 4, elicitation_known=MANY) == 1.0


def test_quiet_on_a_person_who_asks_for_steps_now_and_then() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_while_the_share_could_still_be_chance() -> None:
    # The same share accuses over many requests and not over few: the bound decides.
    share = 2.0 * ELICITED_SHARE_MIN
    assert judge(SIGNATURE, elicited=share * MANY, elicitation_known=MANY) == 1.0
    assert judge(SIGNATURE, elicited=share * SCORED_MIN, elicitation_known=SCORED_MIN) == -1.0


def test_quiet_on_a_tutor_where_everybody_asks_for_steps() -> None:
    base = 1.2 * ELICITED_SHARE_MIN / BASE_MULTIPLE_MIN
    share = 1.1 * ELICITED_SHARE_MIN
    asked = {"elicited": share * 1e6, "elicitation_known": 1e6}
    assert judge(SIGNATURE, **asked, elicited_base=0.0) == 1.0
    assert judge(SIGNATURE, **asked, elicited_base=base) == -1.0


def test_quiet_on_explainability_logs_of_one_regulated_organisation() -> None:
    assert judge(SIGNATURE, elicited=MANY, elicitation_known=MANY) == 1.0
    assert judge_pool(SIGNATURE, firing=1, judged=1, base=0.02) == 0.0


def test_a_population_that_elicits_much_cannot_blind_it() -> None:
    assert judge(SIGNATURE, elicited=MANY, elicitation_known=MANY, elicited_base=0.9) == 1.0


def test_evaded_by_plain_harvesting_and_trace_inversion() -> None:
    assert judge(SIGNATURE, elicited=0, elicitation_known=MANY) == -1.0


def test_cannot_judge_where_the_gateway_scores_nothing() -> None:
    assert judge(SIGNATURE, elicited=0, elicitation_known=0) == 0.0
