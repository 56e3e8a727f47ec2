"""Shingles: keyed hashes of runs of words, and which of them a text keeps.

Purpose: texts that share fixed words come to share kept hashes, wherever the words stand.
A shingle's hash is 64 bits: a rank of `RANK_BITS` bits, then 60 bits of SipHash over
its words. "The smallest hashes" therefore means: best rank first, then at random.
The rank is a function of the key, the shingle's own words and whether it opens a
paragraph or a line:

- a shingle that opens a paragraph (not the text) ranks before all others, so fixed text
  set between paragraphs is kept however long the text around it;
- else the nearer the smallest of its word hashes stands to its middle, the better. Two
  neighbouring shingles cannot both have theirs in the middle, so good ranks are spread
  evenly over a text and a fixed span is rarely crowded out by the variable words beside
  it. With 20 fixed words out of 40, four independent minima miss the fixed part in
  8.2 % of cases (C(20,4)/C(36,4)); these miss it in 2 to 3 %.

Invariants: a hash depends on nothing but the key, the words (shape: digits collapsed)
and the rank; 0 is never produced.
Limits: hashes are not uniform in their top four bits: take them as names, or hash them again
before a sketch that needs uniform values.
Source: minimum-wise sampling, Broder (1997); winnowing, Schleimer et al. (2003);
open syncmers, Edgar, "Syncmers are more sensitive than minimizers" (PeerJ, 2021).
"""

import numba
import numpy as np

from detector.fingerprint.words import LINE_START, NUMERIC, PARAGRAPH_START
from detector.hashing import siphash24_word

ANCHOR_WORDS = 5
RUN_WORDS = 8
ANCHOR_SPAN_WORDS = 40
ANCHORS_PER_END = 4
ANCHORS_MAX = 8
RUNS_MAX = 8
RANK_BITS = 4
_RANK_SHIFT = np.uint64(64 - RANK_BITS)
_HASH_MASK = np.uint64((1 << (64 - RANK_BITS)) - 1)
_INSIDE = np.uint64(8)  # top bit of the rank: opens no paragraph


@numba.njit(cache=True)
def _rank(shape, layout, at, width):  # type: ignore[no-untyped-def]
    """Rank of the shingle of `width` words at `at`: uint64 below 16, smaller is kept first."""
    place = layout[at] & (NUMERIC - 1)
    if place == PARAGRAPH_START:
        return np.uint64(0)
    if place == LINE_START:
        return _INSIDE
    smallest = shape[at]
    where = 0
    for j in range(1, width):
        if shape[at + j] < smallest:
            smallest = shape[at + j]
            where = j
    return _INSIDE + np.uint64(abs(where - width // 2))


@numba.njit(cache=True)
def smallest_shingles(shape, layout, first, last, width, keep, factors, k0, k1, out):  # type: ignore[no-untyped-def]
    """Keep the `keep` smallest distinct shingle hashes of the words `first:last`; how many there are.

    `out` (uint64, at least `keep`) receives them in ascending order. `factors`
    (uint64, `width` odd secret numbers) joins the words of a shingle; SipHash under
    (k0, k1) makes the sum a digest that tells nothing of it.
    """
    kept = 0
    limit = np.uint64(16)
    for at in range(first, last - width + 1):
        rank = _rank(shape, layout, at, width)
        if rank > limit:
            continue
        joined = np.uint64(0)
        for j in range(width):
            joined += shape[at + j] * factors[j]
        value = (rank << _RANK_SHIFT) | (siphash24_word(joined, k0, k1) & _HASH_MASK)
        if value == 0:
            value = np.uint64(1)
        place = kept
        while place > 0 and out[place - 1] > value:
            place -= 1
        if place == keep or (place > 0 and out[place - 1] == value):
            continue
        if kept < keep:
            kept += 1
        for j in range(kept - 1, place, -1):
            out[j] = out[j - 1]
        out[place] = value
        if kept == keep:
            limit = out[keep - 1] >> _RANK_SHIFT
    return kept


@numba.njit(cache=True)
def anchors(shape, layout, words, factors, k0, k1, spare, out):  # type: ignore[no-untyped-def]
    """Anchors of a text into `out` (uint64[8]), ascending and distinct; how many there are."""
    kept = smallest_shingles(
        shape, layout, 0, min(words, ANCHOR_SPAN_WORDS), ANCHOR_WORDS, ANCHORS_PER_END, factors, k0, k1, out
    )
    if words <= ANCHOR_SPAN_WORDS:
        return kept  # both ends are the same words
    more = smallest_shingles(
        shape, layout, words - ANCHOR_SPAN_WORDS, words, ANCHOR_WORDS, ANCHORS_PER_END, factors, k0, k1, spare
    )
    for i in range(more):
        place = kept
        while place > 0 and out[place - 1] > spare[i]:
            place -= 1
        if place > 0 and out[place - 1] == spare[i]:
            continue
        for j in range(kept, place, -1):
            out[j] = out[j - 1]
        out[place] = spare[i]
        kept += 1
    return kept
