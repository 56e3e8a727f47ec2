"""Laws of fingerprints: against a plain Python twin, over batch cuts, slots, keys and both paths."""

import itertools
import re
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.fingerprint import Content, fingerprint
from detector.fingerprint.rows import ANCHORS, RUNS, TEMPLATE, WORDS, keyed, print_texts
from detector.fingerprint.shingles import OPENER_LIMIT
from detector.hashing import siphash24, siphash24_word

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
DIGESTS = ("system_prompt_fp", "template_fp", "prompt_fp")
LISTS = ("anchor_fps", "run_fps", "output_run_fps")
LAW = settings(derandomize=True, deadline=None, max_examples=60)

ASCII_PIECES = [
    *"abcXY_ 059.,?!'\"`-*\n\t",
    "the ",
    "step by step ",
    "\n\n",
    "- ",
    "1. ",
    "```",
    '"a b" ',
    "write ",
    "x" * 33 + " ",
]
WIDE_PIECES = [*"éßΣяअ你かカ한ـ\u0301\u200b\u00ad“”؟•٣², 　", "ﬁ", "你好，", "e\u0301", "\ufe0f", "😀", "Ａ１"]
ascii_texts = st.lists(st.sampled_from(ASCII_PIECES), max_size=120).map("".join)
texts = st.lists(st.sampled_from(ASCII_PIECES + WIDE_PIECES), max_size=120).map("".join)
maybe = st.none() | texts
rows = st.lists(st.tuples(maybe, maybe, maybe), max_size=6)
words = st.text("abcdefghij", min_size=1, max_size=6)


def sentence(count: int) -> st.SearchStrategy[list[str]]:
    """So many words that all differ."""
    return st.lists(words, min_size=count, max_size=count, unique=True)


def content(events: list[tuple[str | None, str | None, str | None]]) -> Content:
    return Content(*(pa.array([event[part] for event in events], pa.string()) for part in range(3)))


def one(prompt: str, *, key: bytes = KEY) -> dict[str, Any]:
    return {name: column[0].as_py() for name, column in fingerprint(content([(None, prompt, None)]), key=key).items()}


# The twin: the same definition in plain Python, from characters to kept hashes.

SINGLE = re.compile(
    "[\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3041-\u3096\u309d-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u31f0-\u31ff\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]"
)


def twin_words(text: str) -> list[tuple[str, bool]]:
    """The words of a text, each with whether it opens a paragraph."""
    found: list[tuple[str, bool]] = []
    word = blank = ""
    for char in [*unicodedata.normalize("NFKC", text).lower(), " "]:
        category = unicodedata.category(char)
        if category == "Cf" or char == "\ufe0f" or (category[0] == "M" and not word):
            continue
        if not SINGLE.match(char) and (category[0] in "LMN" or char == "_"):
            word += char
            continue
        if word:
            found.append((word, re.search("\n[^\\S\n]*\n", blank) is not None and bool(found)))
            word = blank = ""
        if SINGLE.match(char):
            found.append((char, re.search("\n[^\\S\n]*\n", blank) is not None and bool(found)))
            blank = ""
        else:
            blank += char
    return found


def twin_hash(word: str) -> int:
    data = np.frombuffer(word.encode(), np.uint8)
    return int(siphash24(data, 0, data.size, *keyed(KEY).keys[0]))


def twin_digest(hashes: list[int], first_key: int) -> list[int]:
    data = np.array([*hashes, 0], np.uint64).view(np.uint8)
    return [int(siphash24(data, 0, 8 * len(hashes), *keyed(KEY).keys[first_key + half])) for half in range(2)]


def twin_shingle(hashes: list[int], *, opens: bool, run: bool) -> int:
    """A shingle's hash: rank in the top four bits."""
    known = keyed(KEY)
    openers = [h < int(OPENER_LIMIT) for h in hashes]
    if run and opens:
        rank = 0
    elif openers[0]:
        rank = 8 + len(hashes) - 1 - len(list(itertools.takewhile(lambda o: not o, openers[1:])))
    else:
        rank = 15
    factors = known.run_factors if run else known.anchor_factors
    joined = sum(h * int(f) for h, f in zip(hashes, factors, strict=True)) % (1 << 64)
    low = int(siphash24_word(np.uint64(joined), *known.keys[2 if run else 1])) % (1 << 60)
    return rank << 60 | low


def twin_smallest(hashes: list[int], opens: list[bool], *, width: int, keep: int) -> list[int]:
    shingles = [
        twin_shingle(hashes[at : at + width], opens=opens[at], run=width == 8) for at in range(len(hashes) - width + 1)
    ]
    return sorted(set(shingles))[:keep]


@LAW
@given(texts)
def test_kernels_equal_their_plain_twin(text):
    prints = print_texts(pa.array([text], pa.string()), key=KEY, full=True)
    found = twin_words(text)
    opens = [paragraph for _, paragraph in found]
    exact = [twin_hash(word) for word, _ in found]
    shape = [twin_hash(re.sub(r"\d+", "0", word)) for word, _ in found]
    assert prints.facts[0, WORDS] == len(found)
    assert prints.exact[0].tolist() == twin_digest(exact, 3)
    assert prints.shape[0].tolist() == twin_digest(shape, 5)
    assert prints.runs[0, : prints.facts[0, RUNS]].tolist() == twin_smallest(shape, opens, width=8, keep=8)
    head = twin_smallest(shape[:40], opens[:40], width=5, keep=4)
    tail = twin_smallest(shape[-40:], opens[-40:], width=5, keep=4)
    assert prints.anchors[0, : prints.facts[0, ANCHORS]].tolist() == sorted({*head, *tail})


@LAW
@given(ascii_texts)
def test_ascii_and_unicode_paths_are_equal(text):
    column = pa.array([text, None, text.upper()], pa.string())
    plain = print_texts(column, key=KEY, full=True)
    unicode = print_texts(column, key=KEY, full=True, ascii_path=False)
    for left, right in zip(plain, unicode, strict=True):
        assert left.tobytes() == right.tobytes()


@LAW
@given(rows, st.integers(1, 6))
def test_batch_cuts_change_nothing(events, size):
    whole = fingerprint(content(events), key=KEY)
    parts = [fingerprint(content(events[at : at + size]), key=KEY) for at in range(0, len(events), size)]
    for name, column in whole.items():
        cut = [value for part in parts for value in part[name].to_pylist()]
        assert column.to_pylist() == cut, name


@LAW
@given(texts, texts)
def test_keys_share_no_fingerprint(prompt, system):
    one_key, other = (fingerprint(content([(system, prompt, prompt)]), key=key) for key in (KEY, OTHER_KEY))
    for name in DIGESTS:
        value = one_key[name][0].as_py()
        assert value is None or value != other[name][0].as_py()
    for name in LISTS:
        assert not set(one_key[name][0].as_py()) & set(other[name][0].as_py())
    # What is no fingerprint does not depend on the key; the topic bucket is one.
    for name in ("prompt_chars", "prompt_lang", "prompt_style", "first_token_class", "elicitation"):
        assert one_key[name][0].as_py() == other[name][0].as_py()
    assert one_key["fp_key_id"][0] != other["fp_key_id"][0]


@LAW
@given(sentence(8), st.sampled_from([" ", "\n", "\n\n"]), texts, texts)
def test_fixed_heads_share_their_template_whatever_follows(fixed, joiner, slot, other_slot):
    head = " ".join(fixed) + joiner + ". "
    assert one(head + slot)["template_fp"] == one(head + other_slot)["template_fp"] is not None


@LAW
@given(sentence(40), sentence(30), sentence(50))
def test_fixed_ends_of_forty_words_share_all_anchors_of_that_end(fixed, slot, other_slot):
    def kept(words_: list[str]) -> set[int]:
        return set(one(" ".join(words_))["anchor_fps"])

    own = kept(fixed)
    assert own <= kept([*fixed, *slot]) & kept([*fixed, *other_slot])
    assert own <= kept([*slot, *fixed]) & kept([*other_slot, *fixed])


@LAW
@given(sentence(12), st.lists(sentence(9), min_size=2, max_size=6))
def test_a_fixed_paragraph_among_at_most_eight_is_shared(fixed, paragraphs):
    middle = len(paragraphs) // 2
    parts = [" ".join(paragraph) for paragraph in paragraphs]
    text = "\n\n".join([*parts[:middle], " ".join(fixed), *parts[middle:]])
    other = "\n\n".join(["something else entirely", " ".join(fixed), "and more"])
    assert set(one(text)["run_fps"]) & set(one(other)["run_fps"])


@LAW
@given(sentence(60))
def test_kept_shingles_are_the_smallest_of_all(text):
    def own(width: int, name: str) -> list[int]:
        shingles = [" ".join(text[at : at + width]) for at in range(len(text) - width + 1)]
        return [one(shingle)[name][0] for shingle in shingles]

    anchors_, runs = own(5, "anchor_fps"), own(8, "run_fps")
    found = one(" ".join(text))
    assert found["run_fps"] == sorted(runs)[:8]
    assert found["anchor_fps"] == sorted({*sorted(anchors_[:36])[:4], *sorted(anchors_[-36:])[:4]})


@LAW
@given(st.lists(st.integers(0, 10**9), min_size=6, max_size=6), st.lists(st.integers(0, 10**9), min_size=6, max_size=6))
def test_numbers_fill_slots_without_a_trace(left, right):
    skeleton = "Item {} of list {} costs {} and weighs {} kilos in box {} on shelf {} near the old door"
    one_text, other = one(skeleton.format(*left)), one(skeleton.format(*right))
    for name in ("template_fp", "anchor_fps", "run_fps"):
        assert one_text[name] == other[name]
    assert (one_text["prompt_fp"] == other["prompt_fp"]) == (left == right)


@LAW
@given(texts)
def test_nothing_but_digests_counts_and_scores_leaves(text):
    found = one(text)
    for name in DIGESTS:
        assert found[name] is None or re.fullmatch("[0-9a-f]{32}", found[name])
    for name in ("anchor_fps", "run_fps"):
        assert len(found[name]) <= 8
        assert all(0 < value < 1 << 64 for value in found[name])
    assert found["topic_bucket"] is None or 0 <= found["topic_bucket"] < 4096
    assert all(0 <= score <= 1 for score in found["elicitation"].values())


@LAW
@given(texts)
def test_template_needs_its_eight_words(text):
    prints = print_texts(pa.array([text], pa.string()), key=KEY, full=True)
    assert (one(text)["template_fp"] is None) == (prints.facts[0, TEMPLATE] < 8)
