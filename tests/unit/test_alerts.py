"""Alerts carry what the contract asks for, and each names a page that exists."""

import re

import pytest

from detector import records
from detector.records import Alert
from detector.signatures.registry import SIGNATURES
from detector.vocabulary import Shape
from tests.conftest import ROOT
from tests.unit.test_orders import ran, with_policy

RUNBOOKS = ROOT / "deploy" / "runbooks"
SECTIONS = (
    "Investigating",
    "Possible investigation steps",
    "False positive analysis",
    "Response and remediation",
)


def test_every_signature_and_operational_alert_has_its_page_and_no_page_is_left_over() -> None:
    # Those of Prometheus' rules are held against the rules in tests/contract/test_deploy.py.
    pages = {path.stem for path in RUNBOOKS.glob("*.md") if not path.stem.startswith("rule_")}
    assert pages == {s.id for s in SIGNATURES} | {f"operational_{name}" for name in ("cap", "storm", "test")}


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_a_page_has_its_four_sections_and_something_in_each(page: str) -> None:
    text = (RUNBOOKS / page).read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    assert tuple(parts[1::2]) == SECTIONS
    assert all(len(part.strip()) > 80 for part in parts[::2])


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: s.id)
def test_a_page_bears_the_title_of_its_signature(signature: object) -> None:
    identity, title = signature.id, signature.title  # type: ignore[attr-defined]
    assert (RUNBOOKS / f"{identity}.md").read_text().startswith(f"# {title} (`{identity}`)\n")


def test_a_campaign_alert_names_its_strongest_evidence_what_to_do_and_what_was_lost() -> None:
    found = ran()
    first, last = found.alerts[0], found.alerts[-1]
    counted = [e for e in first.evidence if e.counted and e.log_odds > 0]
    strongest = max(counted, key=lambda e: e.log_odds)
    assert first.runbook is not None
    assert first.runbook == f"deploy/runbooks/{first.runbook.split('/')[-1]}"
    assert (ROOT / first.runbook).is_file()
    assert any(e.log_odds == strongest.log_odds and e.signature in first.runbook for e in counted)
    shape: Shape = "harvester"
    assert first.campaign is not None
    assert first.campaign.shape == shape
    elicits = any(e.signature == "a2_elicitation" and e.log_odds > 0 for e in first.evidence)
    assert first.campaign.capabilities == (("reasoning_or_training_data",) if elicits else ())
    assert (first.status, first.recommended_action, first.confidence) == ("open", "challenge", None)
    assert (last.status, last.recommended_action) == ("resolved", "observe")
    assert first.dedup_key == f"default/{first.entity.value}"
    assert first.attack[0].sub_technique == "AML.T0024.002"
    assert last.detected_at == first.detected_at
    assert [a.revision for a in found.alerts] == list(range(len(found.alerts)))
    assert last.damage is not None
    assert last.damage.requests >= last.campaign.requests > 0 if last.campaign else False


def test_a_record_says_that_confidence_is_not_calibrated() -> None:
    assert b'"confidence":null' in records.encode(ran().alerts[0])
    assert b'"confidence":null' in records.encode(ran().decisions[0])


def test_an_operational_alert_accuses_nobody() -> None:
    (first, *_) = ran(settings=with_policy(contained_share_max=0.1)).operational
    assert isinstance(first, Alert)
    assert (first.signature_ids, first.evidence, first.attack, first.campaign) == ((), (), (), None)
    assert first.runbook == "deploy/runbooks/operational_cap.md"
    assert first.window.end - first.window.start == 3_600_000
    assert records.decode(records.encode(first), kind=Alert) == first
