"""Verdict: what counts, what is only shown, and what may contain."""

from typing import Any

import msgspec
import pytest

from detector import discovery
from detector.config import Settings, VerdictSettings
from detector.records import Fact
from detector.signatures.contract import Signature, pooled
from detector.signatures.registry import BY_ID
from detector.verdict import Judged, weigh
from tests.signatures.builders import link_view

SETTINGS = VerdictSettings()
FACTS = {"share": Fact(value=0.5, unit="share")}


def item(sid: str, log_odds: float, maturity: str = "enforce") -> tuple[Signature, float, dict[str, Fact]]:
    changed: Any = {"maturity": maturity}
    return msgspec.structs.replace(BY_ID[sid], **changed), log_odds, FACTS


def judged(*items: tuple[Signature, float, dict[str, Fact]]) -> Judged:
    return weigh(list(items), SETTINGS)


CONTENT = ("c1_shared_template", 5.0)
TIMING = ("c3_work_queue", 3.5)
LIFECYCLE = ("c10_short_lived", 3.0)
NETWORK = ("n3_prefix_template", 2.5)
BEHAVIOUR = ("a2_elicitation", 3.0)


def counted(result: Judged) -> set[str]:
    return {e.signature for e in result.evidence if e.counted}


def test_the_best_of_each_family_counts_and_adds_up_again() -> None:
    result = judged(item(*CONTENT), item("a1_template_dominance", 1.5), item(*TIMING), item(*LIFECYCLE))
    assert result.verdict.log_odds == pytest.approx(-8.0 + 5.0 + 3.5 + 3.0)
    assert counted(result) == {CONTENT[0], TIMING[0], LIFECYCLE[0]}
    assert result.verdict.log_odds == round(
        result.verdict.prior + sum(e.log_odds for e in result.evidence if e.counted), 6
    )
    assert (result.families, result.cross_account, result.accuses, result.contains) == (3, True, True, True)


def test_what_speaks_for_a_pool_counts_where_nothing_in_its_family_speaks_against() -> None:
    result = judged(item(*CONTENT), item(*TIMING), item(*BEHAVIOUR), item("c10_short_lived", -1.0))
    assert result.verdict.log_odds == pytest.approx(-8.0 + 5.0 + 3.5 + 3.0 - 1.0)
    assert result.families == 3
    both = judged(item(*CONTENT), item("a1_template_dominance", -0.5))
    assert counted(both) == {CONTENT[0]}


def test_a_family_counts_no_more_than_its_cap() -> None:
    assert judged(item("c1_shared_template", 50.0)).verdict.log_odds == SETTINGS.prior + SETTINGS.family_cap


@pytest.mark.parametrize("log_odds", [3.5, -2.0])
def test_a_shadow_signature_is_shown_and_never_counted(log_odds: float) -> None:
    without = judged(item(*CONTENT), item(*LIFECYCLE), item(*BEHAVIOUR))
    shadowed = judged(item(*CONTENT), item("c3_work_queue", log_odds, "shadow"), item(*LIFECYCLE), item(*BEHAVIOUR))
    assert shadowed.verdict == without.verdict
    assert shadowed[2:] == without[2:]
    shown = next(e for e in shadowed.evidence if e.signature == "c3_work_queue")
    assert (shown.counted, shown.log_odds) == (False, log_odds)


def test_a_shadow_signature_hides_no_other_of_its_family() -> None:
    result = judged(item("c1_shared_template", 5.0, "shadow"), item("a1_template_dominance", 1.5))
    assert counted(result) == {"a1_template_dominance"}


def test_an_alert_signature_raises_an_alert_and_does_not_contain() -> None:
    # The threshold is reached only with it.
    threshold = judged(
        item(*CONTENT), item(*LIFECYCLE), item("a2_elicitation", 1.5), item("c3_work_queue", 3.5, "alert")
    )
    assert threshold.accuses
    assert not threshold.contains
    # Three families are reached only with it.
    families = judged(item(*CONTENT), item(*TIMING), item("n3_prefix_template", 2.5, "alert"))
    assert families.accuses
    assert families.families == 3
    assert not families.contains
    # The cross-account item is the one.
    cross = judged(
        item("c1_shared_template", 5.0, "alert"),
        item("a1_template_dominance", 5.0),
        item("a9_instant_maximum", 5.0),
        item("a2_elicitation", 5.0),
    )
    assert cross.cross_account
    assert not cross.contains


def test_an_alert_signature_beside_enough_others_takes_nothing_away() -> None:
    result = judged(item(*CONTENT), item(*TIMING), item(*LIFECYCLE), item("n3_prefix_template", 2.5, "alert"))
    assert result.contains
    # It may outweigh an enforcing one of its family, which then stands in for it.
    stronger = judged(
        item(*CONTENT), item(*LIFECYCLE), item(*BEHAVIOUR), item("a9_instant_maximum", 3.6, "alert"), item(*TIMING)
    )
    assert "a9_instant_maximum" in counted(stronger)
    assert stronger.contains


def test_what_an_alert_signature_says_for_a_pool_holds_back_containment() -> None:
    enough = (item(*CONTENT), item(*LIFECYCLE), item(*BEHAVIOUR))
    assert judged(*enough).contains
    held = judged(*enough, item("a9_instant_maximum", -1.5, "alert"))
    assert not held.accuses
    assert not held.contains


def test_discovery_adds_up_like_the_verdict() -> None:
    # The array sum that picks pools and the sum that is published agree, shadow ones included.
    fired = {"a2_elicitation": (18.0, 20.0, 0.05)}
    view = link_view(fired=fired, orgs_lower=80, subnets_lower=60, program_share=1.0, purity=1.0, age_ms=0.0)
    for maturity in ("shadow", "alert", "enforce"):
        answers = []
        for sid, signature in BY_ID.items():
            changed: Any = {"maturity": maturity if sid == "c1_shared_template" else signature.maturity}
            s = msgspec.structs.replace(signature, **changed)
            answers.append((s, s.judge(view) if s.unit == "link" else pooled((s,), view)[0]))
        total, families = discovery._totals(answers, 1, Settings())
        result = weigh(discovery.items_at(answers, 0), SETTINGS)
        assert (float(total[0]), int(families[0])) == (result.verdict.log_odds, result.families)


def test_what_is_switched_off_or_blind_is_reported() -> None:
    active, blind = discovery.coverage(frozenset(), ("m1_population_outlier",))
    assert ("m1_population_outlier", ("switched off",)) in blind
    assert {sid for sid, _ in blind} | active == set(BY_ID)
    assert not {sid for sid, _ in blind} & active
