"""Twins: the innocent customers that look most like what a signature looks for.

Purpose: an alert says whom it might wrong; the answer stands in each signature's own page.
Invariants: one text per signature, that of its docstring's `Confuses`, on one line.
Limits: none of its own.
Source: the signatures' docstrings, which the catalogue repeats.
"""

import re
from typing import Final

from detector.signatures.registry import SIGNATURES

_CONFUSES: Final = re.compile(r"^Confuses:?\s+(.*?)(?=^[A-Z][a-z]+:|\Z)", re.MULTILINE | re.DOTALL)


def _confuses(page: str) -> str:
    found = _CONFUSES.search(page)
    assert found is not None, f"no Confuses in {page[:40]!r}"
    return " ".join(found[1].split()).rstrip(".")


TWINS: Final = {s.id: _confuses(s.judge.__globals__["__doc__"]) for s in SIGNATURES}
