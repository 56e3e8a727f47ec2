"""P2: organisations that signed up more alike than the population did."""

from detector.signatures.p2_alike_registrations import SIGMAS, SIGNATURE, UNITS_MIN
from tests.signatures.builders import NAN, judge

# Half of the accounts with the few throw-away domains that one in sixteen has elsewhere.
BATCH = {"mailed": 10 * UNITS_MIN, "mail_alike": 0.45, "mail_error": 0.07}


def test_fires_fully_on_a_pool_signed_up_in_bulk() -> None:
    assert judge(SIGNATURE, **BATCH) > 0.7 * SIGNATURE.log_odds_max
    assert judge(SIGNATURE, **BATCH | {"mail_alike": 1.0}) == SIGNATURE.log_odds_max


def test_fires_on_a_program_pool_as_well() -> None:
    assert judge(SIGNATURE, kind="program", **BATCH) > 0.0


def test_quiet_on_customers_with_ordinary_addresses() -> None:
    assert judge(SIGNATURE) == 0.0


def test_quiet_on_a_launch_whose_people_use_throw_away_mail_more_often() -> None:
    assert judge(SIGNATURE, **BATCH | {"mail_alike": 0.13}) == 0.0


def test_counts_by_the_lower_bound_only() -> None:
    few = BATCH | {"mailed": UNITS_MIN, "mail_alike": 0.6, "mail_error": 0.6 / SIGMAS}
    assert judge(SIGNATURE, **few) == 0.0
    assert judge(SIGNATURE, **BATCH | {"mailed": UNITS_MIN - 1}) == 0.0


def test_quiet_without_mail_domains() -> None:
    assert judge(SIGNATURE, **BATCH | {"mailed": 0.0, "mail_alike": NAN, "mail_error": NAN}) == 0.0


def test_evaded_by_addresses_at_the_large_providers() -> None:
    assert judge(SIGNATURE, **BATCH | {"mail_alike": -0.1}) == 0.0


def test_speaks_of_texts_and_programs_only() -> None:
    assert judge(SIGNATURE, kind="signup_email_domain_fp", **BATCH) == 0.0
