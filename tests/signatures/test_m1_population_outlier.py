"""M1: the population model finds an account unlike the rest."""

from detector.signatures.m1_population_outlier import SCORE_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge, judge_pool


def test_fires_on_an_account_unlike_the_rest() -> None:
    assert judge(SIGNATURE, model_score=(1 + SCORE_MIN) / 2) == 1.0


def test_quiet_on_an_ordinary_account() -> None:
    assert judge(SIGNATURE) == -1.0


def test_abstains_where_the_model_has_not_scored() -> None:
    assert judge(SIGNATURE, model_score=NAN) == 0.0


def test_quiet_on_a_rare_but_honest_workload() -> None:
    # One translator of ancient laws is an outlier; alone it is no pool, among others it is one of many.
    assert judge(SIGNATURE, model_score=1.0) == 1.0
    assert judge_pool(SIGNATURE, firing=1, judged=1, base=0.1) == 0.0
    assert judge_pool(SIGNATURE, firing=1, judged=20, base=0.1) == 0.0


def test_never_carries_a_verdict() -> None:
    assert not SIGNATURE.cross_account
    assert judge_pool(SIGNATURE, firing=100, judged=100, base=0.0) <= SIGNATURE.log_odds_max


def test_evaded_by_attackers_who_are_the_majority() -> None:
    # What most accounts do is what the model learns: the base rate swallows the pool.
    assert judge(SIGNATURE, model_score=0.5) == -1.0
    assert judge_pool(SIGNATURE, firing=10, judged=20, base=0.5) <= 0.0
