"""Bridge: texts that carry fingerprints of one key, as fingerprints of another.

Purpose: a fingerprint is keyed, so no two labs' agree, and none can be turned into another's. What can be shared is a
fingerprint of the same text under a *sharing key* that labs agreed on beside their own: `bridge` walks raw logs,
where text still is, and finds for the requests that show fingerprints of key A what they show under key B. Exporting,
A is the log's key and B the sharing key; importing, the other way round.
Invariants: text ends here: nothing but fingerprints and counts is returned, and of those only what `ACCOUNTS_MIN`
accounts show and hardly anybody outside the requests that matched.
Limits: needs raw logs, as a lab's own gateway keeps them for hours or days; a lab that keeps none shares program
settings, TLS fingerprints and hosting prefixes only. Of anchors the smallest under each key are other shingles of
the same text: they are translated as a set, by the requests that show them, not one by one. Whoever holds the
sharing key can test a guess at a text against a shared fingerprint: share it with nobody who may not ask that.
Source: re-hash bridges for rotated keys; bottom-k shingles after Broder 1997.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.encode import DEFAULT_TENANT
from detector.fingerprint import fingerprint
from detector.runtime.sources import InputError, decode_block, open_input

ACCOUNTS_MIN = 3
# Of the requests that show a translated fingerprint, at least this share matched: it is theirs and no common phrase.
MATCHED_SHARE = 0.9
# And it is shown by at least this share of those that matched: not one item of a pool's queue.
SHOWN_SHARE = 0.05
TEXT_KINDS = ("system_prompt_fp", "template_fp", "anchor_fp")
_COLUMNS = {"system_prompt_fp": "system_prompt_fp", "template_fp": "template_fp", "anchor_fp": "anchor_fps"}


class Text(NamedTuple):
    """A fingerprint of text: kind and value as alerts name them."""

    kind: str
    value: str


class Translated(NamedTuple):
    """A fingerprint under the other key, with the accounts and requests that show it."""

    text: Text
    accounts: int
    requests: int


def bridge(
    inputs: Iterable[str],
    wanted: set[Text],
    *,
    from_key: bytes,
    to_key: bytes,
    tenant: str = DEFAULT_TENANT,
    accounts: set[str] | None = None,
) -> list[Translated]:
    """Translate `wanted` (of `from_key`) into fingerprints of `to_key`; most accounts first.

    `accounts` limits whose requests can match. Raises `InputError` where a log has no text or cannot be read.
    """
    matched: dict[Text, dict[str, int]] = {}
    every: dict[Text, int] = {}
    matches, text_seen = 0, False
    for name in inputs:
        for block in open_input(name):
            decoded = decode_block(block)
            if decoded.content is None:
                continue
            text_seen = True
            ours, theirs = fingerprint(decoded.content, key=from_key), fingerprint(decoded.content, key=to_key)
            here = pc.equal(decoded.batch.column("tenant").fill_null(DEFAULT_TENANT), tenant)
            hit = _shows(ours, wanted, rows=len(decoded.batch)) & here.to_numpy(zero_copy_only=False)
            whose = decoded.batch.column("account_id")
            if accounts is not None:
                hit &= pc.is_in(whose, value_set=pa.array(sorted(accounts), pa.string())).to_numpy(zero_copy_only=False)
            matches += int(hit.sum())
            _count(theirs, whose.to_pylist(), hit, matched, every)
    if not text_seen:
        raise InputError(f"{', '.join(inputs) or 'no input'}: no raw text; fingerprints cannot be turned into others'")
    found = [Translated(text, len(by), sum(by.values())) for text, by in matched.items()]
    kept = [
        t
        for t in found
        if t.accounts >= ACCOUNTS_MIN
        and t.requests >= MATCHED_SHARE * every[t.text]
        and t.requests >= SHOWN_SHARE * matches
    ]
    return sorted(kept, key=lambda t: (-t.accounts, -t.requests, t.text))


def _values(made: dict[str, pa.Array], kind: str) -> tuple[npt.NDArray[np.int64], list[str | None]]:
    """The rows and the values that they show, one pair for each."""
    column = made[_COLUMNS[kind]]
    if kind != "anchor_fp":
        rows = np.arange(len(column))
        return rows, column.cast(pa.string()).to_pylist()
    parents = pc.list_parent_indices(column).to_numpy(zero_copy_only=False)
    return parents, [f"{word:016x}" for word in pc.list_flatten(column).to_pylist()]


def _shows(made: dict[str, pa.Array], wanted: set[Text], *, rows: int) -> npt.NDArray[np.bool_]:
    """Which rows show one of the wanted fingerprints."""
    out = np.zeros(rows, bool)
    for kind in TEXT_KINDS:
        values = {text.value for text in wanted if text.kind == kind}
        if values:
            at, shown = _values(made, kind)
            out[at[[value in values for value in shown]]] = True
    return out


def _count(
    made: dict[str, pa.Array],
    whose: list[str],
    hit: npt.NDArray[np.bool_],
    matched: dict[Text, dict[str, int]],
    every: dict[Text, int],
) -> None:
    """Add a block's fingerprints: those of rows that matched by account, and all by number."""
    for kind in TEXT_KINDS:
        at, shown = _values(made, kind)
        for row, value in zip(at.tolist(), shown, strict=True):
            if value is None:
                continue
            text = Text(kind, value)
            every[text] = every.get(text, 0) + 1
            if hit[row]:
                by = matched.setdefault(text, {})
                by[whose[row]] = by.get(whose[row], 0) + 1
