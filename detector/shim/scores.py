"""Scores and marks of a text, in plain Python: elicitation, language, first token, style, topic.

Purpose: what `fingerprint.scores` does in compiled code.
Invariants: results equal the compiled ones'. The lexicon is looked up by the words themselves: no key is needed.
Limits: as there.
Source: `detector/fingerprint/scores.py` says why.
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

from detector.shim import lexicon
from detector.shim.words import SCRIPTS, SEPARATOR, Text, read

_LIST_LINE: Final = re.compile("[\x00-\x20]*(?:[-*] |[0-9]+[.)])")
_VISIBLE: Final = re.compile("[^\x00-\x20]")
_STYLES: Final = {"lower": 1, "question": 2, "conversational": 4, "code": 8, "list": 16, "paragraphs": 32}


class _Words(NamedTuple):
    """The lexicon as shapes."""

    languages: dict[str, set[int]]
    stops: set[str]
    classes: dict[str, str]
    conversational: set[str]
    phrases: dict[str, Any]  # a trie: word to the next ones, None to (number, kind, weight)


@lru_cache(maxsize=1)
def _lexicon() -> _Words:
    def shapes(text: str) -> list[str]:
        return read(text, (0, 0)).shapes

    made = _Words({}, set(), {}, set(), {})
    for number, language in enumerate(lexicon.LANGUAGES):
        for word in lexicon.STOP_WORDS[language].split():
            for shape in shapes(word) if len(shapes(word)) == 1 else ():
                made.languages.setdefault(shape, set()).add(number)
                made.stops.add(shape)
    for name, words in lexicon.FIRST_TOKENS:
        for word in words.split():
            if len(shapes(word)) == 1:
                made.classes.setdefault(shapes(word)[0], name)
    # A word of several characters in Han or Kana is several words, none of which is meant.
    made.conversational.update(*(shapes(w) for w in lexicon.CONVERSATIONAL.split() if len(shapes(w)) == 1))
    for number, (phrase, kind, weight) in enumerate(lexicon.phrase_list()):
        node = made.phrases
        for shape in shapes(phrase):
            node = node.setdefault(shape, {})
        node[""] = number, kind, weight
    return made


def elicitation(text: Text) -> dict[str, float]:
    """Score elicitation, by kind."""
    left = [1.0] * len(lexicon.PHRASES)
    seen: set[int] = set()
    trie, shapes = _lexicon().phrases, text.shapes
    for begin in range(len(shapes)):
        node: Any = trie
        at = begin
        while at < len(shapes) and (node := node.get(shapes[at])):
            number, kind, weight = node.get("", (-1, 0, 0.0))
            if number >= 0 and number not in seen:
                seen.add(number)
                left[kind] *= 1.0 - weight
            at += 1
    return {kind: round((1.0 - rest) * 1000.0) / 1000.0 for kind, rest in zip(lexicon.PHRASES, left, strict=True)}


def language(text: Text) -> str | None:
    """Tell the language of a text that has words, from scripts and stop words; None where nothing does."""
    scripts, words = text.scripts, len(text.spans)
    best = max(range(1, len(scripts)), key=lambda s: (scripts[s], -s))
    if best == 1 and 20 * scripts[2] > scripts[1]:
        best = 2
    if scripts[best] > 0 and 10 * scripts[best] >= 3 * words * (1 if best <= 3 else 5):
        return SCRIPTS[best]
    spoken = [0] * len(lexicon.LANGUAGES)
    for shape in text.shapes[:64]:
        for number in _lexicon().languages.get(shape, ()):
            spoken[number] += 1
    most = max(range(len(spoken)), key=lambda n: (spoken[n], -n))
    return lexicon.LANGUAGES[most] if spoken[most] and 10 * spoken[most] >= min(words, 64) else None


def topic(text: Text) -> int | None:
    """Reduce the words that say something to a bucket of 12 bits."""
    stops = _lexicon().stops
    counted = [h for h, s, n in zip(text.shape, text.shapes, text.numeric, strict=True) if not n and s not in stops]
    counted = counted[:256]
    bits = (bit for bit in range(12) if 2 * sum(h >> bit & 1 for h in counted) > len(counted))
    return sum(1 << bit for bit in bits) if counted else None


def first_token(text: Text) -> str | None:
    """Class the first token; None for a text without any."""
    visible = _VISIBLE.search(text.folded)
    if visible is None:
        return None
    if text.kinds[visible.start()] == SEPARATOR:
        return "symbol"
    if text.numeric and text.numeric[0]:
        return "number"
    return _lexicon().classes.get(text.shapes[0] if text.shapes else "") or (
        "other" if any(text.scripts[1:]) else "noun"
    )


def style(text: Text) -> int:
    """Tell the marks of a text, as bits."""
    folded = text.folded
    shown = folded.rstrip("".join(map(chr, range(33))))
    marks = {
        "lower": text.lower,
        "question": shown.endswith("?"),
        "conversational": not _lexicon().conversational.isdisjoint(text.shapes),
        "code": "```" in folded,
        "list": sum(_LIST_LINE.match(line) is not None for line in folded.split("\n")) > 1,
        "paragraphs": any(text.opens),
    }
    return sum(_STYLES[name] for name, found in marks.items() if found)
