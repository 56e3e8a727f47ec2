"""P1: many unrelated accounts behind one payment, device or sign-up address."""

from typing import Any

import pytest

from detector.signatures.p1_shared_payment import (
    LOG_ODDS_MAX,
    ORGS_FULL,
    ORGS_MIN,
    PER_PAYMENT_FULL,
    PER_PAYMENT_MIN,
    SIGNATURE,
)
from tests.signatures.builders import judge

CROWD: dict[str, Any] = {"orgs": 3 * ORGS_FULL, "orgs_lower": 2 * ORGS_FULL, "units": 1e6, "paying": 1e6}


@pytest.mark.parametrize("kind", ["payment_fp", "device_fp", "signup_ip_fp"])
def test_fires_fully_on_a_crowd_behind_one_identity(kind: str) -> None:
    assert judge(SIGNATURE, kind=kind, **CROWD) == LOG_ODDS_MAX


def test_fires_on_a_text_pool_that_reuses_its_payments() -> None:
    reused = {"payments_upper": CROWD["orgs_lower"] / (2 * PER_PAYMENT_FULL)}
    assert judge(SIGNATURE, kind="template_fp", **CROWD, **reused) == LOG_ODDS_MAX


def test_quiet_on_customers_who_pay_for_themselves() -> None:
    assert judge(SIGNATURE) == 0.0


def test_quiet_on_a_family_or_a_small_agency_with_one_card() -> None:
    assert judge(SIGNATURE, kind="payment_fp", orgs=4, orgs_lower=4) == 0.0
    assert judge(SIGNATURE, kind="payment_fp", orgs=ORGS_MIN, orgs_lower=ORGS_MIN - 1) == 0.0


def test_quiet_on_a_crowd_behind_what_identifies_nobody() -> None:
    # A prefix, a client fingerprint, a mail domain: thousands share them honestly.
    for kind in ("subnet", "ja4", "signup_email_domain_fp", "program", "org"):
        assert judge(SIGNATURE, kind=kind, **CROWD, payments_upper=1) == 0.0


def test_evaded_by_a_virtual_card_for_each_account() -> None:
    assert judge(SIGNATURE, kind="payment_fp", orgs=1, orgs_lower=1) == 0.0
    one_each = {"payments_upper": CROWD["orgs_lower"]}
    assert judge(SIGNATURE, kind="template_fp", **CROWD, **one_each) == 0.0


def test_the_uncertain_count_of_organisations_never_accuses() -> None:
    some = 1.1 * ORGS_MIN
    payments = 2 * some / (PER_PAYMENT_MIN + PER_PAYMENT_FULL)
    least = {"orgs_lower": some, "payments_upper": payments, "units": 1e9, "paying": 1e9}
    for kind in ("payment_fp", "template_fp"):
        weight = judge(SIGNATURE, kind=kind, orgs=ORGS_MIN, **least)
        assert 0.0 < weight < LOG_ODDS_MAX
        assert judge(SIGNATURE, kind=kind, orgs=1e6, **least) == weight
        assert judge(SIGNATURE, kind=kind, orgs=1e6, **least | {"orgs_lower": ORGS_MIN - 1}) == 0.0


def test_the_uncertain_count_of_payments_never_accuses() -> None:
    few, many = CROWD["orgs_lower"] / (2 * PER_PAYMENT_MIN), 2 * CROWD["orgs_lower"] / PER_PAYMENT_MIN
    assert judge(SIGNATURE, **CROWD, payments_upper=few) > 0.0
    assert judge(SIGNATURE, **CROWD, payments_upper=many) == 0.0


def test_quiet_where_no_payment_is_known() -> None:
    assert judge(SIGNATURE, kind="template_fp", **CROWD, payments_upper=0) == 0.0


def test_quiet_on_one_firm_with_many_accounts_on_its_card() -> None:
    firm = {"accounts": 500, "orgs": 1, "orgs_lower": 1, "payments_upper": 1}
    for kind in ("payment_fp", "template_fp"):
        assert judge(SIGNATURE, kind=kind, **firm) == 0.0


def test_quiet_on_free_accounts_beside_a_few_that_pay() -> None:
    # Eighty organisations, four cards: but four pay, and each has its own.
    pays = {"payments_upper": 4, "units": 80, "paying": 4}
    assert judge(SIGNATURE, kind="template_fp", **CROWD | pays) == 0.0
    assert judge(SIGNATURE, kind="template_fp", **CROWD | pays | {"paying": 80}) == LOG_ODDS_MAX
