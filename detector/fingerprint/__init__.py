"""fingerprint: raw text -> keyed digests, counts and scores. Text ends here.

Purpose: the contract's content columns from `{system, prompt, output}`, so that nothing
behind this package ever holds text.
Invariants: a row's columns are a function of its own text and the key, however rows are
cut into batches; under another key no digest is the same; nothing that leaves can be
read back without the key (digests are SipHash of keyed word hashes).
What is what:

- `prompt_fp`: all words, numbers included: tells items apart.
- `system_prompt_fp`: all words, digits collapsed, so a date in it does not split it.
- `template_fp`: the prompt's first eight words with slots masked (quoted spans, words
  with digits, over-long words; neighbouring slots are one). A fixed head of eight words
  is shared whatever follows it; null where there are fewer.
- `anchor_fps`, `run_fps`, `output_run_fps`: chosen 5- and 8-word shingles (`shingles.py`):
  fixed text at the tail, between paragraphs or inside the text.

Limits: fixed text of fewer than five words leaves no anchor and below eight no template
or run; fixed text inside a long running text (over about 150 words, outside both ends)
is shared by a part of a pool only; one word swapped in every five words escapes all.
Source: contract of `access.v1`; see the modules for theirs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.events import ELICITATION, ELICITATION_KINDS, FIRST_TOKEN_CLASSES
from detector.fingerprint.rows import ANCHORS, LANGUAGE, RUNS, STYLE, TEMPLATE, TOKEN, TOPIC, WORDS, Prints, print_texts
from detector.fingerprint.scores import LANGUAGE_NAMES
from detector.fingerprint.words import TEMPLATE_WORDS
from detector.hashing import U8, U64, key_digest
from detector.shim import VERSION

_HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)

Mask = npt.NDArray[np.bool_]


class Content(NamedTuple):
    """Raw text of a batch: three string columns of equal length, null where absent."""

    system: pa.StringArray
    prompt: pa.StringArray
    output: pa.StringArray


def fp_key_id(key: bytes) -> str:
    """Name the key and the algorithm's version: fingerprints compare within one id only.

    >>> fp_key_id(bytes(32)).startswith(VERSION + "-")
    True
    """
    return f"{VERSION}-{key_digest(key)}"


def _valid(column: pa.Array) -> Mask:
    return np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def _hex_column(digests: U64, valid: Mask) -> pa.StringArray:
    """128-bit digests (uint64 [n, 2]) as strings of 32 lower-case hex digits, null where not valid."""
    octets = np.ascontiguousarray(digests).astype(">u8").view(np.uint8).reshape(-1, 16)
    text: U8 = np.empty((octets.shape[0], 32), np.uint8)
    text[:, 0::2] = _HEX_DIGITS[octets >> 4]
    text[:, 1::2] = _HEX_DIGITS[octets & 15]
    lengths = np.where(valid, 32, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    return pa.StringArray.from_buffers(
        len(valid), pa.py_buffer(offsets), pa.py_buffer(text[valid].tobytes()), bitmap, int((~valid).sum())
    )


def _list_column(values: U64, counts: npt.NDArray[np.int32], valid: Mask) -> pa.ListArray:
    """The first `counts[i]` of each row of `values` as a list column, null where not valid."""
    lengths = np.where(valid, counts, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    kept = values[np.arange(values.shape[1]) < lengths[:, None]]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(kept), mask=pa.array(~valid))


def _name_column(names: Sequence[str], numbers: npt.NDArray[np.int32], valid: Mask) -> pa.StringArray:
    return pa.array(names, pa.string()).take(pa.array(numbers, mask=~valid | (numbers < 0)))


def _integers(numbers: npt.NDArray[np.int32], valid: Mask) -> pa.Int64Array:
    return pa.array(numbers.astype(np.int64), mask=~valid | (numbers < 0))


def _unique_texts(column: pa.StringArray, *, key: bytes) -> tuple[Prints, npt.NDArray[np.int64]]:
    """Fingerprint the distinct texts of a column that repeats itself; and each row's place among them, -1 for null."""
    encoded = column.dictionary_encode()
    places = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return print_texts(encoded.dictionary, key=key, full=True), places


def _elicitation(scores: npt.NDArray[np.float32], valid: Mask) -> pa.StructArray:
    fields = [pa.array(np.ascontiguousarray(scores[:, kind])) for kind in range(len(ELICITATION_KINDS))]
    return pa.StructArray.from_arrays(fields, fields=list(ELICITATION), mask=pa.array(~valid))


def fingerprint(content: Content, *, key: bytes) -> dict[str, pa.Array]:
    """Turn a batch of raw text into the event columns that stand for it.

    Columns are named and typed as in `detector.events.SCHEMA`; a row without the text
    has null there, a text too short for a fingerprint has null or an empty list.
    Elicitation is scored over system prompt and prompt, the higher of both. `key` has 32
    bytes. Raises `ValueError` for columns of unequal length or a key of another length.

    >>> text = Content(pa.array([None]), pa.array(["Reply in one line: what is 2 + 2 in base 3?"]), pa.array([None]))
    >>> text = Content(*(column.cast(pa.string()) for column in text))
    >>> columns = fingerprint(text, key=bytes(32))
    >>> len(columns["prompt_fp"][0].as_py()), columns["system_prompt_fp"][0].as_py(), columns["prompt_lang"][0].as_py()
    (32, None, 'en')
    """
    rows = len(content.prompt)
    if len(content.system) != rows or len(content.output) != rows:
        sizes = f"system {len(content.system)}, prompt {rows}, output {len(content.output)}"
        raise ValueError(f"content columns differ in length ({sizes}): pass one row per event in each")
    asked, told, said = (_valid(column) for column in (content.prompt, content.system, content.output))
    prompts = print_texts(content.prompt, key=key, full=True)
    systems, places = _unique_texts(content.system, key=key)
    outputs = print_texts(content.output, key=key, full=False)
    facts = prompts.facts
    system_words = np.zeros(rows, np.int32)
    system_digests = np.zeros((rows, 2), np.uint64)
    scores = prompts.scores
    if told.any():
        system_words[told] = systems.facts[places[told], WORDS]
        system_digests[told] = systems.shape[places[told]]
        scores[told] = np.maximum(scores[told], systems.scores[places[told]])
    return {
        "system_prompt_fp": _hex_column(system_digests, system_words > 0),
        "template_fp": _hex_column(prompts.template, asked & (facts[:, TEMPLATE] == TEMPLATE_WORDS)),
        "prompt_fp": _hex_column(prompts.exact, asked & (facts[:, WORDS] > 0)),
        "anchor_fps": _list_column(prompts.anchors, facts[:, ANCHORS], asked),
        "run_fps": _list_column(prompts.runs, facts[:, RUNS], asked),
        "output_run_fps": _list_column(outputs.runs, outputs.facts[:, RUNS], said),
        "prompt_chars": pc.utf8_length(content.prompt).cast(pa.int64()),
        "visible_output_chars": pc.utf8_length(content.output).cast(pa.int64()),
        "prompt_lang": _name_column(LANGUAGE_NAMES, facts[:, LANGUAGE], asked & (facts[:, WORDS] > 0)),
        "topic_bucket": _integers(facts[:, TOPIC], asked),
        "prompt_style": _integers(facts[:, STYLE], asked),
        "first_token_class": _name_column(FIRST_TOKEN_CLASSES, facts[:, TOKEN], asked),
        "elicitation": _elicitation(scores, asked | told),
        "fp_key_id": pa.repeat(pa.scalar(fp_key_id(key)), rows),
    }
