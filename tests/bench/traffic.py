"""Dense events for the benches: `schemas/bench-event.json`, varied row by row.

Records: `thin` (the required fields and six more), `kilobyte` (1,024 bytes as JSON: 27 fields, 8 anchors among
them), `bench` (the schema's example: every O, P and N field, three fingerprints, 8 anchors,
8 runs) and `full` (every field).
Each identifier that is a link key takes one of `shared` values, drawn per account for what
belongs to the account and per event for what belongs to the text; with `fresh` the window
of accounts and values slides, so that newcomers come as history grows. Prompts are all
distinct. Rows are uniform over accounts and values: no hot row helps a cache, and `accounts`
rows show every account.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.decode import decode_text
from detector.encode import encode
from detector.events import ELICITATION_KINDS, FIELDS, EventBatch, event_batch
from detector.frames import ID, IDS, LINKS_FIRST, NUM, Frame
from detector.hashing import DEVELOPMENT_KEY
from detector.tuning.generate.columns import hex_strings, mix64, uint64_lists
from tests.bench.measure import ROOT

I64 = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]

KEY = DEVELOPMENT_KEY
TENANT = "default"
SOURCE = "log"
START_MS = 1_782_050_400_000
BLOCK_ROWS = 16_384
RECORDS = ("thin", "bench", "full")
KILOBYTE = "kilobyte"  # what a record on a topic is like: 1 KB
_REQUIRED = ("event_id", "event_time", "account_id", "request_model", "input_tokens", "output_tokens")
_THIN = (*_REQUIRED, "org_id", "client_ip", "template_fp", "prompt_fp", "stream", "max_tokens")
_KILOBYTE = (
    *_THIN, "api_key_id", "account_created_at", "account_tier", "payment_fp", "turn_index",
    "finish_reason", "temperature", "tool_count", "reasoning_tokens", "user_agent", "sdk_name", "ja4",
    "system_prompt_fp", "anchor_fps", "prompt_chars", "visible_output_chars", "fp_key_id",
)  # fmt: skip
# Digits and prefix of identifiers that take one of `shared` values; per account, then per text.
_OF_ACCOUNT = {
    "org_id": ("org_", 8),
    "payment_fp": ("", 32),
    "device_fp": ("", 32),
    "signup_ip_fp": ("", 32),
    "signup_email_domain_fp": ("", 32),
    "ja4": ("t13d1516h2_", 12),
}
_OF_TEXT = {"system_prompt_fp": ("", 32), "template_fp": ("", 32)}
_LISTS = ("anchor_fps", "run_fps", "output_run_fps")
_WEEK_MS = 7 * 86_400_000
_STRIDE = 7_368_787  # a prime


class Mix(NamedTuple):
    """How rows vary."""

    accounts: int  # accounts that are active at a time
    shared: int  # values of each link attribute
    per_second: int  # rows per second of event time
    fresh: float = 0.0  # new accounts, and new values of each attribute, per row
    seed: int = 1


def example(name: str) -> EventBatch:
    """The one row that a record's rows vary."""
    row = decode_text((ROOT / "schemas" / "bench-event.json").read_bytes()).batch
    if name in ("thin", KILOBYTE):
        return event_batch({n: row.column(n) for n in (_THIN if name == "thin" else _KILOBYTE)}, rows=1)
    if name == "bench":
        return row
    more: dict[str, Any] = {
        "logit_bias_fp": "6f1d", "tools_fp": "77a0c3", "topic_bucket": 411, "prompt_style": 17,
        "first_token_class": "noun", "elicitation": dict.fromkeys(ELICITATION_KINDS, 0.25), "output_run_fps": [1] * 8,
        "reasoning_signature_fp": "5f3c9d20", "reasoning_signature_echo_fp": "5f3c9d1f", "canary_hit": False,
    }  # fmt: skip
    columns = {f.name: row.column(f.name) for f in FIELDS}
    return event_batch(columns | {n: pa.array([v], row.schema.field(n).type) for n, v in more.items()}, rows=1)


def link_keys(name: str) -> int:
    """Link keys per event of a record."""
    (frame,) = encode(example(name), positions=np.zeros(1, np.int64), source=SOURCE, first=0, stop=1, key=KEY)
    return int((frame.ids[0, LINKS_FIRST:IDS] != 0).sum())


def shared_columns(name: str) -> int:
    """How many of a record's link keys take `shared` values; the rest (program, age cohort) take few."""
    row = example(name)
    held = [n for n in (*_OF_ACCOUNT, *_OF_TEXT, "client_ip") if row.column(n).null_count == 0]
    return len(held) + 8 * sum(row.column(n).null_count == 0 for n in _LISTS[:2])


def _prefixes(values: I64) -> pa.StringArray:
    distinct, inverse = np.unique(values, return_inverse=True)
    words = pa.array([f"{10 + (v >> 16 & 63)}.{v >> 8 & 255}.{v & 255}.0/24" for v in distinct.tolist()], pa.string())
    return words.take(pa.array(inverse.reshape(-1)))


def batch(row: EventBatch, mix: Mix, *, first: int, rows: int) -> EventBatch:
    """Rows `first` to `first + rows` of an endless log; a pure function of its arguments."""
    rng = np.random.default_rng([mix.seed, first])
    at = np.arange(first, first + rows)
    moved = (at * mix.fresh).astype(np.int64)
    account = at * _STRIDE % mix.accounts + moved  # each account once in so many rows, scattered
    key, tick = account.astype(np.uint64), at.astype(np.uint64)

    def drawn(of: U64, salt: int) -> U64:
        values = mix64(of, seed=np.full(1, salt, np.uint64)) % np.uint64(mix.shared)
        return mix64(values + moved.astype(np.uint64), seed=np.full(1, 900 + salt, np.uint64))

    def wide(words: U64) -> U64:
        return np.stack([words, mix64(words, seed=np.full(1, 7, np.uint64))], 1)

    def vary(name: str, salt: int) -> pa.Array | None:
        if name == "event_id":
            return hex_strings(mix64(tick, seed=np.full(1, 3, np.uint64)), prefix="req_", digits=16)
        if name == "event_time":
            return pa.array(START_MS + at * 1000 // mix.per_second)
        if name in ("account_id", "project_id", "api_key_id", "end_user_id"):
            return hex_strings(mix64(key, seed=np.full(1, 2, np.uint64)), prefix=f"{name[:3]}_", digits=10)
        if name == "account_created_at":
            return pa.array(START_MS - 60_000 - (account % 52) * _WEEK_MS)
        if name in ("prompt_fp", "conversation_id", "reasoning_signature_fp"):
            return hex_strings(wide(mix64(tick, seed=np.full(1, salt, np.uint64))), digits=32)
        if name in _OF_ACCOUNT:
            prefix, digits = _OF_ACCOUNT[name]
            return hex_strings(wide(drawn(key, salt)), prefix=prefix, digits=digits)
        if name in _OF_TEXT:
            prefix, digits = _OF_TEXT[name]
            return hex_strings(wide(drawn(tick, salt)), prefix=prefix, digits=digits)
        if name == "client_ip":
            return _prefixes((drawn(key, salt) & np.uint64((1 << 22) - 1)).astype(np.int64))
        if name in _LISTS:
            matrix = np.stack([drawn(tick, salt * 16 + k) for k in range(8)], 1)
            return uint64_lists(matrix, counts=np.full(rows, 8, np.int64))
        if name in ("input_tokens", "output_tokens", "prompt_chars", "visible_output_chars", "latency_ms"):
            return pa.array(np.maximum(rng.lognormal(6.0, 1.2, rows), 1.0).astype(np.int64))
        return None

    columns = {}
    repeat = pa.array(np.zeros(rows, np.int64))
    for salt, field in enumerate(FIELDS):
        held = row.column(field.name)
        if held.null_count:
            continue
        made = vary(field.name, salt + 10)
        columns[field.name] = held.take(repeat) if made is None else made
    return event_batch(columns, rows=rows)


def batches(name: str, mix: Mix, *, rows: int, first: int = 0) -> Iterator[EventBatch]:
    """The rows from `first`, some thousand at a time."""
    row = example(name)
    for at in range(first, first + rows, BLOCK_ROWS):
        yield batch(row, mix, first=at, rows=min(BLOCK_ROWS, first + rows - at))


def framed(made: EventBatch, *, first: int, source: str = SOURCE) -> Frame:
    """One batch as a frame."""
    stop = first + len(made)
    (frame,) = encode(made, positions=np.arange(first, stop), source=source, first=first, stop=stop, key=KEY)
    return frame


def frames(name: str, mix: Mix, *, rows: int, first: int = 0) -> Iterator[Frame]:
    """The rows from `first` as frames."""
    at = first
    for made in batches(name, mix, rows=rows, first=first):
        yield framed(made, first=at)
        at += len(made)


def later(frame: Frame, *, lap: int, rows: int, span_ms: int) -> Frame:
    """The frame once more as other events `lap` spans later: new event and prompt digests, the same links."""
    ids, numbers = frame.ids.copy(), frame.numbers.copy()
    salt = mix64(np.full(1, lap, np.uint64), seed=np.full(1, 5, np.uint64))[0]
    for column in (ID.EVENT, ID.ROW, ID.PROMPT):
        ids[:, column] ^= np.where(ids[:, column] != 0, salt, np.uint64(0))
    numbers[:, NUM.TIME] += lap * span_ms
    shift = lap * rows
    return frame._replace(
        ids=ids, numbers=numbers, positions=frame.positions + shift, first=frame.first + shift, stop=frame.stop + shift
    )
