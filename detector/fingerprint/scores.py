"""Scores of a text: elicitation, style marks, language, first token, topic.

Purpose: the few non-identifying facts about a text that signatures use beside its
fingerprints, all from one walk over word hashes that the tokeniser has made already.
Invariants: a score is 1 - prod(1 - weight) over the *distinct* phrases of its kind that
occur; tables are compiled per word key, so the same words are found under any key.
Limits: language is a guess from scripts and stop words of the first 64 words; the topic
bucket is a 12-bit similarity hash, not a taxonomy; the first-token class knows listed
words only and calls the rest nouns.
Source: similarity hashing, Charikar (STOC 2002); noisy-or, Pearl (1988).
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.events import ELICITATION_KINDS, FIRST_TOKEN_CLASSES, STYLE_BITS
from detector.fingerprint.words import HAN, HANGUL, KANA, NEWLINE, NUMERIC, PARAGRAPH_START, SCRIPT_NAMES, hash_words
from detector.hashing import U64
from detector.shim import lexicon

I32 = npt.NDArray[np.int32]
LANGUAGE_NAMES = SCRIPT_NAMES + lexicon.LANGUAGES
_FIRST_LATIN = len(SCRIPT_NAMES)
_LANGUAGES = len(lexicon.LANGUAGES)
KINDS = len(ELICITATION_KINDS)

LOWER_CASE_START, QUESTION_MARK_END, CONVERSATIONAL, CODE_BLOCK, LIST, PARAGRAPHS = (
    1 << STYLE_BITS.index(name)
    for name in ("lower_case_start", "question_mark_end", "conversational", "code_block", "list", "paragraphs")
)
LIST_LINES_MIN = 2
LANGUAGE_WORDS_MAX = 64
TOPIC_WORDS_MAX = 256
TOPIC_BITS = 12

# Bits of a word's entry: languages below, then these.
_CLASS_SHIFT = 16
_CLASS_MASK = 15  # first-token class + 1
_STOP, _CONVERSATIONAL, _ROOT = 1 << 20, 1 << 21, 1 << 22
_WORD_SLOTS = 8192
_EDGE_SLOTS = 16384
_NODE_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_NOUN, _NUMBER, _SYMBOL, _OTHER = (FIRST_TOKEN_CLASSES.index(c) for c in ("noun", "number", "symbol", "other"))


class Tables(NamedTuple):
    """The lexicon under one word key: open-addressed words and phrase edges, and phrase facts.

    `words` (uint64) and `entries` (int32) have `_WORD_SLOTS` items, `edges` (uint64) and
    `nodes` (int32) `_EDGE_SLOTS`; `ends` (int32) is the phrase that ends at a node or -1;
    `kinds` (int32) and `weights` (float64) describe each phrase.
    """

    words: U64
    entries: I32
    edges: U64
    nodes: I32
    ends: I32
    kinds: I32
    weights: npt.NDArray[np.float64]


@numba.njit(cache=True)
def _slot(table, key):  # type: ignore[no-untyped-def]
    """Slot of `key` in an open-addressed table (uint64, a power of two long), or the empty one where it belongs."""
    last = table.size - 1
    slot = np.int64(key >> np.uint64(40)) & last
    while table[slot] != key and table[slot] != 0:
        slot = (slot + 1) & last
    return slot


@numba.njit(cache=True)
def _edge(node, word):  # type: ignore[no-untyped-def]
    """Key of the edge that leaves `node` by `word`; never 0."""
    mixed = (word ^ (np.uint64(node) * _NODE_FACTOR)) * _NODE_FACTOR
    return (mixed ^ (mixed >> np.uint64(29))) | np.uint64(1)


def _word_bits() -> dict[str, int]:
    bits: dict[str, int] = {}
    for number, language in enumerate(lexicon.LANGUAGES):
        for word in lexicon.STOP_WORDS[language].split():
            bits[word] = bits.get(word, 0) | 1 << number | _STOP
    for name, words in lexicon.FIRST_TOKENS:
        for word in words.split():
            if not bits.get(word, 0) >> _CLASS_SHIFT & _CLASS_MASK:
                bits[word] = bits.get(word, 0) | (FIRST_TOKEN_CLASSES.index(name) + 1) << _CLASS_SHIFT
    for word in lexicon.CONVERSATIONAL.split():
        bits[word] = bits.get(word, 0) | _CONVERSATIONAL
    return bits


def compile_tables(k0: np.uint64, k1: np.uint64) -> Tables:
    """Hash the lexicon under the word key (k0, k1)."""
    words, entries = np.zeros(_WORD_SLOTS, np.uint64), np.zeros(_WORD_SLOTS, np.int32)
    edges, nodes = np.zeros(_EDGE_SLOTS, np.uint64), np.zeros(_EDGE_SLOTS, np.int32)

    def mark(word: np.uint64, bits: int) -> None:
        slot = _slot(words, word)
        words[slot] = word
        entries[slot] |= bits

    for word, bits in _word_bits().items():
        hashes = hash_words(word, k0=k0, k1=k1)
        if hashes.size == 1:  # an entry of several characters in Han or Kana is several words
            mark(hashes[0], bits)
    phrases = lexicon.phrase_list()
    ends = [-1]
    for number, (phrase, _, _) in enumerate(phrases):
        node = 0
        for word_hash in hash_words(phrase, k0=k0, k1=k1):
            if node == 0:
                mark(word_hash, _ROOT)
            edge = np.uint64(_edge(node, word_hash))
            slot = _slot(edges, edge)
            if edges[slot] == 0:
                edges[slot], nodes[slot] = edge, len(ends)
                ends.append(-1)
            node = int(nodes[slot])
        ends[node] = number
    return Tables(
        words,
        entries,
        edges,
        nodes,
        np.array(ends, np.int32),
        np.array([kind for _, kind, _ in phrases], np.int32),
        np.array([weight for _, _, weight in phrases]),
    )


@numba.njit(cache=True)
def _find_phrases(shape, words, at, tables, row, seen, remainders):  # type: ignore[no-untyped-def]
    """Multiply the remainders of every phrase that starts at word `at`, once a phrase and row."""
    node = 0
    while at < words:
        edge = _edge(node, shape[at])
        slot = _slot(tables.edges, edge)
        if tables.edges[slot] == 0:
            return
        node = tables.nodes[slot]
        phrase = tables.ends[node]
        if phrase >= 0 and seen[phrase] != row:
            seen[phrase] = row
            remainders[tables.kinds[phrase]] *= 1.0 - tables.weights[phrase]
        at += 1


@numba.njit(cache=True)
def score_words(shape, layout, words, tables, row, seen, scripts, counts, scores):  # type: ignore[no-untyped-def]
    """Walk a text's words: (first word's class or -1, conversational, language or -1, topic or -1).

    `scores` (float32[KINDS]) receives the elicitation scores, rounded to three decimals.
    `seen` (int64 per phrase) remembers the last `row` in which a phrase counted; `counts`
    (int64, at least 12) is scratch; `scripts` as `fold` left it.
    """
    remainders = np.ones(KINDS)
    languages = np.zeros(_LANGUAGES, np.int64)
    counts[:] = 0
    content = 0
    conversational = False
    first = -1
    for at in range(words):
        slot = _slot(tables.words, shape[at])
        bits = tables.entries[slot]
        if bits != 0:
            if at < LANGUAGE_WORDS_MAX:
                spoken = bits & ((1 << _LANGUAGES) - 1)
                language = 0
                while spoken:
                    languages[language] += spoken & 1
                    spoken >>= 1
                    language += 1
            if at == 0:
                first = ((bits >> _CLASS_SHIFT) & _CLASS_MASK) - 1
            if bits & _CONVERSATIONAL:
                conversational = True
            if bits & _ROOT:
                _find_phrases(shape, words, at, tables, row, seen, remainders)
        if not bits & _STOP and not layout[at] & NUMERIC and content < TOPIC_WORDS_MAX:
            content += 1
            for bit in range(TOPIC_BITS):
                counts[bit] += np.int64((shape[at] >> np.uint64(bit)) & np.uint64(1))
    topic = -1
    if content > 0:
        topic = 0
        for bit in range(TOPIC_BITS):
            if 2 * counts[bit] > content:
                topic |= 1 << bit
    for kind in range(KINDS):
        scores[kind] = round((1.0 - remainders[kind]) * 1000.0) / 1000.0
    return first, conversational, _language(scripts, languages, words), topic


@numba.njit(cache=True)
def _language(scripts, languages, words):  # type: ignore[no-untyped-def]
    """Index into `LANGUAGE_NAMES`, or -1: a script that fills three words in ten, else the most stop words."""
    best = HAN
    for script in range(HAN, scripts.size):
        if scripts[script] > scripts[best]:
            best = script
    if best == HAN and 20 * scripts[KANA] > scripts[HAN]:
        best = KANA
    # About five letters make a word in alphabets; Han, Kana and Hangul characters are words.
    letters = 1 if best <= HANGUL else 5
    if scripts[best] > 0 and 10 * scripts[best] >= 3 * words * letters:
        return best
    language = 0
    for other in range(1, languages.size):
        if languages[other] > languages[language]:
            language = other
    judged = min(words, LANGUAGE_WORDS_MAX)
    if languages[language] == 0 or 10 * languages[language] < judged:
        return -1
    return _FIRST_LATIN + language


@numba.njit(cache=True)
def style_marks(folded, kinds, size, layout, words):  # type: ignore[no-untyped-def]
    """Style bits of a folded text (case and conversation aside), and its first token: 0 word, 1 symbol, 2 none."""
    style = 0
    list_lines = 0
    ticks = 0
    first_token = 2
    line_open = True
    i = 0
    while i < size:
        kind = kinds[i]
        b = folded[i]
        if kind == NEWLINE:
            line_open = True
        elif b > 32:
            if first_token == 2:
                first_token = 1 if kind == 0 else 0
            if line_open:
                bullet = b == 45 or b == 42
                end = i + 1
                while 48 <= b <= 57 and end < size and 48 <= folded[end] <= 57:
                    end += 1
                numbered = 48 <= b <= 57 and end < size and (folded[end] == 46 or folded[end] == 41)
                if numbered or (bullet and end < size and folded[end] == 32):
                    list_lines += 1
            line_open = False
        ticks = ticks + 1 if b == 96 else 0
        if ticks == 3:
            style |= CODE_BLOCK
        i += 1
    while i > 0 and folded[i - 1] <= 32:
        i -= 1
    if i > 0 and folded[i - 1] == 63:
        style |= QUESTION_MARK_END
    if list_lines >= LIST_LINES_MIN:
        style |= LIST
    for word in range(words):
        if layout[word] & PARAGRAPH_START:
            style |= PARAGRAPHS
            break
    return style, first_token


@numba.njit(cache=True)
def token_class(first, first_token, numeric, script_words):  # type: ignore[no-untyped-def]
    """Index into `FIRST_TOKEN_CLASSES`, or -1 for a text without any token."""
    if first_token == 2:
        return -1
    if first_token == 1:
        return _SYMBOL
    if numeric:
        return _NUMBER
    if first >= 0:
        return first
    return _OTHER if script_words else _NOUN
