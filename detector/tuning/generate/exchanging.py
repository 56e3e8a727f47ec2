"""Words exchanged in texts: new texts of the same build where published ones run out.

Purpose: `recombine` exchanges a word in every four consecutive ones, so that no shingle of
five words survives.
Invariants: a function of (text, seed), so that prefixes stay prefixes; seed 0 leaves the text
alone.
Limits: numbers keep their length up to 18 digits. What is known of a text's words is kept for
the last `TEXTS_KEPT` texts, because a published text is exchanged many times.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.tuning.generate.columns import I64

TEXTS_KEPT = 16_384
DIGITS_MAX = 18

_MASK = (1 << 64) - 1
_LCG_FACTOR, _LCG_STEP = 6_364_136_223_846_793_005, 1_442_695_040_888_963_407  # Knuth, MMIX
_ENCODING = "utf-32-le"  # one code per character, so that places in a text are places in the array
_LOWER, _UPPER, _DIGITS = 0, 1, 2

Codes = npt.NDArray[np.uint32]
Bytes = npt.NDArray[np.uint8]


class Vocabulary(NamedTuple):
    """Words to put in place of others, one after the other as they are and then capitalised."""

    words: tuple[str, ...]
    codes: Codes
    ends: I64  # (2 n + 1,): word k lies in [ends[k], ends[k + 1]), capitalised in [ends[n + k], ends[n + k + 1])
    longest: int


class _Build(NamedTuple):
    """What exchanging asks of a text: its codes and, of every word, place and kind."""

    codes: Codes
    starts: I64
    ends: I64
    kinds: Bytes


def vocabulary_of(words: Sequence[str]) -> Vocabulary:
    """Words in the form that `recombine` takes, which needs one of them at least."""
    forms = [*words, *(word.capitalize() for word in words)]
    lengths = np.asarray([len(form) for form in forms], np.int64)
    return Vocabulary(tuple(words), _codes("".join(forms)), np.r_[0, np.cumsum(lengths)], int(lengths.max(initial=0)))


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode(_ENCODING, "surrogatepass"), np.uint32)


@lru_cache(maxsize=1)
def _characters() -> Bytes:
    """What each character is: in a word (1), a digit (2), upper case (4), as Python has it."""
    every = np.arange(0x110000, dtype=np.uint32).view("U1")
    in_word = np.char.isalnum(every) | (every == "_")
    return np.asarray(in_word + 2 * np.char.isdigit(every) + 4 * np.char.isupper(every), np.uint8)


@numba.njit(cache=True)
def _words(codes, characters, starts, ends, kinds):  # type: ignore[no-untyped-def]  # pragma: no cover
    """Find the words: their places and kinds; returns how many."""
    found, inside = 0, False
    for at in range(codes.size):
        character = characters[codes[at]]
        if not character & 1:
            inside = False
            continue
        if not inside:
            inside, starts[found] = True, at
            kinds[found] = _DIGITS if character & 2 else _UPPER if character & 4 else _LOWER
            found += 1
        elif kinds[found - 1] == _DIGITS and not character & 2:
            first = characters[codes[starts[found - 1]]]
            kinds[found - 1] = _UPPER if first & 4 else _LOWER
        ends[found - 1] = at + 1
    return found


@lru_cache(maxsize=TEXTS_KEPT)
def _build(text: str) -> _Build:
    codes = _codes(text)
    most = codes.size // 2 + 1
    starts, ends, kinds = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.uint8)
    found = _words(codes, _characters(), starts, ends, kinds)
    return _Build(codes, starts[:found].copy(), ends[:found].copy(), kinds[:found].copy())


@numba.njit(cache=True)
def _exchange(  # type: ignore[no-untyped-def]
    codes, starts, ends, kinds, words, word_ends, first, state, out
):  # pragma: no cover
    """Write the text with every fourth word from `first` on exchanged; returns its length."""
    size = np.uint64((word_ends.size - 1) // 2)
    at, written = 0, 0
    for word in range(first, starts.size, 4):
        while at < starts[word]:
            out[written] = codes[at]
            written, at = written + 1, at + 1
        at = ends[word]
        length = at - starts[word]
        state = state * np.uint64(_LCG_FACTOR) + np.uint64(_LCG_STEP)
        draw = state >> np.uint64(24)  # the low bits of such a generator repeat soon
        if kinds[word] == _DIGITS:
            length = min(length, DIGITS_MAX)
            low = np.uint64(0)
            high = np.uint64(10)
            for _ in range(length - 1):
                low, high = high, high * np.uint64(10)
            number = low + draw % (high - low)
            for place in range(length - 1, -1, -1):
                out[written + place] = np.uint32(48) + np.uint32(number % np.uint64(10))
                number //= np.uint64(10)
            written += length
        else:
            new = np.int64(draw % size)
            if kinds[word] == _UPPER:
                new += np.int64(size)
            for place in range(word_ends[new], word_ends[new + 1]):
                out[written] = words[place]
                written += 1
    while at < codes.size:
        out[written] = codes[at]
        written, at = written + 1, at + 1
    return written


def mix(value: int, *, seed: int) -> int:
    """Spread two integers over 64 bits (SplitMix64); Python twin of `columns.mix64`.

    >>> mix(1, seed=2) == mix(1, seed=2) != mix(2, seed=1)
    True
    """
    z = (value + 0x9E3779B97F4A7C15 * (seed + 1)) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def recombine(text: str, *, seed: int, vocabulary: Vocabulary) -> str:
    """Make a new text of the same build: every fourth word exchanged; seed 0 leaves the text alone.

    >>> river = vocabulary_of(["river"])
    >>> recombine("what is the capital of France in 1940", seed=0, vocabulary=river)
    'what is the capital of France in 1940'
    >>> recombine("what is the capital of France", seed=5, vocabulary=river)
    'what river the capital of River'
    """
    if seed == 0:
        return text
    codes, starts, ends, kinds = _build(text)
    # A text shorter than the phase would come back unchanged.
    first = min(seed % 4, max(starts.size - 1, 0))
    out = np.empty(codes.size + (starts.size // 4 + 1) * (vocabulary.longest + 1), np.uint32)
    state = np.uint64(mix(seed, seed=0))
    size = _exchange(codes, starts, ends, kinds, vocabulary.codes, vocabulary.ends, first, state, out)
    return out[:size].tobytes().decode(_ENCODING, "surrogatepass")
