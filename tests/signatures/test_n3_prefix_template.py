"""N3: the organisations of one prefix run one template."""

from typing import Any

from detector.signatures.n3_prefix_template import COLLISION_FULL, COLLISION_MIN, LOG_ODDS_MAX, ORGS_MIN, SIGNATURE
from tests.signatures.builders import NAN, judge

FARM: dict[str, Any] = {
    "kind": "subnet",
    "orgs_lower": 5 * ORGS_MIN,
    "units": 5 * ORGS_MIN,
    "template_collision": 1.0,
}


def test_fires_fully_on_a_subnet_farm() -> None:
    assert judge(SIGNATURE, **FARM) == LOG_ODDS_MAX


def test_grows_with_the_chance_that_two_agree() -> None:
    middle = (COLLISION_MIN + COLLISION_FULL) / 2
    assert 0.0 < judge(SIGNATURE, **FARM | {"template_collision": middle}) < LOG_ODDS_MAX


def test_quiet_on_a_carriers_prefix_with_many_texts() -> None:
    assert judge(SIGNATURE, **FARM | {"template_collision": COLLISION_MIN / 3}) == 0.0


def test_quiet_on_one_firm_behind_one_address() -> None:
    assert judge(SIGNATURE, **FARM | {"orgs_lower": 1}) == 0.0
    assert judge(SIGNATURE, **FARM | {"orgs_lower": ORGS_MIN - 1}) == 0.0


def test_speaks_of_prefixes_only() -> None:
    assert judge(SIGNATURE, **FARM | {"kind": "template_fp"}) == 0.0


def test_evaded_by_a_proxy_that_mixes_unrelated_customers_in() -> None:
    # A quarter of the prefix is the pool: two of its accounts meet in one of sixteen draws.
    assert judge(SIGNATURE, **FARM | {"template_collision": 0.25**2}) == 0.0


def test_quiet_where_no_member_has_a_template() -> None:
    assert judge(SIGNATURE, **FARM | {"template_collision": NAN}) == 0.0


def test_a_few_that_agree_weigh_less_than_many() -> None:
    few = judge(SIGNATURE, **FARM | {"units": ORGS_MIN})
    assert 0.0 < few < LOG_ODDS_MAX
    assert judge(SIGNATURE, **FARM | {"units": ORGS_MIN, "template_collision": COLLISION_MIN}) == 0.0
