"""A15: one account carries the system prompts of many."""

from detector.signatures.a15_many_systems import REQUESTS_MIN, SIGNATURE, SYSTEMS_MIN
from tests.signatures.builders import judge, judge_pool

SEAT = {"requests": 5 * REQUESTS_MIN, "systems": 3 * SYSTEMS_MIN}


def test_fires_on_a_seat_that_strangers_share() -> None:
    assert judge(SIGNATURE, **SEAT) == 1.0


def test_quiet_on_a_person_and_on_one_product() -> None:
    assert judge(SIGNATURE) == -1.0
    assert judge(SIGNATURE, **SEAT | {"systems": SYSTEMS_MIN - 1}) == -1.0


def test_quiet_where_everybody_sits_behind_a_gateway() -> None:
    assert judge_pool(SIGNATURE, firing=18, judged=20, base=0.9) <= 0.1


def test_cannot_judge_on_a_few() -> None:
    assert judge(SIGNATURE, **SEAT | {"requests": REQUESTS_MIN - 1}) == 0.0


def test_evaded_by_one_system_prompt_in_front_of_all_users() -> None:
    assert judge(SIGNATURE, **SEAT | {"systems": 1.0}) == -1.0
