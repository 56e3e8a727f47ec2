"""A1: a few templates fill the account, its items are new each time."""

from typing import Any

from detector.signatures.a1_template_dominance import (
    DISTINCT_SHARE_MIN,
    REQUESTS_MIN,
    SIGNATURE,
    TEMPLATES_SHARE_MIN,
)
from tests.signatures.builders import judge, judge_pool

PIPELINE: dict[str, Any] = {
    "requests": 10 * REQUESTS_MIN,
    "texts": 10 * REQUESTS_MIN,
    "template_share_lower": (1 + TEMPLATES_SHARE_MIN) / 2,
    "prompts_distinct_lower": 10 * REQUESTS_MIN * (1 + DISTINCT_SHARE_MIN) / 2,
}


def test_fires_on_a_pipeline_of_one_skeleton_over_new_items() -> None:
    assert judge(SIGNATURE, **PIPELINE) == 1.0


def test_fires_from_its_least_evidence_on() -> None:
    least = {"requests": REQUESTS_MIN, "texts": REQUESTS_MIN, "prompts_distinct_lower": REQUESTS_MIN}
    assert judge(SIGNATURE, **PIPELINE | least) == 1.0
    assert judge(SIGNATURE, **PIPELINE | least | {"requests": REQUESTS_MIN - 1}) == 0.0


def test_quiet_on_a_person_who_mixes_tasks() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_on_a_nightly_evaluation_that_repeats_its_items() -> None:
    repeated = PIPELINE["texts"] * DISTINCT_SHARE_MIN / 2
    assert judge(SIGNATURE, **PIPELINE | {"prompts_distinct_lower": repeated}) == -1.0


def test_quiet_on_a_rag_service_of_one_organisation() -> None:
    # The account looks the same; its pool has one organisation, and one is no pool.
    assert judge(SIGNATURE, **PIPELINE) == 1.0
    assert judge_pool(SIGNATURE, firing=1, judged=1, base=0.05) == 0.0


def test_evaded_by_a_paraphrase_per_request() -> None:
    assert judge(SIGNATURE, **PIPELINE | {"template_share_lower": 1 / REQUESTS_MIN}) == -1.0


def test_evaded_by_enough_cover_traffic() -> None:
    assert judge(SIGNATURE, **PIPELINE | {"template_share_lower": 0.9 * TEMPLATES_SHARE_MIN}) == -1.0


def test_cannot_judge_an_account_whose_exact_prompts_are_unknown() -> None:
    assert judge(SIGNATURE, **PIPELINE | {"texts": 0, "prompts_distinct_lower": 0}) == 0.0
    # One known prompt among many is no ever new item.
    assert judge(SIGNATURE, **PIPELINE | {"texts": 1, "prompts_distinct_lower": 1}) == 0.0
