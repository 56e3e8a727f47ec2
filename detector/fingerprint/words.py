"""Words of a text: normalisation and the compiled tokeniser.

Purpose: turn UTF-8 bytes into keyed 64-bit word hashes plus the little layout that
fingerprints use (line and paragraph starts, style marks, the first template words).
Invariants: a text is NFKC-normalised and lower-cased; a word is a run of letters,
digits, marks and `_`; each Han, Hiragana, Katakana or Hangul character is a word;
punctuation separates. Every word has two hashes: *exact*, and *shape*, in which each
run of digits is the one token `0`, so that a number is a slot and not a new text.
Invisible format characters (zero-width joiners, soft hyphens, variation selectors)
are skipped and do not separate, so they cannot be used to break words apart.
ASCII texts go to the kernel as they are, all others pass `normalised` first; on ASCII
both ways give equal bytes.
Limits: scripts written without spaces other than those named (Thai, Khmer, Lao, Burmese)
keep whole phrases as one word; the character classes are those of the running Python's
Unicode database, so code points younger than it are separators.
Source: Unicode Standard Annex 15 (normalisation forms), Annex 44 (general categories).
"""

import functools
import unicodedata

import numba
import numpy as np

from detector.hashing import U8, U64, siphash24

SEPARATOR, LETTER, DIGIT, SINGLE, MARK, SKIP, NEWLINE = 0, 1, 2, 3, 4, 5, 6
# The script stands in the upper half of a class byte; 0 is Latin or none.
HAN, KANA, HANGUL, CYRILLIC, ARABIC, DEVANAGARI, GREEK, HEBREW, THAI = range(1, 10)
SCRIPT_NAMES = ("", "zh", "ja", "ko", "ru", "ar", "hi", "el", "he", "th")
SCRIPTS = len(SCRIPT_NAMES)

PARAGRAPH_START, NUMERIC = 1, 2  # bits of a word's `layout`

# The first eight words name a template: published templated harvests all share an
# 8-word prefix, while six words ("i want you to act as") already join strangers.
TEMPLATE_WORDS = 8
TEMPLATE_WORD_BYTES_MAX = 32  # longer words are identifiers, encoded data or run-together text: slots
QUOTE_BYTES_MAX = 400
MASK = np.uint64(0x5107_5107_5107_5107)

_SINGLE_RANGES = (
    (0x2E80, 0x2FDF, HAN),
    (0x3005, 0x3007, HAN),
    (0x3021, 0x3029, HAN),
    (0x3400, 0x4DBF, HAN),
    (0x4E00, 0x9FFF, HAN),
    (0xF900, 0xFAFF, HAN),
    (0x20000, 0x3FFFF, HAN),
    (0x3041, 0x3096, KANA),
    (0x309D, 0x309F, KANA),
    (0x30A1, 0x30FA, KANA),
    (0x30FC, 0x30FF, KANA),
    (0x31F0, 0x31FF, KANA),
    (0x1B000, 0x1B16F, KANA),
    (0x1100, 0x11FF, HANGUL),
    (0x3130, 0x318F, HANGUL),
    (0xA960, 0xA97F, HANGUL),
    (0xAC00, 0xD7FF, HANGUL),
)
_SCRIPT_RANGES = (
    (0x0370, 0x03FF, GREEK),
    (0x0400, 0x052F, CYRILLIC),
    (0x0590, 0x05FF, HEBREW),
    (0x0600, 0x06FF, ARABIC),
    (0x0750, 0x077F, ARABIC),
    (0x0900, 0x097F, DEVANAGARI),
    (0x0E00, 0x0E7F, THAI),
)
_CATEGORISED_MAX = 0x20000  # planes 0 and 1; beyond are Han (above) and rarities, which separate


def _category_class(code: int) -> int:
    category = unicodedata.category(chr(code))
    if code in (0x0A, 0x2028, 0x2029, 0x85):
        return NEWLINE
    if category == "Cf" or 0xFE00 <= code <= 0xFE0F:
        return SKIP
    if category == "Nd":
        return DIGIT
    if category[0] in "LN" or code == ord("_"):
        return LETTER
    return MARK if category[0] == "M" else SEPARATOR


@functools.cache
def character_classes() -> U8:
    """Class of every code point: uint8 of 0x110000, class in the low half, script in the high half.

    >>> c = character_classes()
    >>> [int(c[ord(x)]) & 15 for x in "a7_ ?"] == [LETTER, DIGIT, LETTER, SEPARATOR, SEPARATOR]
    True
    """
    classes = np.zeros(0x110000, np.uint8)
    classes[:_CATEGORISED_MAX] = [_category_class(code) for code in range(_CATEGORISED_MAX)]
    for first, last, script in _SCRIPT_RANGES:
        span = classes[first : last + 1]
        span[(span == LETTER) | (span == MARK)] |= script << 4
    for first, last, script in _SINGLE_RANGES:
        classes[first : last + 1] = SINGLE | script << 4
    classes[0xE0000:0xE0200] = SKIP  # tags and variation selectors
    classes.flags.writeable = False
    return classes


def normalised(text: str) -> tuple[bytes, bool]:
    """Normalise a text that is not plain ASCII: its UTF-8 bytes, and whether its first letter is lower-case.

    >>> normalised("Ｆｕｌｌ ②")
    (b'full 2', False)
    """
    composed = unicodedata.normalize("NFKC", text)
    first = next((c for c in composed if c.isalpha()), "")
    return composed.lower().encode("utf-8", "replace"), first.islower()


@numba.njit(cache=True)
def decode_point(data, i, stop):  # type: ignore[no-untyped-def]
    """Decode the code point at byte `i` of UTF-8 `data`: (code point, width in bytes).

    Malformed or cut sequences yield U+FFFD (a separator) of width 1.
    """
    b = np.int64(data[i])
    if b < 0x80:
        return b, 1
    width = 2 if 0xC2 <= b < 0xE0 else 3 if 0xE0 <= b < 0xF0 else 4 if 0xF0 <= b < 0xF5 else 1
    if width == 1 or i + width > stop:
        return np.int64(0xFFFD), 1
    code = b & (0x7F >> width)
    for j in range(1, width):
        code = (code << 6) | (np.int64(data[i + j]) & 0x3F)
    return (code, width) if code < 0x110000 else (np.int64(0xFFFD), 1)


@numba.njit(cache=True)
def _ascii_mark(code):  # type: ignore[no-untyped-def]
    """The ASCII byte that stands for a separator beyond ASCII: quotes, question mark, bullet, space, else `~`."""
    if 0x201C <= code <= 0x201F or 0x300C <= code <= 0x300F or code == 0xAB or code == 0xBB:
        return 34
    if code == 0x61F or code == 0x37E:
        return 63
    if code == 0x2022:
        return 45
    return 32 if code == 0xA0 or 0x2000 <= code <= 0x200A or code == 0x3000 else 126


@numba.njit(cache=True)
def fold(data, start, stop, classes, folded, kinds, scripts):  # type: ignore[no-untyped-def]
    """Copy the text `data[start:stop]` in lower case, without skipped characters: bytes kept.

    `folded` and `kinds` (uint8, at least `stop - start` long) receive each byte and its
    character's class; all bytes of one character carry the same class, separators beyond
    ASCII become one ASCII byte, a mark that follows no letter is dropped. `scripts` (int64[SCRIPTS])
    is set to the number of characters of each script.
    """
    scripts[:] = 0
    n = 0
    i = start
    while i < stop:
        b = data[i]
        if b < 0x80:
            folded[n] = b + 32 if 65 <= b <= 90 else b
            kinds[n] = classes[b]
            n += 1
            i += 1
            continue
        code, width = decode_point(data, i, stop)
        kind = classes[code] & 15
        scripts[classes[code] >> 4] += 1
        if kind == MARK:
            kind = LETTER if n > 0 and (kinds[n - 1] == LETTER or kinds[n - 1] == DIGIT) else SKIP
        if kind == SEPARATOR or kind == NEWLINE:
            folded[n] = 10 if kind == NEWLINE else _ascii_mark(code)
            kinds[n] = kind
            n += 1
        elif kind != SKIP:
            for j in range(width):
                folded[n + j] = data[i + j]
                kinds[n + j] = kind
            n += width
        i += width
    return n


@numba.njit(cache=True)
def _shape_hash(folded, kinds, first, end, k0, k1, buffer):  # type: ignore[no-untyped-def]
    """Hash of the word `folded[first:end]` with each run of digits as the one byte `0`."""
    length = 0
    for i in range(first, end):
        if kinds[i] == DIGIT:
            if i > first and kinds[i - 1] == DIGIT:
                continue
            buffer[length] = 48
        else:
            buffer[length] = folded[i]
        length += 1
    return siphash24(buffer, 0, length, k0, k1)


@numba.njit(cache=True)
def tokenise(folded, kinds, size, k0, k1, buffer, exact, shape, layout, starts, ends):  # type: ignore[no-untyped-def]
    """Split a folded text of `size` bytes into words; the number of words.

    Fills, one item a word: `exact` and `shape` (uint64 hashes), `layout` (uint8 bits:
    `PARAGRAPH_START` where an empty line stands before the word, never for the text's
    first; `NUMERIC` where it holds a digit), `starts` and `ends` (int64 byte
    positions). Each must have room for `size` items, `buffer` too.
    """
    words = 0
    newlines = 0
    opens = False
    i = 0
    while i < size:
        kind = kinds[i]
        if kind == LETTER or kind == DIGIT or kind == SINGLE:
            end = i + 1
            digits = kind == DIGIT
            if kind == SINGLE:
                end = i + (3 if folded[i] < 0xF0 else 4)
            else:
                while end < size and (kinds[end] == LETTER or kinds[end] == DIGIT):
                    digits |= kinds[end] == DIGIT
                    end += 1
            word = siphash24(folded, i, end, k0, k1)
            exact[words] = word
            layout[words] = PARAGRAPH_START if words > 0 and opens else 0
            if digits:
                word = _shape_hash(folded, kinds, i, end, k0, k1, buffer)
                layout[words] |= NUMERIC
            shape[words] = word
            starts[words] = i
            ends[words] = end
            words += 1
            newlines = 0
            opens = False
            i = end
            continue
        if kind == NEWLINE:
            newlines += 1
            opens |= newlines > 1
        elif folded[i] > 32:
            newlines = 0
        i += 1
    return words


@numba.njit(cache=True)
def _quote_end(folded, i, size):  # type: ignore[no-untyped-def]
    """Byte position of the quote that closes the one at `i` on the same line, or -1."""
    for j in range(i + 1, min(size, i + QUOTE_BYTES_MAX)):
        if folded[j] == folded[i]:
            return j if j > i + 1 else -1
        if folded[j] == 10:
            return -1
    return -1


@numba.njit(cache=True)
def _rotated(word):  # type: ignore[no-untyped-def]
    return (word << np.uint64(1)) | (word >> np.uint64(63))


@numba.njit(cache=True)
def template_words(folded, kinds, size, shape, layout, starts, ends, words, template):  # type: ignore[no-untyped-def]
    """Fill `template` (uint64[TEMPLATE_WORDS]) with the first words, slots masked; how many were found.

    A slot is a quoted span on one line, a word with a digit, or an over-long word;
    neighbouring slots are one, so how many words fill it does not show. Two
    characters that are words by themselves (Han, Kana, Hangul) count as one.
    """
    found = 0
    position = 0
    quote_until = -1
    after_slot = False
    half = False
    for word in range(words):
        while position < starts[word] and found < TEMPLATE_WORDS:
            quote = folded[position] == 34 or folded[position] == 96
            if quote and position > quote_until:
                close = _quote_end(folded, position, size)
                if close > 0:
                    quote_until = close
                    if not after_slot:
                        template[found] = MASK
                        found += 1
                    after_slot = True
                    half = False
            position += 1
        if found == TEMPLATE_WORDS and not half:
            break
        position = ends[word]
        if starts[word] <= quote_until:
            continue
        single = kinds[starts[word]] == SINGLE
        if single and half:
            template[found - 1] = _rotated(template[found - 1]) ^ shape[word]
            half = False
            continue
        if found == TEMPLATE_WORDS:
            break
        slot = layout[word] & NUMERIC or ends[word] - starts[word] > TEMPLATE_WORD_BYTES_MAX
        if not (slot and after_slot):
            template[found] = MASK if slot else shape[word]
            found += 1
        after_slot = slot
        half = single
    return found


def hash_words(text: str, *, k0: np.uint64, k1: np.uint64) -> U64:
    """Shape hashes of a short text's words, as the kernels see them; uint64, one a word.

    >>> one = np.uint64(1)
    >>> a, b = hash_words("Page 12, page 7", k0=one, k1=one).reshape(2, 2)
    >>> bool((a == b).all())
    True
    """
    data = np.frombuffer(normalised(text)[0] or b" ", np.uint8)
    size = data.size
    folded, kinds, buffer, layout = (np.zeros(size, np.uint8) for _ in range(4))
    exact, shape = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    starts, ends = np.zeros(size, np.int64), np.zeros(size, np.int64)
    size = fold(data, 0, size, character_classes(), folded, kinds, np.zeros(SCRIPTS, np.int64))
    words = tokenise(folded, kinds, size, k0, k1, buffer, exact, shape, layout, starts, ends)
    return shape[:words].copy()
