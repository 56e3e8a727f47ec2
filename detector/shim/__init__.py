"""The gateway's shim: raw text -> fingerprints, in Python's standard library alone.

Purpose: where the text is (a gateway, a callback, a job over old logs) neither NumPy nor a
compiler may be at hand. This folder is all that it takes.
Invariants: each field equals the compiled one's (`detector/fingerprint/`) to the byte, for any
text and key; a change of algorithm is a new `VERSION`, which is part of `fp_key_id`. Nothing of
a text leaves but keyed digests, counts and scores.
Limits: some 5 to 10 us a word.
Source: the modules of `detector/fingerprint/` say what is what, and why.
"""

import hashlib
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from detector.shim import lexicon
from detector.shim.scores import elicitation, first_token, language, style, topic
from detector.shim.words import SINGLE, M, Text, read, siphash

VERSION: Final = "fp1"
_MASKED: Final = 0x5107_5107_5107_5107
_TEMPLATE_WORDS, _TEMPLATE_WORD_BYTES_MAX, _QUOTE_BYTES_MAX = 8, 32, 400
_OPENER_LIMIT: Final = int(0.3 * 2**64)
_ANCHOR_WORDS, _RUN_WORDS, _SPAN_WORDS, _PER_END, _RUNS_MAX = 5, 8, 40, 4, 8


def _subkey(key: bytes, kind: str) -> tuple[int, int]:
    raw = hashlib.blake2b(kind.encode(), key=key, digest_size=16).digest()
    return int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")


class _Keyed(NamedTuple):
    """All that a key determines."""

    word: tuple[int, int]
    shingles: dict[int, tuple[tuple[int, int], list[int]]]  # by width: SipHash key and factors
    digests: dict[str, tuple[tuple[int, int], tuple[int, int]]]
    id: str


@lru_cache(maxsize=8)
def _keyed(key: bytes) -> _Keyed:
    if len(key) != 32:
        raise ValueError(f"fingerprint key has {len(key)} bytes, expected 32: pass 64 hex digits")
    shingles = {
        width: (_subkey(key, f"text {kind}"), [_subkey(key, f"{kind} word {i}")[0] | 1 for i in range(width)])
        for kind, width in (("anchor", _ANCHOR_WORDS), ("run", _RUN_WORDS))
    }
    digests = {
        kind: (_subkey(key, f"text {kind} 0"), _subkey(key, f"text {kind} 1"))
        for kind in ("exact", "shape", "template")
    }
    name = hashlib.blake2b(b"name", key=key, digest_size=8).hexdigest()
    return _Keyed(_subkey(key, "text word"), shingles, digests, f"{VERSION}-{name}")


def _digest(words: list[int], keys: tuple[tuple[int, int], tuple[int, int]]) -> str:
    raw = struct.pack(f"<{len(words)}Q", *words)
    return "".join(f"{siphash(raw, key):016x}" for key in keys)


def _quote_ends(folded: str, at: int) -> int:
    """Where the quote at `at` is closed on its line, or -1."""
    near = folded[at + 1 : at + _QUOTE_BYTES_MAX]
    close, line = near.find(folded[at]), near.find("\n")
    if close <= 0 or 0 <= line < close or len(near[:close].encode()) + 1 >= _QUOTE_BYTES_MAX:
        return -1
    return at + 1 + close


def _template(text: Text) -> list[int]:
    """The first eight words, slots masked."""
    found: list[int] = []
    position, quote_until = 0, -1
    after_slot = half = False
    for word, (begin, end) in enumerate(text.spans):
        while position < begin and len(found) < _TEMPLATE_WORDS:
            if text.folded[position] in '"`' and position > quote_until:
                close = _quote_ends(text.folded, position)
                if close > 0:
                    quote_until = close
                    if not after_slot:
                        found.append(_MASKED)
                    after_slot, half = True, False
            position += 1
        if len(found) == _TEMPLATE_WORDS and not half:
            break
        position = end
        if begin <= quote_until:
            continue
        single = text.kinds[begin] == SINGLE
        if single and half:
            found[-1] = ((found[-1] << 1 | found[-1] >> 63) & M) ^ text.shape[word]
            half = False
            continue
        if len(found) == _TEMPLATE_WORDS:
            break
        slot = text.numeric[word] or len(text.folded[begin:end].encode()) > _TEMPLATE_WORD_BYTES_MAX
        if not (slot and after_slot):
            found.append(_MASKED if slot else text.shape[word])
        after_slot, half = slot, single
    return found


def _shingles(text: Text, first: int, last: int, width: int, keep: int, known: _Keyed) -> list[int]:
    """The smallest distinct shingle hashes of the words `first:last`, ascending: good ranks first."""
    key, factors = known.shingles[width]
    shape, opens = text.shape, text.opens
    ranked: dict[int, list[int]] = {}
    for at in range(first, last - width + 1):
        if width == _RUN_WORDS and opens[at]:
            rank = 0
        elif shape[at] >= _OPENER_LIMIT:
            rank = 15
        else:
            others = next((j for j in range(1, width) if shape[at + j] < _OPENER_LIMIT), width)
            rank = 8 + width - others
        ranked.setdefault(rank, []).append(at)
    kept: set[int] = set()
    for rank in sorted(ranked):  # those of worse ranks are not hashed once there are enough
        if len(kept) >= keep:
            break
        for at in ranked[rank]:
            joined = sum(shape[at + j] * factors[j] for j in range(width)) & M
            kept.add((rank << 60 | (siphash(joined.to_bytes(8, "little"), key) & (1 << 60) - 1)) or 1)
    return sorted(kept)[:keep]


def _anchors(text: Text, known: _Keyed) -> list[int]:
    words = len(text.spans)
    kept = _shingles(text, 0, min(words, _SPAN_WORDS), _ANCHOR_WORDS, _PER_END, known)
    if words > _SPAN_WORDS:
        kept += _shingles(text, words - _SPAN_WORDS, words, _ANCHOR_WORDS, _PER_END, known)
    return sorted(set(kept))


def _of_prompt(text: Text, known: _Keyed) -> dict[str, Any]:
    template, runs = _template(text), _shingles(text, 0, len(text.spans), _RUN_WORDS, _RUNS_MAX, known)
    return {
        "template_fp": _digest(template, known.digests["template"]) if len(template) == _TEMPLATE_WORDS else None,
        "prompt_fp": _digest(text.exact, known.digests["exact"]) if text.spans else None,
        "anchor_fps": [f"{value:016x}" for value in _anchors(text, known)],
        "run_fps": [f"{value:016x}" for value in runs],
        "prompt_lang": language(text) if text.spans else None,
        "topic_bucket": topic(text),
        "prompt_style": style(text),
        "first_token_class": first_token(text),
    }


@lru_cache(maxsize=256)
def _of_system(system: str, key: bytes) -> tuple[str | None, dict[str, float]]:
    """A system prompt's fingerprint and scores: it comes again with each request."""
    text = read(system, _keyed(key).word)
    return (_digest(text.shape, _keyed(key).digests["shape"]) if text.spans else None), elicitation(text)


def fingerprint(*, system: str | None, prompt: str | None, output: str | None, key: bytes) -> dict[str, Any]:
    """The fields of access.v1 that stand for a request's text; null ones are left out. `key` has 32 bytes.

    Raises `ValueError` for a key of another length.

    >>> found = fingerprint(system=None, prompt="Reply in one line: what is 2 + 2?", output=None, key=bytes(32))
    >>> found["prompt_lang"], found["prompt_chars"], len(found["prompt_fp"])
    ('en', 33, 32)
    """
    known = _keyed(key)
    found: dict[str, Any] = {"fp_key_id": known.id}
    scores: list[dict[str, float]] = []
    if prompt is not None:
        text = read(prompt, known.word)
        found |= _of_prompt(text, known)
        found["prompt_chars"] = len(prompt)
        scores.append(elicitation(text))
    if system is not None:
        found["system_prompt_fp"], told = _of_system(system, key)
        scores.append(told)
    if output is not None:
        text = read(output, known.word)
        runs = _shingles(text, 0, len(text.spans), _RUN_WORDS, _RUNS_MAX, known)
        found |= {"output_run_fps": [f"{value:016x}" for value in runs], "visible_output_chars": len(output)}
    if scores:
        found["elicitation"] = {kind: max(score[kind] for score in scores) for kind in lexicon.PHRASES}
    return {name: value for name, value in found.items() if value is not None}


def _message_text(message: object) -> str | None:
    """The text of a message: its string content, or its text parts joined as paragraphs."""
    content = message.get("content") if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        return None
    texts = (part.get("text") if isinstance(part, Mapping) else part for part in content)
    found = [text for text in texts if isinstance(text, str)]
    return "\n\n".join(found) if found else None


def messages_to_content(messages: Sequence[object]) -> tuple[str | None, str | None, int | None]:
    """Chat messages as (system, prompt, turn_index): the last user message with text is the prompt.

    System and developer messages together are the system prompt; parts without text (images,
    tool results) and whatever is no message are passed over; turns count from 0.

    >>> messages_to_content([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}])
    ('Be brief.', 'Why?', 0)
    >>> messages_to_content([{"role": "user", "content": [{"type": "image"}]}])
    (None, None, None)
    """
    spoken = [(m.get("role"), _message_text(m)) for m in messages if isinstance(m, Mapping)]
    systems = [text for role, text in spoken if role in ("system", "developer") and text is not None]
    users = [text for role, text in spoken if role == "user" and text is not None]
    system = "\n\n".join(systems) if systems else None
    return (system, users[-1], len(users) - 1) if users else (system, None, None)
