"""A6: outputs are long against the population, or end at the cap."""

from detector.signatures.a6_long_outputs import CAPPED_SHARE_MIN, REQUESTS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool


def test_fires_when_the_mean_answer_lies_in_the_populations_tail() -> None:
    assert judge(SIGNATURE, output_log_mean=11.0, output_log_tail=10.0) == 1.0


def test_fires_when_most_answers_end_at_the_cap() -> None:
    assert judge(SIGNATURE, capped_share=(1 + CAPPED_SHARE_MIN) / 2) == 1.0


def test_quiet_on_ordinary_answers() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_before_an_account_has_said_enough() -> None:
    assert judge(SIGNATURE, requests=REQUESTS_MIN - 1, output_log_mean=11.0, output_log_tail=10.0) == 0.0


def test_quiet_on_a_reasoning_model_where_everybodys_answers_are_long() -> None:
    # The limit is the population's own tail, so a long-winded model moves it for all.
    assert judge(SIGNATURE, output_log_mean=11.0, output_log_tail=12.0) == -1.0


def test_quiet_on_a_report_writer_among_short_customers_of_one_application() -> None:
    # One in twenty fires, as in the population: the pool is ordinary.
    assert judge(SIGNATURE, output_log_mean=11.0, output_log_tail=10.0) == 1.0
    assert judge_pool(SIGNATURE, firing=1, judged=20, base=0.05) == 0.0


def test_evaded_by_asking_for_short_labels() -> None:
    assert judge(SIGNATURE, output_log_mean=1.0, capped_share=0.0) == -1.0


def test_an_unknown_finish_reason_is_no_cap() -> None:
    assert judge(SIGNATURE, capped_share=NAN) == -1.0
    assert judge(SIGNATURE, capped_share=NAN, output_log_mean=11.0, output_log_tail=10.0) == 1.0


def test_an_answer_or_two_at_the_cap_are_no_habit() -> None:
    # Of a hundred answers two have a known end: both at the cap, which could still be chance.
    assert judge(SIGNATURE, capped_share=1.0, finish_known=2) == -1.0
    assert judge(SIGNATURE, capped_share=1.0, finish_known=REQUESTS_MIN) == 1.0
