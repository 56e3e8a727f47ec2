"""`stillwatch test`: a signature's own cases."""

from typing import Annotated, Any

import numpy as np
import typer

from detector.cli.common import EXIT_GATE, EXIT_USAGE, fail
from detector.cli.options import Output
from detector.cli.output import Listing, chosen, console, write_rows
from detector.signatures.cases import Result, run
from detector.signatures.registry import BY_ID, SIGNATURES

COLUMNS = {
    "signature": "signature",
    "is": "role",
    "case": "case",
    "expected": "expected",
    "answer": "answer",
    "passed": "said",
    "because": "because",
}


def _named(words: list[str]) -> list[str]:
    """Ids of signatures, by their whole names or by what stands before the first `_`; all of them if none is named."""
    found: dict[str, str] = {}
    for word in words:
        ids = [name for name in BY_ID if word in (name, name.partition("_")[0])]
        if not ids:
            raise fail(f"no signature {word!r}; there are: {', '.join(BY_ID)}", code=EXIT_USAGE)
        found |= dict.fromkeys(ids, "")
    return list(found) or [s.id for s in SIGNATURES]


def _number(value: Any) -> float | None:
    """A fact's number about the one row; None where it is unknown."""
    if value is None:
        return None
    number = float(np.asarray(value, np.float64).reshape(-1)[0])
    return round(number, 6) if np.isfinite(number) else None


def _row(result: Result) -> dict[str, Any]:
    facts = {
        name: {"value": _number(fact.value), "threshold": _number(fact.threshold), "unit": fact.unit}
        for name, fact in result.answer.facts.items()
    }
    return {
        "signature": result.case.signature,
        "role": result.case.role,
        "case": result.case.said,
        "expected": "above 0" if result.case.fires else "0 or less",
        "answer": result.log_odds,
        "passed": result.passed,
        "facts": facts,
    }


def _line(row: dict[str, Any]) -> dict[str, Any]:
    """A row for people: whether it passed in a word, and its facts in one cell."""
    facts = [
        f"{name.replace('_', ' ')} {fact['value']:g}" + (f" (at {fact['threshold']:g})" if fact["threshold"] else "")
        for name, fact in row["facts"].items()
        if fact["value"] is not None
    ]
    return row | {"said": "yes" if row["passed"] else "NO", "because": "; ".join(facts)}


def test(
    signature: Annotated[
        list[str] | None, typer.Argument(metavar="SIGNATURE", help="its id, or the id's first part, such as c1")
    ] = None,  # noqa: PT028 - a verb, not a test of pytest's
    output: Output = None,  # noqa: PT028 - the same
) -> None:
    """Judge the signatures' own cases: the attacks they are for, the nearest innocents, an evasion; 1 if one fails."""
    names, listing = _named(signature or []), chosen(output)
    rows = [_row(result) for name in names for result in run(name)]
    failed = [row for row in rows if not row["passed"]]
    shown = [_line(row) for row in rows] if listing in (Listing.human, Listing.csv) else rows
    # Why is of interest where one signature is asked for, or where a case fails.
    columns = dict(COLUMNS) if signature or failed or listing is not Listing.human else dict(list(COLUMNS.items())[:-1])
    write_rows(shown, columns, listing, nothing="no case")
    if listing is Listing.human:
        console().print(f"{len(rows)} cases, signatures: {len(names)}, not as expected: {len(failed)}")
    if failed:
        raise typer.Exit(EXIT_GATE)
