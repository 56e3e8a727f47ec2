"""The cases that `stillwatch test` runs: every signature has them, they hold, and one that does not is told."""

import json

import pytest

from detector.signatures import cases
from detector.signatures.cases import CASES, cases_of, run
from detector.signatures.registry import BY_ID, SIGNATURES
from tests.unit.replaying import run as program

EVERY = pytest.mark.parametrize("signature", [s.id for s in SIGNATURES])


def test_every_signature_has_its_cases() -> None:
    assert set(CASES) == set(BY_ID)


@EVERY
def test_a_signature_has_an_attack_first_an_innocent_and_an_evasion_and_answers_as_expected(signature: str) -> None:
    results = run(signature)
    roles = [result.case.role for result in results]
    assert roles[0] == "attack"
    assert {"innocent", "evasion"} <= set(roles)
    assert [result.case.said for result in results if not result.passed] == []


@EVERY
def test_a_later_case_differs_from_the_attack_in_what_it_names(signature: str) -> None:
    first, *others = cases_of(signature)
    assert all(dict(other.row) != dict(first.row) for other in others)


def test_a_column_that_the_view_lacks_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CASES, "a2_elicitation", (("attack", "a typing error", {"elicitated": 3}),))
    with pytest.raises(TypeError, match="a case of a2_elicitation names elicitated"):
        run("a2_elicitation")


def test_the_command_says_what_was_judged_and_ends_with_one_where_a_case_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = program("test", "-o", "human")
    assert done.exit_code == 0, done.output
    assert f"signatures: {len(SIGNATURES)}, not as expected: 0" in done.stdout
    rows = json.loads(program("test", "c1").stdout)
    assert {row["signature"] for row in rows} == {"c1_shared_template"}
    assert rows[0]["facts"]["purity"] == {
        "value": 0.95, "threshold": 0.3, "unit": "share of a member's requests or openings"
    }  # fmt: skip
    monkeypatch.setattr(cases, "CASES", {"c1_shared_template": (("attack", "nothing is known", {}),)})
    failed = program("test", "c1_shared_template", "-o", "csv")
    assert failed.exit_code == 1
    assert failed.stdout.splitlines()[1].startswith("c1_shared_template,attack,nothing is known,above 0,0.0,NO,")
    assert program("test", "c7").exit_code == 2
