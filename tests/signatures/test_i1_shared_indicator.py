"""I1: a link that others named."""

from detector.signatures.i1_shared_indicator import LOG_ODDS_MAX, ORDINARY_SHARE, SIGNATURE
from tests.signatures.builders import judge

FEW = {"accounts": 100.0, "population": 10_000.0}


def test_speaks_against_a_watched_pool() -> None:
    assert judge(SIGNATURE, kind="program", watched=1.0, **FEW) == LOG_ODDS_MAX


def test_quiet_on_a_pool_that_nobody_named() -> None:
    assert judge(SIGNATURE, kind="program", **FEW) == 0.0


def test_quiet_on_the_program_of_everybody_whoever_named_it() -> None:
    many = FEW["population"] * ORDINARY_SHARE
    assert judge(SIGNATURE, kind="ja4", watched=1.0, population=FEW["population"], accounts=many) == LOG_ODDS_MAX
    assert judge(SIGNATURE, kind="ja4", watched=1.0, population=FEW["population"], accounts=many + 1) == 0.0


def test_evaded_by_new_settings() -> None:
    assert judge(SIGNATURE, kind="program", watched=0.0, **FEW) == 0.0


def test_one_step_of_ten_and_no_cross_account_word() -> None:
    assert LOG_ODDS_MAX == 1.0
    assert not SIGNATURE.cross_account
    assert SIGNATURE.maturity == "alert"
