"""Gates: `--fail-if EXPR`, a number held against a bound."""

import operator
import re
from collections.abc import Mapping
from typing import Any

from detector.cli.common import EXIT_GATE, EXIT_USAGE, fail

_COMPARE = {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}


def gate_of(expression: str) -> tuple[str, str, float]:
    """Read `name OP number`; anything else ends the program with 2."""
    found = re.fullmatch(r"\s*([\w.]+)\s*(>=|<=|==|>|<)\s*(-?\d+(?:\.\d+)?)\s*", expression)
    if found is None:
        raise fail(
            f"--fail-if {expression!r} must be the name of a number, one of > >= < <= == and a bound",
            code=EXIT_USAGE,
        )
    return found[1], found[2], float(found[3])


def check_gate(expression: str, tree: Mapping[str, Any], *, place: str) -> None:
    """End the program with 1 where the expression is true over a tree of numbers; its name may be dotted."""
    name, sign, bound = gate_of(expression)
    value: Any = tree
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, int | float):
        raise fail(f"--fail-if {expression!r}: {place} has no number {name!r}", code=EXIT_USAGE)
    if _COMPARE[sign](value, bound):
        raise fail(f"gate failed: {expression}", code=EXIT_GATE)
