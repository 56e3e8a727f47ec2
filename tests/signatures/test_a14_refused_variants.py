"""A14: most requests are refused, each time with another text."""

from detector.signatures.a14_refused_variants import DISTINCT_SHARE_MIN, REFUSED_SHARE_MIN, REQUESTS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool

MANY = {
    "requests": 10 * REQUESTS_MIN,
    "refused": 7 * REQUESTS_MIN,
    "texts": 10 * REQUESTS_MIN,
    "prompts_distinct_lower": 9 * REQUESTS_MIN,
}


def test_fires_on_a_search_for_what_gets_through() -> None:
    assert judge(SIGNATURE, **MANY) == 1.0


def test_quiet_on_ordinary_requests() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_on_one_text_that_is_refused_again_and_again() -> None:
    assert judge(SIGNATURE, **MANY | {"prompts_distinct_lower": 10 * REQUESTS_MIN * DISTINCT_SHARE_MIN / 2}) == -1.0


def test_quiet_on_an_author_of_crime_fiction() -> None:
    assert judge(SIGNATURE, **MANY | {"refused": 10 * REQUESTS_MIN * REFUSED_SHARE_MIN / 2}) == -1.0


def test_quiet_on_a_red_team_among_the_customers_of_a_program() -> None:
    assert judge_pool(SIGNATURE, firing=1, judged=20, base=0.02) == 0.0


def test_cannot_judge_on_a_few_or_without_texts() -> None:
    assert judge(SIGNATURE, **MANY | {"requests": REQUESTS_MIN - 1, "refused": REQUESTS_MIN - 1}) == 0.0
    assert judge(SIGNATURE, **MANY | {"texts": 0.0}) == 0.0
    assert judge(SIGNATURE, **MANY | {"prompts_distinct_lower": NAN}) == -1.0


def test_evaded_by_spreading_the_variants_over_ordinary_use() -> None:
    assert judge(SIGNATURE, **MANY | {"refused": REQUESTS_MIN}) == -1.0
