"""Shingles: keyed hashes of runs of words, and which of them a text keeps.

Purpose: texts that share fixed words come to share kept hashes, wherever the words stand.
A shingle's hash is 64 bits: a rank of `RANK_BITS` bits, then 60 bits of SipHash over
its words. "The smallest hashes" therefore means: best rank first, then at random.
The rank is a function of the key and the shingle's own words:

- three words in ten, by key, are *openers*. A shingle that begins with an opener and
  holds no other ranks best, then those with more words before the next opener. Two
  shingles of the best rank cannot overlap, so good ranks are spread over a text and
  fixed words are rarely crowded out by the variable ones beside them. With 20 fixed
  words among 40, four independent minima miss the fixed part in 8.2 % of cases
  (C(20,4)/C(36,4)); these in about 3 % (400 pools over 40 keys on the tuning half of
  the prompts; anything from a quarter to 0.35 does as well).
- of runs only: one that opens a paragraph (not the text) ranks before all others, so
  fixed text set between paragraphs is kept while there are at most eight of them.
  Anchors do without: there it let short paragraphs crowd out a fixed tail (0.86 for 0.97).

Invariants: a hash depends on nothing but the key, the words (shape: digits collapsed)
and the rank; 0 is never produced.
Limits: hashes are not uniform in their top four bits: take them as names, or hash them again
before a sketch that needs uniform values.
Source: minimum-wise sampling, Broder (1997); winnowing, Schleimer et al. (2003);
shingles that cannot overlap as in syncmers, Edgar (PeerJ, 2021), here with
non-overlapping words of one opener, Blackburn, "Non-overlapping codes" (2015).
"""

import numba
import numpy as np

from detector.fingerprint.words import PARAGRAPH_START
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
_INSIDE = np.uint64(8)  # the best rank of a shingle that opens no paragraph
_LAST = np.uint64(15)
OPENER_LIMIT = np.uint64(int(0.3 * 2**64))  # three words in ten are openers


@numba.njit(cache=True)
def _rank(shape, layout, at, width):  # type: ignore[no-untyped-def]
    """Rank of the shingle of `width` words at `at`: uint64 below 16, smaller is kept first."""
    if width == RUN_WORDS and layout[at] & PARAGRAPH_START:
        return np.uint64(0)
    if shape[at] >= OPENER_LIMIT:
        return _LAST
    rank = _INSIDE + np.uint64(width - 1)
    for j in range(1, width):
        if shape[at + j] < OPENER_LIMIT:
            break
        rank -= np.uint64(1)
    return rank


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
