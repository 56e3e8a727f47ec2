"""A7: the accounts of a pool keep a machine's pace."""

from typing import Any

from detector.signatures.a7_machine_pace import (
    GAPS_MIN,
    HUMAN_AGAINST,
    HUMAN_SD,
    ORGS_MIN,
    PROGRAM_SHARE_FULL,
    PROGRAM_SHARE_MIN,
    REGULAR_ODDS,
    REGULAR_SD,
    SIGNATURE,
    STEADY_ODDS,
    STEADY_SD,
    UNEVEN_SD,
    USUAL_SD,
)
from tests.signatures.builders import NAN, judge

MACHINE: dict[str, Any] = {
    "run_gaps": 100 * GAPS_MIN,
    "run_log_sd": STEADY_SD / 2,
    "orgs_lower": 4 * ORGS_MIN,
    "rate_members": 40.0,
    "rate_log_sd": 0.3,
    "program_share": PROGRAM_SHARE_FULL,
}


def test_fires_fully_on_workers_that_take_the_next_item_when_the_last_is_done() -> None:
    assert judge(SIGNATURE, **MACHINE) == STEADY_ODDS


def test_the_evidence_is_that_of_the_measured_clients() -> None:
    regular = judge(SIGNATURE, **MACHINE | {"run_log_sd": REGULAR_SD, "run_gaps": 1e9})
    assert abs(regular - REGULAR_ODDS) < 1e-3
    assert judge(SIGNATURE, **MACHINE | {"run_log_sd": USUAL_SD, "run_gaps": 1e9}) < 1e-3


def test_quiet_on_a_pace_like_that_of_half_the_clients() -> None:
    assert judge(SIGNATURE, **MACHINE | {"run_log_sd": USUAL_SD}) == 0.0


def test_acquits_people_who_read_and_think() -> None:
    assert judge(SIGNATURE, **MACHINE | {"run_log_sd": 2 * HUMAN_SD}) == -HUMAN_AGAINST


def test_quiet_on_an_application_whose_customers_differ_by_orders_of_magnitude() -> None:
    assert judge(SIGNATURE, **MACHINE | {"rate_log_sd": 2 * UNEVEN_SD}) == 0.0


def test_quiet_on_builders_who_run_a_published_pipeline_each_with_settings_of_his_own() -> None:
    assert judge(SIGNATURE, **MACHINE | {"program_share": PROGRAM_SHARE_MIN}) == 0.0


def test_a_log_without_client_settings_counts_as_half_of_one_program() -> None:
    blind = judge(SIGNATURE, **MACHINE | {"programmed": 0.0, "program_share": NAN})
    assert abs(blind - STEADY_ODDS / 2) < 1e-6


def test_few_gaps_prove_neither_pace() -> None:
    few = {"run_gaps": GAPS_MIN, "run_log_sd": 0.9 * USUAL_SD}
    assert judge(SIGNATURE, **MACHINE | few) == 0.0 < judge(SIGNATURE, **MACHINE | few | {"run_gaps": 1e6})
    assert judge(SIGNATURE, **MACHINE | {"run_gaps": GAPS_MIN - 1}) == 0.0
    assert judge(SIGNATURE, **MACHINE | {"orgs_lower": ORGS_MIN - 1}) == 0.0


def test_evaded_by_gaps_drawn_at_random() -> None:
    # ln of an exponential gap has the spread pi / sqrt(6).
    assert judge(SIGNATURE, **MACHINE | {"run_log_sd": 1.28}) <= 0.0


def test_speaks_of_texts_only_and_abstains_where_gaps_are_unknown() -> None:
    assert judge(SIGNATURE, kind="subnet", **MACHINE) == 0.0
    assert judge(SIGNATURE, **MACHINE | {"run_log_sd": NAN}) == 0.0
