"""What holds for every signature: its declaration, its page in the catalogue, and how its function behaves.

Rows are drawn at random, unknown values among them; each row is judged alone and beside others.
"""

import ast
import inspect
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import VerdictSettings
from detector.events import FIELDS
from detector.hashing import content_digest
from detector.link_columns import KINDS
from detector.population import JUDGED_BIT, SIGNATURE_BITS
from detector.signatures.contract import AccountView, Answer, LinkView, Signature, pooled
from detector.signatures.registry import ACCOUNT_SIGNATURES, BY_ID, LINK_SIGNATURES, SIGNATURES
from tests.conftest import ROOT
from tests.signatures.builders import NAN, ORDINARY_ACCOUNT, ORDINARY_POOL, SCALARS, account_view, link_view

FAMILIES = ("content", "timing", "network", "identity", "lifecycle", "behaviour")
SECTIONS = ("Purpose", "Misses", "Confuses", "Limits", "Source")
COLUMNS = ("id", "sees", "family", "unit", "needs", "strength", "cross-account", "maturity", "version")
COLUMNS_FREE = ("misses", "confuses", "thresholds")
# What the catalogue gives in the column `strength`; the others it argues for by name.
STRENGTHS = frozenset({"LOG_ODDS_MAX", "SIGNATURE_MAX"})
WHOLES = (
    ("elicited", "elicitation_known"),
    ("young", "age_known"),
    ("gone", "alive"),
    ("born", "alive"),
    ("paying", "units"),
    ("programmed", "units"),
    ("refused", "requests"),
    ("logprobs", "requests"),
    ("tiny", "requests"),
    ("handed", "echoed"),
    ("afar", "handed"),
    ("returned", "texts"),
    ("taking", "taking_known"),
)
EVERY = pytest.mark.parametrize("signature", SIGNATURES, ids=lambda s: s.id)
View = AccountView | LinkView


def source(signature: Signature) -> str:
    """The text of the file that declares the signature."""
    return (ROOT / "detector" / "signatures" / f"{signature.id}.py").read_text()


def sections(signature: Signature) -> dict[str, str]:
    """The docstring's sections, each as one line without its full stop."""
    said = ast.get_docstring(ast.parse(source(signature))) or ""
    parts = re.split(rf"^({'|'.join(SECTIONS)}): ", said, flags=re.MULTILINE)
    names, texts = parts[1::2], parts[2::2]
    return {name: " ".join(text.split()).rstrip(".") for name, text in zip(names, texts, strict=True)}


def thresholds(signature: Signature) -> set[str]:
    """The names of the file's constants that are numbers and no strength."""
    tree = ast.parse(source(signature))
    names = {
        t.id for node in tree.body if isinstance(node, ast.Assign) for t in node.targets if isinstance(t, ast.Name)
    }
    return {name for name in names if name.isupper() and not name.startswith("_")} - STRENGTHS - {"SIGNATURE"}


def catalogue() -> dict[str, dict[str, str]]:
    """The rows of the catalogue by id, each as column -> cell."""
    lines = (ROOT / "detector" / "signatures" / "README.md").read_text().splitlines()
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    heads = next(row for row in cells if row[0] == "id")
    assert tuple(heads) == COLUMNS + COLUMNS_FREE
    return {row[0]: dict(zip(heads, row, strict=True)) for row in cells if row[0] in BY_ID}


def ordinary(signature: Signature, **given: Any) -> View:
    return account_view(**given) if signature.unit == "account" else link_view(**given)


def take(view: View, rows: list[int]) -> View:
    """The view of some of the rows, in the order given."""
    chosen: dict[str, Any] = {}
    for name, column in view._asdict().items():
        if name == "fired":
            chosen[name] = {sid: tuple(part[rows] for part in parts) for sid, parts in column.items()}
        else:
            chosen[name] = column[rows] if isinstance(column, np.ndarray) else column
    return type(view)(**chosen)


def copies(view: View) -> list[bytes]:
    """The bytes of every column, to see whether anybody wrote into one."""
    columns = [c for c in view._asdict().values() if isinstance(c, np.ndarray)]
    if isinstance(view, LinkView):
        columns += [part for parts in view.fired.values() for part in parts]
    return [c.tobytes() for c in columns]


def same(one: Answer, other: Answer) -> bool:
    """Whether two answers hold the same numbers, facts included."""

    def numbers(answer: Answer) -> list[Any]:
        parts = [answer.log_odds]
        for name in sorted(answer.facts):
            column = answer.facts[name]
            parts += [
                np.broadcast_to(np.asarray(NAN if part is None else part, np.float64), answer.log_odds.shape)
                for part in (column.value, column.threshold, column.lower, column.upper, column.baseline)
            ]
        return parts

    return one.facts.keys() == other.facts.keys() and all(
        np.array_equal(a, b, equal_nan=True) for a, b in zip(numbers(one), numbers(other), strict=True)
    )


def values_of(name: str, *, usual: float) -> st.SearchStrategy[Any]:
    """Values of a column, or one of a scalar: none, few, its usual one, many, unknown."""
    known = [0.0, 1.0, 8.0, 1e3, 1e9]
    if "share" in name or name in {"purity", "young_base", "elicited_base", "template_collision", "model_score"}:
        known = [0.0, 0.3, 0.85, 1.0]
    elif "log" in name:
        known = [0.0, 1.0, 8.0, 40.0]
    one = st.sampled_from([usual, *known, NAN])
    return one if name in SCALARS else st.lists(one, min_size=3, max_size=3)


def row_values(usual: Mapping[str, float]) -> st.SearchStrategy[dict[str, Any]]:
    """Columns of three rows, of which a part is never more than its whole."""

    def fit(drawn: dict[str, Any]) -> dict[str, Any]:
        fitted = {part: np.minimum(drawn[part], drawn[whole]).tolist() for part, whole in WHOLES if part in drawn}
        return drawn | fitted

    return st.fixed_dictionaries({name: values_of(name, usual=usual[name]) for name in sorted(usual)}).map(fit)


ACCOUNT_ROWS = row_values(ORDINARY_ACCOUNT)
POOL_ROWS = row_values(ORDINARY_POOL)


@EVERY
def test_the_docstring_says_what_it_is_for_what_it_misses_and_whence_it_comes(signature: Signature) -> None:
    said = sections(signature)
    assert tuple(said) == SECTIONS
    assert all(said.values())


@EVERY
def test_the_declaration_is_complete(signature: Signature) -> None:
    assert signature.family in FAMILIES
    assert signature.unit in {"account", "link"}
    assert signature.maturity in {"shadow", "alert", "enforce", "retired"}
    assert signature.version >= 1
    assert signature.title
    assert not signature.title.endswith(".")
    assert 0.0 < signature.log_odds_max <= VerdictSettings().family_cap


@EVERY
def test_the_needs_are_fields_of_the_access_event(signature: Signature) -> None:
    fields = {f.name for f in FIELDS}
    assert set(signature.needs) | set(signature.needs_any) <= fields
    assert signature.missing(frozenset(fields)) == ()
    assert set(signature.missing(frozenset())) >= set(signature.needs)


@EVERY
def test_the_catalogue_row_equals_the_code(signature: Signature) -> None:
    any_of = " or ".join(signature.needs_any)
    expected = {
        "id": signature.id,
        "sees": signature.title,
        "family": signature.family,
        "unit": signature.unit,
        "needs": ", ".join([*signature.needs, *([any_of] if any_of else [])]) or "nothing beyond the required",
        "strength": f"{signature.log_odds_max:g}",
        "cross-account": "yes" if signature.cross_account else "no",
        "maturity": signature.maturity,
        "version": str(signature.version),
        "misses": sections(signature)["Misses"],
        "confuses": sections(signature)["Confuses"],
    }
    row = catalogue()[signature.id]
    assert {name: row[name] for name in expected} == expected


@EVERY
def test_the_catalogue_argues_for_every_threshold_by_name(signature: Signature) -> None:
    named = set(re.findall(r"`([A-Z][A-Z_0-9]+)`", catalogue()[signature.id]["thresholds"]))
    assert named == thresholds(signature)


def test_ids_are_unique_and_in_the_order_of_the_catalogue() -> None:
    assert [s.id for s in SIGNATURES] == list(catalogue())
    assert set(SIGNATURES) == set(ACCOUNT_SIGNATURES) | set(LINK_SIGNATURES)


@EVERY
def test_silent_on_an_empty_view(signature: Signature) -> None:
    assert signature.judge(ordinary(signature, requests=[])).log_odds.shape == (0,)


@EVERY
def test_accuses_nothing_ordinary(signature: Signature) -> None:
    assert float(signature.judge(ordinary(signature)).log_odds[0]) <= 0.0


@EVERY
def test_accuses_nothing_of_which_all_is_zero_or_unknown(signature: Signature) -> None:
    usual = ORDINARY_ACCOUNT if signature.unit == "account" else ORDINARY_POOL
    for value in (0.0, NAN):
        answer = signature.judge(ordinary(signature, **dict.fromkeys(usual, value)))
        assert float(answer.log_odds[0]) == 0.0


@EVERY
@settings(max_examples=100, derandomize=True)
@given(data=st.data())
def test_pure_deterministic_and_within_its_strength(signature: Signature, data: st.DataObject) -> None:
    if signature.unit == "account":
        view: View = account_view(**data.draw(ACCOUNT_ROWS))
    else:
        view = link_view(kind=data.draw(st.sampled_from(KINDS)), **data.draw(POOL_ROWS))
    before = copies(view)
    answer = signature.judge(view)
    assert copies(view) == before
    assert same(answer, signature.judge(view))
    assert answer.log_odds.shape == (3,)
    assert answer.log_odds.dtype == np.float64
    assert np.isfinite(answer.log_odds).all()
    assert np.array_equal(answer.log_odds, np.round(answer.log_odds, 6))
    if signature.unit == "account":
        assert set(answer.log_odds.tolist()) <= {-1.0, 0.0, 1.0}
    else:
        assert (np.abs(answer.log_odds) <= signature.log_odds_max).all()
    assert answer.facts
    assert all(column.unit for column in answer.facts.values())
    for row in range(3):
        alone = signature.judge(take(view, [row])).log_odds
        assert np.array_equal(alone, answer.log_odds[[row]])
    assert np.array_equal(signature.judge(take(view, [2, 0, 1])).log_odds, answer.log_odds[[2, 0, 1]])


def test_reads_neither_clock_nor_chance_nor_the_world() -> None:
    # tests/test_tidy.py bans them by import; here: judge() takes the view and nothing else.
    assert all(list(inspect.signature(s.judge).parameters) == ["view"] for s in SIGNATURES)


def pool_of(signature: Signature, firing: float, judged: float, base: float) -> float:
    view = link_view(fired={signature.id: (firing, judged, base)})
    return float(pooled((signature,), view)[0].log_odds[0])


@pytest.mark.parametrize("signature", ACCOUNT_SIGNATURES, ids=lambda s: s.id)
def test_firings_of_a_pool_weigh_up_to_the_strength(signature: Signature) -> None:
    assert pool_of(signature, 100, 100, 0.05) == signature.log_odds_max
    assert pool_of(signature, 5, 5, 0.05) == 0.0, "too few to say anything"
    assert pool_of(signature, 100, 100, 0.999) <= 0.1, "what everybody does accuses nobody"
    assert pool_of(signature, 100, 100, NAN) == 0.0, "an unknown base rate accuses nobody"
    assert pool_of(signature, 0, 100, NAN) == 0.0, "nor does it acquit"
    weights = [pool_of(signature, k, 20, 0.05) for k in range(21)]
    assert weights == sorted(weights)


@pytest.mark.parametrize("signature", ACCOUNT_SIGNATURES, ids=lambda s: s.id)
def test_absence_of_a_habit_is_no_innocence(signature: Signature) -> None:
    assert signature.habit_share < 1.0, "none of these habits is one that every campaign must show"
    assert pool_of(signature, 0, 1e6, 0.05) == 0.0
    # A habit that every campaign shows would acquit, up to the strength.
    needed = msgspec.structs.replace(signature, habit_share=1.0)
    assert -signature.log_odds_max <= pool_of(needed, 0, 1e6, 0.05) <= -1.0


@pytest.mark.parametrize("signature", ACCOUNT_SIGNATURES, ids=lambda s: s.id)
def test_customers_of_one_application_are_not_many_witnesses(signature: Signature) -> None:
    # Half fire where three in ten do anyway: an application's habit, however many use it.
    assert pool_of(signature, 500, 1_000, 0.3) < 0.5
    assert pool_of(signature, 5_000, 10_000, 0.3) == pytest.approx(pool_of(signature, 500, 1_000, 0.3), abs=0.01)
    # With half of the traffic cover, half of the members still show what few others do.
    assert pool_of(signature, 50, 100, 0.05) > 0.5


def test_the_threshold_of_a_pool_is_where_it_starts_to_accuse() -> None:
    signature = ACCOUNT_SIGNATURES[0]
    even = (
        pooled((signature,), link_view(fired={signature.id: (0, 100, 0.1)}))[0].facts["members_firing_share"].threshold
    )
    assert isinstance(even, np.ndarray)
    assert pool_of(signature, 100 * even[0] + 1, 100, 0.1) > 0.0 == pool_of(signature, 100 * even[0] - 1, 100, 0.1)


def test_the_bits_of_account_signatures_fit() -> None:
    assert len(ACCOUNT_SIGNATURES) <= JUDGED_BIT
    assert 2 * JUDGED_BIT <= SIGNATURE_BITS


# Changed logic is a new version: the digest is that of the file's code without its docstrings and comments,
# together with the functions and constants of the contract that every signature is judged by.
LOCK: dict[str, tuple[int, str]] = {
    "a1_template_dominance": (2, "b2c8a6a8ead89cc4"),
    "a2_elicitation": (3, "5d3f01e91612a334"),
    "a3_signature_replay": (3, "596090cf1db0450f"),
    "a6_long_outputs": (3, "88eb3ba1b7f6766a"),
    "a7_machine_pace": (3, "fd58aa4e5c2bb249"),
    "a9_instant_maximum": (2, "d92fa0d693aa639b"),
    "a12_logit_probe": (1, "b1144ccdb5084ae4"),
    "a14_refused_variants": (2, "2ccf40dacf759a25"),
    "n1_crowded_prefix": (3, "782e86cb1b3f656f"),
    "a15_many_systems": (1, "9bf59b8eac6d0661"),
    "n7_handed_afar": (1, "89bd67c74ed1147f"),
    "n3_prefix_template": (2, "1548195c7231b67e"),
    "p1_shared_payment": (2, "c76d3ddb4288fc86"),
    "p2_alike_registrations": (2, "f4da3ed08086ca27"),
    "c1_shared_template": (4, "d02ee6e422d8571c"),
    "c3_work_queue": (7, "43fde700ed52d241"),
    "c9_outputs_return": (2, "91f23bf754df614c"),
    "c10_short_lived": (5, "130aa3f59b665a37"),
    "i1_shared_indicator": (1, "8849dc3b66fef076"),
    "t4_one_source": (2, "e8e0b343a2f66d46"),
    "t5_taken_out": (1, "26f6e748dfc94949"),
    "m1_population_outlier": (2, "f17728974fd7f00c"),
}


def logic_digest(text: str) -> str:
    """Digest of a source file as the interpreter sees it: formatting, comments and docstrings aside."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    # Declared beside the logic, and free to change without it.
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            node.keywords = [k for k in node.keywords if k.arg not in {"title", "version", "maturity"}]
    return content_digest(ast.unparse(tree).encode())


def judged_by(signature: Signature) -> str:
    """The signature's code and what it borrows from the contract: no views, which only grow."""
    text = (ROOT / "detector" / "signatures" / "contract.py").read_text()
    parts = [n for n in ast.parse(text).body if isinstance(n, ast.FunctionDef | ast.Assign)]
    return "\n".join([source(signature), *(ast.unparse(n) for n in parts)])


@EVERY
def test_changed_logic_has_a_new_version(signature: Signature) -> None:
    now = (signature.version, logic_digest(judged_by(signature)))
    assert LOCK.get(signature.id) == now, (
        f"{signature.id}: if its logic changed, raise `version` and write {now} here and a line under Detections"
    )


def test_a_changed_constant_changes_the_digest_and_a_comment_does_not() -> None:
    text = '"""Doc."""\nLIMIT = 1.0\n'
    assert logic_digest(text) == logic_digest('"""Other."""\n# Why.\nLIMIT = 1.0\n')
    assert logic_digest(text) != logic_digest('"""Doc."""\nLIMIT = 2.0\n')
