"""What the report says of thresholds and of single signatures, on evidence made by hand."""

import msgspec
import pytest

from detector.pages.thresholds import _lost, _without
from detector.records import Alert, Entity, Evidence, Producer, Verdict, Window
from detector.runtime.explain import clearing
from detector.runtime.kafka.situation import Situation
from detector.signatures.registry import BY_ID

PRIOR, THRESHOLD = -8.0, 2.5
SHADOW = "c2_in_shadow"  # none is just now


def item(signature: str, family: str, log_odds: float, *, counted: bool = True) -> Evidence:
    return Evidence(signature=signature, family=family, log_odds=log_odds, counted=counted)  # type: ignore[arg-type]


def alert(*evidence: Evidence) -> Alert:
    total = PRIOR + sum(e.log_odds for e in evidence if e.counted)
    return Alert(
        alert_id="a",
        revision=0,
        dedup_key="a",
        status="open",
        kind="campaign",
        signature_ids=tuple(e.signature for e in evidence),
        config_hash="0",
        version="0",
        title="t",
        summary="s",
        severity="high",
        risk_score=50,
        entity=Entity(scope="campaign", value="c", tenant="default"),
        window=Window(start=0, end=1),
        first_seen=0,
        last_seen=0,
        detected_at=0,
        evidence=evidence,
        verdict=Verdict(log_odds=total, prior=PRIOR, cap=5.0, threshold=THRESHOLD),
        producer=Producer(version="0"),
    )


BASE = (
    item("c1_shared_template", "content", 4.5),
    item("c3_work_queue", "timing", 3.5),
    item("c10_short_lived", "lifecycle", 3.0),
)


@pytest.mark.parametrize(
    ("second", "left", "lost"),
    [
        (None, -1.5, 1),  # nothing else in its family
        (item("a1_template_dominance", "content", 4.2, counted=False), 2.7, 0),  # the next of its family steps in
        (item(SHADOW, "content", 4.2, counted=False), -1.5, 1),  # in shadow: it is shown and never counts
        (item("a1_template_dominance", "content", -1.0, counted=False), -2.5, 1),  # what is left speaks against
    ],
)
def test_without_a_signature_the_next_that_may_count_steps_in(
    second: Evidence | None, left: float, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = BY_ID["a1_template_dominance"]
    monkeypatch.setitem(BY_ID, SHADOW, msgspec.structs.replace(signature, id=SHADOW, maturity="shadow"))
    made = alert(*BASE, *([second] if second is not None else []))
    assert _without(made, "c1_shared_template") == pytest.approx(left)
    assert _lost([made], "c1_shared_template", families_min=3) == lost
    assert f"{left:.2f}, {'cleared' if lost else 'not cleared'}" in "\n".join(clearing(made, 3))


def test_a_campaign_is_lost_too_where_its_families_no_longer_suffice() -> None:
    made = alert(*BASE, item("n3_prefix_template", "network", 5.0))
    assert _without(made, "c10_short_lived") > THRESHOLD
    assert _lost([made], "c10_short_lived", families_min=3) == 0
    assert _lost([made], "c10_short_lived", families_min=4) == 1


def test_beyond_its_bound_the_fold_lets_the_oldest_alerts_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("detector.runtime.kafka.situation.ALERTS_MAX", 3)
    made = [msgspec.structs.replace(alert(*BASE), alert_id=f"a-{n}", detected_at=n) for n in range(5)]
    fold = Situation(alerts={a.alert_id: a for a in made})
    fold.prune(now_ms=5)
    assert sorted(fold.alerts) == ["a-2", "a-3", "a-4"]
