"""The letter's pool at test size, on texts that nothing was tuned on: found, and nobody else touched.

A hundred accounts with sixty requests a day each for three days, over thousands of innocent accounts, twins of every
indicator among them.
`python -m tests.bench.bench_detection` prints the same for many seeds.
"""

from tests.golden.worlds import scores

SEED = 21
LEAK_MAX = 0.1


def test_the_letters_pool_is_found_and_no_innocent_contained() -> None:
    found = scores("templated", seed=SEED, part="validation", accounts=1_000)
    assert found["benign"]["accounts"] >= 1_000
    assert (found["campaigns_found"], found["campaigns_false"]) == (1, 0)
    assert found["leak"] <= LEAK_MAX
    assert found["member_precision"] == 1.0
    assert found["collateral_ppm"] == 0.0


def test_the_same_traffic_without_it_raises_no_campaign_alert() -> None:
    alone = scores("benign", seed=SEED, part="validation", accounts=1_000)
    assert alone["benign"]["accounts"] >= 1_000
    assert alone["campaign_alerts"] == 0
    assert alone["collateral_ppm"] == 0.0
