"""Rows: one text column through the kernels, text in, digests and counts out.

Purpose: the only loop over texts; everything behind it sees arrays.
Invariants: a row's result depends on its own text and the key alone.
Limits: scratch memory is about 60 bytes per byte of the longest text.
"""

import functools
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.fingerprint.scores import (
    CONVERSATIONAL,
    KINDS,
    LOWER_CASE_START,
    TOPIC_BITS,
    Tables,
    compile_tables,
    score_words,
    style_marks,
    token_class,
)
from detector.fingerprint.shingles import (
    ANCHOR_WORDS,
    ANCHORS_MAX,
    RUN_WORDS,
    RUNS_MAX,
    anchors,
    smallest_shingles,
)
from detector.fingerprint.words import (
    NUMERIC,
    SCRIPTS,
    TEMPLATE_WORDS,
    character_classes,
    fold,
    normalised,
    template_words,
    tokenise,
)
from detector.hashing import KEY_BYTES, U8, U64, siphash24, string_buffers, subkey

WORDS, TEMPLATE, ANCHORS, RUNS, STYLE, TOKEN, LANGUAGE, TOPIC = range(8)
_WORD, _ANCHOR, _RUN, _EXACT_HIGH, _EXACT_LOW, _SHAPE_HIGH, _SHAPE_LOW, _TEMPLATE_HIGH, _TEMPLATE_LOW = range(9)
_SUBKEYS = (
    b"text word",
    b"text anchor",
    b"text run",
    b"text exact 0",
    b"text exact 1",
    b"text shape 0",
    b"text shape 1",
    b"text template 0",
    b"text template 1",
)


class Keyed(NamedTuple):
    """All that a key determines: SipHash keys (uint64 [9, 2]), shingle factors (uint64), the lexicon."""

    keys: U64
    anchor_factors: U64
    run_factors: U64
    tables: Tables


class Prints(NamedTuple):
    """What is left of `n` texts.

    Digests `exact`, `shape`, `template`: uint64 [n, 2]; `anchors`, `runs`: uint64 [n, 8],
    of which the first `facts[:, ANCHORS]` and `facts[:, RUNS]` count; `facts`: int32
    [n, 8] (number of words, template words, anchors, runs, style bits, first-token class,
    language, topic; -1 for none); `scores`: float32 [n, KINDS].
    """

    exact: U64
    shape: U64
    template: U64
    anchors: U64
    runs: U64
    facts: npt.NDArray[np.int32]
    scores: npt.NDArray[np.float32]


@functools.lru_cache(maxsize=8)
def keyed(key: bytes) -> Keyed:
    """Derive everything that depends on the key, once. Raises `ValueError` for a key of the wrong length."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"fingerprint key has {len(key)} bytes, expected {KEY_BYTES}: pass 64 hex digits")
    keys = np.array([subkey(key, kind) for kind in _SUBKEYS], np.uint64)

    def factors(kind: bytes, count: int) -> U64:
        return np.array([subkey(key, b"%s %d" % (kind, i))[0] for i in range(count)], np.uint64) | np.uint64(1)

    anchor_factors, run_factors = factors(b"anchor word", ANCHOR_WORDS), factors(b"run word", RUN_WORDS)
    return Keyed(keys, anchor_factors, run_factors, compile_tables(keys[_WORD, 0], keys[_WORD, 1]))


@numba.njit(cache=True)
def plain_rows(data, offsets, out):  # type: ignore[no-untyped-def]
    """Mark in `out` (bool) the rows of a string column that are pure ASCII."""
    for row in range(out.size):
        high = np.uint8(0)
        for i in range(offsets[row], offsets[row + 1]):
            high |= data[i]
        out[row] = high < 0x80


@numba.njit(cache=True)
def _digest(words, count, keys, kind, out):  # type: ignore[no-untyped-def]
    """128-bit digest of the first `count` word hashes under two keys, into `out` (uint64[2])."""
    bytes_ = words.view(np.uint8)
    for half in range(2):
        out[half] = siphash24(bytes_, 0, 8 * count, keys[kind + half, 0], keys[kind + half, 1])


@numba.njit(cache=True)
def _lower_start(data, start, stop, case):  # type: ignore[no-untyped-def]
    """Whether the first letter is lower-case; `case` 0 asks the ASCII bytes, 1 and 2 say yes and no."""
    if case != 0:
        return case == 1
    for i in range(start, stop):
        if 97 <= data[i] <= 122:
            return True
        if 65 <= data[i] <= 90:
            return False
    return False


class Scratch(NamedTuple):
    """Working arrays for texts of some size in bytes; one item a byte or a word."""

    folded: U8
    kinds: U8
    buffer: U8
    layout: U8
    exact: U64
    shape: U64
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    template: U64
    spare: U64
    scripts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    seen: npt.NDArray[np.int64]


@numba.njit(cache=True)
def _scratch(size, phrases):  # type: ignore[no-untyped-def]
    return Scratch(
        np.empty(size, np.uint8),
        np.empty(size, np.uint8),
        np.empty(size, np.uint8),
        np.empty(size, np.uint8),
        np.empty(size, np.uint64),
        np.empty(size, np.uint64),
        np.empty(size, np.int64),
        np.empty(size, np.int64),
        np.empty(TEMPLATE_WORDS, np.uint64),
        np.empty(ANCHORS_MAX, np.uint64),
        np.zeros(SCRIPTS, np.int64),
        np.zeros(TOPIC_BITS, np.int64),
        np.full(phrases, -1, np.int64),
    )


@numba.njit(cache=True)
def _print_facts(s, size, words, row, lower, keys, tables, prints):  # type: ignore[no-untyped-def]
    """All that a prompt needs beside anchors and runs, for a text that is split into `s` already."""
    facts = prints.facts[row]
    found = template_words(s.folded, s.kinds, size, s.shape, s.layout, s.starts, s.ends, words, s.template)
    _digest(s.exact, words, keys, _EXACT_HIGH, prints.exact[row])
    _digest(s.shape, words, keys, _SHAPE_HIGH, prints.shape[row])
    _digest(s.template, found, keys, _TEMPLATE_HIGH, prints.template[row])
    style, first_token = style_marks(s.folded, s.kinds, size, s.layout, words)
    first, conversational, language, topic = score_words(
        s.shape, s.layout, words, tables, row, s.seen, s.scripts, s.counts, prints.scores[row]
    )
    numeric = words > 0 and s.layout[0] & NUMERIC != 0
    facts[TEMPLATE] = found
    facts[STYLE] = style | (CONVERSATIONAL if conversational else 0) | (LOWER_CASE_START if lower else 0)
    facts[TOKEN] = token_class(first, first_token, numeric, s.scripts[1:].sum() > 0)
    facts[LANGUAGE] = language
    facts[TOPIC] = topic


@numba.njit(cache=True)
def _print_rows(data, starts, stops, rows, cases, full, classes, known, prints):  # type: ignore[no-untyped-def]
    """Fingerprint the texts `data[starts[i]:stops[i]]` into row `rows[i]` of `prints`.

    Not `full` leaves out what an output does not need: all but runs.
    """
    size_max = 1
    for i in range(rows.size):
        size_max = max(size_max, stops[i] - starts[i])
    s = _scratch(size_max, known.tables.kinds.size)
    keys = known.keys
    k0, k1 = keys[_WORD]
    a0, a1 = keys[_ANCHOR]
    r0, r1 = keys[_RUN]
    for i in range(rows.size):
        row = rows[i]
        facts = prints.facts[row]
        size = fold(data, starts[i], stops[i], classes, s.folded, s.kinds, s.scripts)
        words = tokenise(s.folded, s.kinds, size, k0, k1, s.buffer, s.exact, s.shape, s.layout, s.starts, s.ends)
        facts[WORDS] = words
        facts[RUNS] = smallest_shingles(
            s.shape, s.layout, 0, words, RUN_WORDS, RUNS_MAX, known.run_factors, r0, r1, prints.runs[row]
        )
        if full:
            facts[ANCHORS] = anchors(
                s.shape, s.layout, words, known.anchor_factors, a0, a1, s.spare, prints.anchors[row]
            )
            lower = _lower_start(data, starts[i], stops[i], cases[i])
            _print_facts(s, size, words, row, lower, keys, known.tables, prints)


def _raw_rows(data: U8, offsets: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]) -> tuple[list[bytes], U8]:
    """Normalise the texts that are not ASCII; their bytes, and 1 where the first letter is lower-case, else 2."""
    texts, cases = [], np.empty(rows.size, np.uint8)
    for place, row in enumerate(rows.tolist()):
        raw = data[offsets[row] : offsets[row + 1]].tobytes().decode("utf-8", "replace")
        text, lower = normalised(raw)
        texts.append(text)
        cases[place] = 1 if lower else 2
    return texts, cases


def print_texts(column: pa.StringArray, *, key: bytes, full: bool, ascii_path: bool = True) -> Prints:
    """Fingerprint every text of a column; null rows come out as empty texts.

    `full=False` computes runs only. `ascii_path=False` sends ASCII texts through Unicode
    normalisation too; the results are equal.
    """
    n = len(column)
    known, classes = keyed(key), character_classes()
    prints = Prints(
        np.zeros((n, 2), np.uint64),
        np.zeros((n, 2), np.uint64),
        np.zeros((n, 2), np.uint64),
        np.zeros((n, ANCHORS_MAX), np.uint64),
        np.zeros((n, RUNS_MAX), np.uint64),
        np.zeros((n, 8), np.int32),
        np.zeros((n, KINDS), np.float32),
    )
    data, offsets = string_buffers(column)
    plain = np.zeros(n, np.bool_)
    if ascii_path:
        plain_rows(data, offsets, plain)
    rows = np.flatnonzero(plain)
    starts, stops = offsets[rows].astype(np.int64), offsets[rows + 1].astype(np.int64)
    _print_rows(data, starts, stops, rows, np.zeros(rows.size, np.uint8), full, classes, known, prints)
    rows = np.flatnonzero(~plain)
    if rows.size:
        texts, cases = _raw_rows(data, offsets, rows)
        stops = np.cumsum([len(text) for text in texts], dtype=np.int64)
        starts = np.concatenate([[0], stops[:-1]])
        joined = np.frombuffer(b"".join(texts), np.uint8)
        _print_rows(joined, starts, stops, rows, cases, full, classes, known, prints)
    return prints
