"""N7: conversations change networks as they change hands."""

from detector.signatures.n7_handed_afar import AFAR_SHARE_MIN, HANDED_MIN, REQUESTS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool

SEAT = {"echoed": 40 * HANDED_MIN, "handed": 20 * HANDED_MIN, "afar": 20 * HANDED_MIN * (1 + AFAR_SHARE_MIN) / 2}


def test_fires_on_a_seat_with_a_network_of_its_own() -> None:
    assert judge(SIGNATURE, **SEAT) == 1.0


def test_quiet_on_whoever_takes_over_nothing() -> None:
    assert judge(SIGNATURE) == -1.0
    assert judge(SIGNATURE, handed=0.0, afar=0.0, requests=REQUESTS_MIN - 1) == 0.0


def test_quiet_on_one_customer_with_several_organisations_behind_one_gateway() -> None:
    assert judge(SIGNATURE, **SEAT | {"afar": 0.0}) == -1.0


def test_quiet_where_half_of_the_population_does_so() -> None:
    assert judge_pool(SIGNATURE, firing=14, judged=20, base=0.7) <= 0.1


def test_cannot_judge_on_a_few() -> None:
    assert judge(SIGNATURE, echoed=HANDED_MIN, handed=HANDED_MIN - 1, afar=HANDED_MIN - 1) == 0.0
    assert judge(SIGNATURE, echoed=NAN, handed=NAN, afar=NAN) == 0.0


def test_evaded_by_one_egress_for_all_seats() -> None:
    assert judge(SIGNATURE, **SEAT | {"afar": 1.0}) == -1.0
