"""T1: prompts in the tail of innocents with as many requests, together with the other two parts."""

from detector.signatures.t1_uniform_prompts import SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool


def test_fires_where_all_three_parts_lie_out() -> None:
    assert judge(SIGNATURE, conjunction=1.0, sent_rank=0.05) == 1.0


def test_quiet_on_an_ordinary_account() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_where_only_this_part_lies_out() -> None:
    assert judge(SIGNATURE, sent_rank=0.01) == -1.0


def test_cannot_judge_without_innocents_of_like_volume() -> None:
    assert judge(SIGNATURE, conjunction=NAN, sent_rank=NAN) == 0.0


def test_quiet_on_a_program_of_which_an_eighth_of_the_customers_fires() -> None:
    # An application for drafting texts: some of its customers work as a replay does.
    assert judge_pool(SIGNATURE, firing=5, judged=40, base=0.03) < 0.1


def test_the_three_together_never_count_a_finding_more_than_once() -> None:
    alone = judge_pool(SIGNATURE, firing=12, judged=20, base=0.03)
    assert 0.0 < SIGNATURE.spans * alone < 8 * 3.6  # eight strangers at ln(0.5 / 0.02) each, and less


def test_evaded_by_sessions_that_imitate_people() -> None:
    assert judge(SIGNATURE, conjunction=0.0, sent_rank=0.6) == -1.0
