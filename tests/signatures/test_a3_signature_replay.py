"""A3: reasoning is presented that others were issued."""

from detector.signatures.a3_signature_replay import ECHOED_MIN, HANDED_SHARE_MIN, REQUESTS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool

MANY = {"echoed": 20 * ECHOED_MIN, "handed": 20 * ECHOED_MIN * (1 + HANDED_SHARE_MIN) / 2}


def test_fires_on_a_seat_that_continues_the_conversations_of_others() -> None:
    assert judge(SIGNATURE, **MANY) == 1.0


def test_quiet_on_own_conversations() -> None:
    assert judge(SIGNATURE) == -1.0


def test_quiet_on_a_customer_who_moved_to_a_new_organisation_in_mid_conversation() -> None:
    assert judge(SIGNATURE, echoed=200.0, handed=5.0) == -1.0


def test_quiet_where_half_of_the_population_moves() -> None:
    assert judge_pool(SIGNATURE, firing=14, judged=20, base=0.7) <= 0.1


def test_quiet_on_whoever_presents_no_signatures() -> None:
    assert judge(SIGNATURE, echoed=0.0, requests=REQUESTS_MIN) == -1.0
    assert judge(SIGNATURE, echoed=0.0, requests=REQUESTS_MIN - 1) == 0.0


def test_cannot_judge_on_a_few() -> None:
    assert judge(SIGNATURE, echoed=ECHOED_MIN - 1, handed=ECHOED_MIN - 1) == 0.0
    assert judge(SIGNATURE, echoed=NAN, handed=NAN) == 0.0


def test_evaded_by_sessions_pinned_to_a_seat() -> None:
    assert judge(SIGNATURE, **MANY | {"handed": 0.0}) == -1.0
