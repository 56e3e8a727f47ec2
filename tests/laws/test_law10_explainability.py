"""Law 10: re-evaluating the evidence that an alert carries crosses the recorded threshold."""

from collections import Counter

import pytest
from hypothesis import given, settings

from detector import records
from detector.config import VerdictSettings
from detector.records import Alert
from detector.signatures.registry import BY_ID
from tests.laws.streams import SETTINGS, WORLDS, Stream, ends, feed, judge_for, whole


def alerts_of(stream: Stream) -> list[Alert]:
    """Every campaign alert of a stream, as its bytes say it."""
    lines = b"".join(feed(judge_for(stream), stream, [*whole(stream), *ends(stream)])).splitlines()
    alerts = [records.decode(line, kind=Alert) for line in lines if b'"alert.v1"' in line]
    # Operational alerts speak of policy and accuse nobody.
    assert all(a.kind == "campaign" or not a.evidence for a in alerts)
    return [a for a in alerts if a.kind == "campaign"]


@settings(deadline=None, derandomize=True, max_examples=12)
@given(stream=WORLDS)
def test_the_counted_evidence_of_every_alert_adds_up_to_its_verdict(stream: Stream) -> None:
    alerts = alerts_of(stream)
    assert alerts
    for alert in alerts:
        said = alert.verdict
        assert said is not None
        counted = [e for e in alert.evidence if e.counted]
        assert round(said.prior + sum(min(e.log_odds, said.cap) for e in counted), 6) == said.log_odds
        assert said.log_odds >= said.threshold
        assert max(Counter(e.family for e in counted).values()) == 1


@settings(deadline=None, derandomize=True, max_examples=12)
@given(stream=WORLDS)
def test_every_alert_names_its_evidence_and_whether_it_may_contain(stream: Stream) -> None:
    limits: VerdictSettings = SETTINGS.verdict
    for alert in alerts_of(stream):
        assert alert.verdict is not None
        assert (alert.verdict.prior, alert.verdict.cap, alert.verdict.threshold) == (
            limits.prior,
            limits.family_cap,
            limits.threshold,
        )
        counting_for = [e for e in alert.evidence if e.counted and e.log_odds > 0]
        assert alert.signature_ids == tuple(e.signature for e in counting_for)
        assert len(counting_for) >= limits.families_min
        assert any(BY_ID[e.signature].cross_account for e in counting_for)
        assert all(e.family == BY_ID[e.signature].family and e.facts for e in alert.evidence)
        for fact in (fact for e in alert.evidence for fact in e.facts.values()):
            lower, upper = (fact.value if bound is None else bound for bound in (fact.lower, fact.upper))
            assert fact.value is None or lower <= fact.value <= upper, fact
        # In its family no item outweighs the counted one.
        best = {e.family: e.log_odds for e in alert.evidence if e.counted}
        assert all(e.log_odds <= best[e.family] for e in alert.evidence)


def test_an_alert_without_its_strongest_item_does_not_cross_the_threshold_by_rounding() -> None:
    total = -8.0 + 4.1 + 3.4 + 3.5
    assert round(total, 6) == pytest.approx(3.0)
