"""C9: what others were answered comes back in prompts."""

from detector.signatures.c9_outputs_return import PROMPTS_MIN, RETURNED_SHARE_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool

MANY = {"texts": 20 * PROMPTS_MIN, "returned": 20 * PROMPTS_MIN * (1 + RETURNED_SHARE_MIN) / 2}


def test_fires_on_a_judge_of_what_others_generated() -> None:
    assert judge(SIGNATURE, **MANY) == 1.0


def test_quiet_on_ordinary_prompts() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_on_a_quotation_now_and_then() -> None:
    assert judge(SIGNATURE, texts=200.0, returned=10.0) == -1.0


def test_quiet_on_a_vendor_whose_customers_all_review_answers() -> None:
    assert judge_pool(SIGNATURE, firing=14, judged=20, base=0.7) <= 0.1


def test_cannot_judge_on_a_few() -> None:
    assert judge(SIGNATURE, texts=PROMPTS_MIN - 1, returned=PROMPTS_MIN - 1) == 0.0
    assert judge(SIGNATURE, texts=NAN, returned=NAN) == 0.0


def test_evaded_by_rewriting_outputs_before_they_are_judged() -> None:
    assert judge(SIGNATURE, **MANY | {"returned": 0.0}) == -1.0
