"""Words of a text, in plain Python: normalisation, classes of characters, keyed hashes.

Purpose: what `fingerprint.words` does in compiled code.
Invariants: hashes, word borders and layout equal the compiled ones.
Limits: hashes of the last `WORDS_KEPT` words are kept in memory, the words too.
Source: `detector/fingerprint/words.py` says why; SipHash-2-4 (INDOCRYPT 2012).
"""

import re
import struct
import unicodedata
from functools import lru_cache
from typing import Final, NamedTuple

WORDS_KEPT: Final = 1 << 16
M: Final = (1 << 64) - 1
SEPARATOR, LETTER, DIGIT, SINGLE, MARK, SKIP, NEWLINE = "pldsmk\n"
SCRIPTS: Final = ("", "zh", "ja", "ko", "ru", "ar", "hi", "el", "he", "th")
_SINGLES: Final = (
    *((0x2E80, 0x2FDF, 1), (0x3005, 0x3007, 1), (0x3021, 0x3029, 1), (0x3400, 0x4DBF, 1), (0x4E00, 0x9FFF, 1)),
    *((0xF900, 0xFAFF, 1), (0x20000, 0x3FFFF, 1), (0x3041, 0x3096, 2), (0x309D, 0x309F, 2), (0x30A1, 0x30FA, 2)),
    *((0x30FC, 0x30FF, 2), (0x31F0, 0x31FF, 2), (0x1B000, 0x1B16F, 2), (0x1100, 0x11FF, 3), (0x3130, 0x318F, 3)),
    *((0xA960, 0xA97F, 3), (0xAC00, 0xD7FF, 3)),
)
_SPACED: Final = (
    *((0x0370, 0x03FF, 7), (0x0400, 0x052F, 4), (0x0590, 0x05FF, 8), (0x0600, 0x06FF, 5), (0x0750, 0x077F, 5)),
    *((0x0900, 0x097F, 6), (0x0E00, 0x0E7F, 9)),
)
_WORD: Final = re.compile("[ld]+|s")
_DIGITS: Final = re.compile("d+")
_EMPTY_LINE: Final = re.compile("\n[\x00-\x20]*\n")


def siphash(data: bytes, key: tuple[int, int]) -> int:
    """SipHash-2-4 of some bytes, as a number of 64 bits.

    >>> hex(siphash(bytes(range(15)), (0x0706050403020100, 0x0F0E0D0C0B0A0908)))
    '0xa129ca6149be45e5'
    """
    k0, k1 = key
    a, b, c, d = k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573
    whole, left = divmod(len(data), 8)
    last = (len(data) & 0xFF) << 56 | int.from_bytes(data[whole * 8 :], "little")
    assert left < 8
    for m in (*struct.unpack_from(f"<{whole}Q", data), last, None):
        if m is None:
            c ^= 0xFF
        else:
            d ^= m
        for _ in range(4 if m is None else 2):
            a = (a + b) & M
            b = ((b << 13 | b >> 51) & M) ^ a
            a = (a << 32 | a >> 32) & M
            c = (c + d) & M
            d = ((d << 16 | d >> 48) & M) ^ c
            a = (a + d) & M
            d = ((d << 21 | d >> 43) & M) ^ a
            c = (c + b) & M
            b = ((b << 17 | b >> 47) & M) ^ c
            c = (c << 32 | c >> 32) & M
        if m is not None:
            a ^= m
    return a ^ b ^ c ^ d


@lru_cache(maxsize=1 << 14)
def _class(character: str) -> tuple[str, int]:
    """A character's class and script."""
    code = ord(character)
    if 0xE0000 <= code < 0xE0200:
        return SKIP, 0
    for first, last, script in _SINGLES:
        if first <= code <= last:
            return SINGLE, script
    category = unicodedata.category(character) if code < 0x20000 else "Cn"
    if code in (0x0A, 0x2028, 0x2029, 0x85):
        return NEWLINE, 0
    if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
        return SKIP, 0
    if category == "Nd":
        return DIGIT, 0
    kind = LETTER if category[0] in "LN" or code == 0x5F else MARK if category[0] == "M" else SEPARATOR
    script = next((s for first, last, s in _SPACED if first <= code <= last), 0) if kind != SEPARATOR else 0
    return kind, script


def _mark(code: int) -> str:
    """The ASCII character that stands for a separator beyond ASCII."""
    if 0x201C <= code <= 0x201F or 0x300C <= code <= 0x300F or code in (0xAB, 0xBB):
        return '"'
    if code in (0x61F, 0x37E):
        return "?"
    if code == 0x2022:
        return "-"
    return " " if code in (0xA0, 0x3000) or 0x2000 <= code <= 0x200A else "~"


_ASCII_KINDS: Final = {code: _class(chr(code))[0] for code in range(128)}


class Text(NamedTuple):
    """A text, folded: its characters, the class of each; its words; what of them fingerprints use."""

    folded: str
    kinds: str
    scripts: list[int]
    spans: list[tuple[int, int]]
    shapes: list[str]
    exact: list[int]
    shape: list[int]
    numeric: list[bool]
    opens: list[bool]  # an empty line stands before the word
    lower: bool


def _fold(text: str) -> tuple[str, str, list[int]]:
    scripts = [0] * len(SCRIPTS)
    if text.isascii():
        return text, text.translate(_ASCII_KINDS), scripts
    out: list[str] = []
    kinds: list[str] = []
    for character in text:
        kind, script = _class(character)
        scripts[script] += character > "\x7f"
        if kind == MARK:
            kind = LETTER if kinds and kinds[-1] in "ld" else SKIP
        if kind == SKIP:
            continue
        if kind in (SEPARATOR, NEWLINE) and character > "\x7f":
            character = "\n" if kind == NEWLINE else _mark(ord(character))  # noqa: PLW2901 - what stands for it
        out.append(character)
        kinds.append(kind)
    return "".join(out), "".join(kinds), scripts


@lru_cache(maxsize=WORDS_KEPT)
def _hashes(word: str, kinds: str, key: tuple[int, int]) -> tuple[str, int, int]:
    """A word's shape, in which a run of digits is one `0`; its exact hash and its shape's."""
    exact = siphash(word.encode(), key)
    if DIGIT not in kinds:
        return word, exact, exact
    parts, at = [], 0
    for run in _DIGITS.finditer(kinds):
        parts += [word[at : run.start()], "0"]
        at = run.end()
    shape = "".join(parts) + word[at:]
    return shape, exact, siphash(shape.encode(), key)


def read(text: str, key: tuple[int, int]) -> Text:
    """Normalise a text and split it into words, hashed under the word key."""
    composed = text if text.isascii() else unicodedata.normalize("NFKC", text)
    first = next((c for c in composed if c.isalpha()), "")
    folded, kinds, scripts = _fold(composed.lower().encode("utf-8", "replace").decode())
    made = Text(folded, kinds, scripts, [], [], [], [], [], [], lower=first.islower())
    end = 0
    for found in _WORD.finditer(kinds):
        begin, stop = found.span()
        gap = folded[end:begin]
        made.opens.append(bool(made.spans) and gap.count("\n") > 1 and _EMPTY_LINE.search(gap) is not None)
        shape, exact, shaped = _hashes(folded[begin:stop], found[0], key)
        made.spans.append((begin, stop))
        made.shapes.append(shape)
        made.exact.append(exact)
        made.shape.append(shaped)
        made.numeric.append(DIGIT in found[0])
        end = stop
    return made
