"""A12: answers of one token, with their probabilities."""

from detector.signatures.a12_logit_probe import PROBED_SHARE_MIN, REQUESTS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool

MANY = {"requests": 10 * REQUESTS_MIN, "logprobs": 9 * REQUESTS_MIN, "tiny": 9 * REQUESTS_MIN}


def test_fires_on_a_probe() -> None:
    assert judge(SIGNATURE, **MANY) == 1.0


def test_quiet_on_ordinary_requests() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_on_a_classifier_that_wants_no_probabilities() -> None:
    assert judge(SIGNATURE, **MANY | {"logprobs": 0.0}) == -1.0


def test_quiet_on_confidence_scores_of_whole_answers() -> None:
    assert judge(SIGNATURE, **MANY | {"tiny": 0.0}) == -1.0


def test_quiet_on_one_laboratory_among_the_customers_of_a_program() -> None:
    assert judge_pool(SIGNATURE, firing=1, judged=20, base=0.02) == 0.0


def test_the_share_counts_by_its_lower_bound() -> None:
    just = PROBED_SHARE_MIN * REQUESTS_MIN + 1
    assert judge(SIGNATURE, requests=REQUESTS_MIN, logprobs=just, tiny=just) == -1.0


def test_cannot_judge_on_a_few() -> None:
    assert judge(SIGNATURE, requests=REQUESTS_MIN - 1, logprobs=REQUESTS_MIN - 1, tiny=REQUESTS_MIN - 1) == 0.0
    assert judge(SIGNATURE, **MANY | {"logprobs": NAN}) == -1.0


def test_evaded_among_answers_of_ordinary_length() -> None:
    assert judge(SIGNATURE, **MANY | {"tiny": 2 * REQUESTS_MIN}) == -1.0
