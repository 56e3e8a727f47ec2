"""C3: items dealt out once, evenly over the accounts."""

from typing import Any

from detector.signatures.c3_work_queue import (
    BETWEEN_MAX,
    BETWEEN_NONE,
    DISTINCT_SHARE_MIN,
    EVEN_SD,
    FEW_LEFT,
    FULL_SD,
    LOG_ODDS_MAX,
    MEMBERS_FEW,
    MEMBERS_FULL,
    MEMBERS_MIN,
    SIGNATURE,
    UNEVEN_SD,
)
from tests.signatures.builders import NAN, judge

TEXTS = 10_000.0
QUEUE: dict[str, Any] = {
    "rate_members": 15 * MEMBERS_MIN,
    "orgs_lower": 15 * MEMBERS_MIN,
    "rate_log_sd": FULL_SD / 2,
    "rate_noise": FULL_SD**2 / 4,
    "between_upper": 0.0,
    "program_share": 1.0,
    "texts": TEXTS,
    "prompts": TEXTS,
    "prompts_lower": 0.95 * TEXTS,
}


def test_fires_fully_on_a_dispatcher() -> None:
    assert judge(SIGNATURE, **QUEUE) == LOG_ODDS_MAX


def test_acquits_customers_whose_rates_differ_by_orders_of_magnitude() -> None:
    assert judge(SIGNATURE, **QUEUE | {"rate_log_sd": 2 * UNEVEN_SD}) < 0.0


def test_quiet_between_even_and_uneven() -> None:
    assert judge(SIGNATURE, **QUEUE | {"rate_log_sd": EVEN_SD}) == 0.0


def test_few_members_prove_neither_evenness_nor_its_absence() -> None:
    few, many = {"rate_members": MEMBERS_MIN}, {"rate_members": 1_000 * MEMBERS_MIN}
    even, uneven = {"rate_log_sd": 0.8 * EVEN_SD}, {"rate_log_sd": 1.2 * EVEN_SD}
    assert judge(SIGNATURE, **QUEUE | even | few) == 0.0 < judge(SIGNATURE, **QUEUE | even | many)
    assert judge(SIGNATURE, **QUEUE | uneven | few) == 0.0 > judge(SIGNATURE, **QUEUE | uneven | many)
    assert judge(SIGNATURE, **QUEUE | {"rate_members": MEMBERS_MIN - 1}) == 0.0


def test_quiet_on_a_sharded_job_of_one_payer() -> None:
    assert judge(SIGNATURE, **QUEUE | {"orgs_lower": 1}) == 0.0


def test_quiet_on_evaluators_who_all_run_the_same_items() -> None:
    assert judge(SIGNATURE, **QUEUE | {"prompts_lower": TEXTS / QUEUE["rate_members"]}) == 0.0


def test_quiet_where_conversations_are_dealt_out_which_makes_loads_even() -> None:
    assert judge(SIGNATURE, **QUEUE | {"taking_over": 1.0}) == 0.0
    assert judge(SIGNATURE, **QUEUE | {"taking_over": NAN}) == LOG_ODDS_MAX


def test_a_few_of_many_programs_count_half_and_a_crowd_or_one_program_in_full() -> None:
    few = QUEUE | {"rate_members": MEMBERS_FEW, "rate_log_sd": FULL_SD / 4, "rate_noise": 0.0}
    assert judge(SIGNATURE, **few | {"program_share": 0.1}) == FEW_LEFT * LOG_ODDS_MAX
    assert judge(SIGNATURE, **few | {"program_share": 1.0}) == LOG_ODDS_MAX
    assert judge(SIGNATURE, **few | {"program_share": 0.1, "rate_members": MEMBERS_FULL}) == LOG_ODDS_MAX
    fewer = few | {"rate_members": MEMBERS_FEW - 1}
    assert judge(SIGNATURE, **fewer | {"program_share": 0.1}) == 0.0, "whose tasks are whose is not measured"
    assert judge(SIGNATURE, **fewer | {"program_share": 1.0}) == LOG_ODDS_MAX


def test_quiet_on_builders_who_each_have_tasks_of_their_own() -> None:
    builders = QUEUE | {"program_share": 0.1, "between_upper": BETWEEN_NONE}
    assert judge(SIGNATURE, **builders) == 0.0
    assert judge(SIGNATURE, **builders | {"between_upper": BETWEEN_MAX}) == LOG_ODDS_MAX
    assert judge(SIGNATURE, **builders | {"between_upper": NAN}) == 0.0, "not known"
    assert judge(SIGNATURE, **builders | {"program_share": 1.0}) == LOG_ODDS_MAX


def test_evaded_by_skewed_dispatch() -> None:
    assert judge(SIGNATURE, **QUEUE | {"rate_log_sd": UNEVEN_SD}) <= 0.0


def test_evaded_by_repeating_items() -> None:
    assert judge(SIGNATURE, **QUEUE | {"prompts_lower": TEXTS * DISTINCT_SHARE_MIN / 2}) == 0.0


def test_speaks_of_texts_and_client_programs_only() -> None:
    assert judge(SIGNATURE, kind="subnet", **QUEUE) == 0.0
    assert judge(SIGNATURE, kind="program", **QUEUE) > 0.0


def test_abstains_where_rates_are_unknown() -> None:
    assert judge(SIGNATURE, **QUEUE | {"rate_log_sd": NAN}) == 0.0


def test_rates_known_too_badly_to_differ_are_not_even() -> None:
    # Few sessions each: the noise explains all of the spread, whatever the rates.
    noisy = {"rate_log_sd": 0.0, "rate_noise": 0.8, "rate_members": 2 * MEMBERS_MIN}
    assert judge(SIGNATURE, **QUEUE | noisy) < LOG_ODDS_MAX
    assert judge(SIGNATURE, **QUEUE | noisy | {"rate_members": MEMBERS_MIN}) < LOG_ODDS_MAX / 4
    assert judge(SIGNATURE, **QUEUE | noisy | {"rate_noise": 0.01, "program_share": 1.0}) == LOG_ODDS_MAX


def test_abstains_without_prompt_fingerprints() -> None:
    assert judge(SIGNATURE, **QUEUE | {"texts": 0, "prompts": 0, "prompts_lower": 0}) == 0.0
    assert "prompt_fp" in SIGNATURE.missing(frozenset({"template_fp"}))
