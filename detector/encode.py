"""encode: a batch of decoded events -> frames, one per tenant.

Purpose: turn identifiers into keyed digests and facts into flags, once, so that
the judge folds integers only.
Invariants: a pure map of rows: how rows are cut into batches changes no row.
Every range yields a frame for every tenant asked for, empty if need be.
Limits: those of `frames`.
Source: the fields and their meaning are `access.v1`'s.
"""

import ipaddress
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector import hashing
from detector.events import ELICITATION_KINDS, FIRST_TOKEN_CLASSES, TIERS, EventBatch
from detector.frames import (
    COVERED_FIELDS,
    ID,
    IDS,
    LIST_WIDTH,
    NUM,
    NUMBERS,
    TIER_SHIFT,
    Flag,
    Frame,
    empty_frame,
)

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
Names = list[tuple[U64, pa.StringArray]]
Word = TypeVar("Word", np.uint64, np.int64)

DEFAULT_TENANT = "default"
WEEK_MS = 604_800_000
# A score of one half is where the gateway's scorer itself says "more likely than not".
ELICITATION_SCORE_MIN = 0.5
# Traits of data collection; refusal probing is its own thing and not an output harvest.
_HARVEST_KINDS = ("cot", "rubric_grading", "rewrite", "self_instruct", "tool_trace", "json_dataset", "signature_replay")
_CAPPED_REASONS = ("length", "max_tokens", "max_output_tokens")
_REFUSED_REASONS = ("content_filter", "refusal", "safety")

# Identifier columns whose strings travel with the frame: (field, id column, kind).
_NAMED = (
    ("account_id", ID.ACCOUNT, b"account"),
    ("org_id", ID.ORG, b"org"),
    ("api_key_id", ID.API_KEY, b"api_key"),
    ("end_user_id", ID.END_USER, b"end_user"),
    ("request_model", ID.MODEL, b"model"),
    ("payment_fp", ID.PAYMENT, b"payment"),
    ("device_fp", ID.DEVICE, b"device"),
    ("signup_ip_fp", ID.SIGNUP_IP, b"signup_ip"),
    ("signup_email_domain_fp", ID.EMAIL_DOMAIN, b"email_domain"),
    ("system_prompt_fp", ID.SYSTEM, b"system"),
    ("template_fp", ID.TEMPLATE, b"template"),
    ("ja4", ID.JA4, b"ja4"),
)
_DIGESTED = (
    ("event_id", ID.EVENT, b"event"),
    ("prompt_fp", ID.PROMPT, b"prompt"),
    ("conversation_id", ID.CONVERSATION, b"conversation"),
    # One kind: a signature is looked for where it was issued.
    ("reasoning_signature_fp", ID.SIGNATURE, b"signature"),
    ("reasoning_signature_echo_fp", ID.ECHO, b"signature"),
)
_INTEGERS = (
    ("account_created_at", NUM.CREATED),
    ("reasoning_tokens", NUM.REASONING),
    ("max_tokens", NUM.MAX_TOKENS),
    ("turn_index", NUM.TURN),
    ("prompt_chars", NUM.PROMPT_CHARS),
    ("visible_output_chars", NUM.OUTPUT_CHARS),
)


def subnet_of(address: str) -> str:
    """Name the /24 or /64 of an address or prefix; a wider prefix stays as it is.

    >>> subnet_of("203.0.113.9"), subnet_of("2001:db8::1"), subnet_of("10.0.0.0/16")
    ('203.0.113.0/24', '2001:db8::/64', '10.0.0.0/16')
    """
    head, dot, tail = address.rpartition(".")
    if dot and ":" not in address and ("/" not in address or tail.endswith("/24")):
        return f"{head}.0/24"
    network = ipaddress.ip_network(address, strict=False)
    width = 24 if network.version == 4 else 64
    return str(network.supernet(new_prefix=width) if network.prefixlen > width else network)


def _named(column: pa.Array, kind: bytes, key: bytes, names: Names, rename: Callable[[str], str] | None = None) -> U64:
    """Digest a column of few distinct values through its dictionary; keep the strings."""
    coded = column.dictionary_encode()
    values = coded.dictionary
    if rename is not None:
        values = pa.array([rename(v) for v in values.to_pylist()], pa.string())
    digests = hashing.digest64(kind, values, key=key)
    names.append((digests, values))
    return _gather(digests, coded)


def _gather(digests: U64, coded: pa.DictionaryArray) -> U64:
    if coded.null_count == 0:
        return digests[coded.indices.to_numpy()]
    padded = np.append(digests, hashing.ABSENT)
    return padded[coded.indices.fill_null(digests.size).to_numpy()]


def _distinct(words: npt.NDArray[Word]) -> tuple[npt.NDArray[Word], npt.NDArray[np.intp], npt.NDArray[np.int32]]:
    """The distinct values in the order of their first rows, those rows, and which value each row has."""
    coded = pa.array(words).dictionary_encode()
    distinct, inverse = coded.dictionary.to_numpy(), coded.indices.to_numpy()
    first = np.empty(distinct.size, np.intp)
    first[inverse[::-1]] = np.arange(words.size - 1, -1, -1)  # of several assignments the last one stays
    return distinct, first, inverse


def _items(prompts: U64, bias: pa.StringArray, key: bytes) -> U64:
    """Digest what is asked: the prompt and, where one is given, the logit bias; a probe asks one prompt under many."""
    biases = hashing.digest64(b"bias", bias, key=key)
    items = hashing.digest64_words(b"item", prompts ^ biases, key=key)
    return np.where((prompts != 0) & (biases != 0), items, prompts)


def _integers(column: pa.Array) -> I64:
    return column.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64, copy=False)


def _truth(column: pa.Array) -> npt.NDArray[np.bool_]:
    return column.fill_null(False).to_numpy(zero_copy_only=False)


def _present(column: pa.Array) -> npt.NDArray[np.bool_]:
    return column.is_valid().to_numpy(zero_copy_only=False)


def _lists(column: pa.ListArray, kind: bytes, key: bytes, out: U64) -> None:
    """Spread a list column over `LIST_WIDTH` digest columns of `out`, absent ones 0."""
    flat = column.flatten()
    if len(flat) == 0:
        return
    lengths = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    values = hashing.digest64_words(kind, flat.to_numpy(zero_copy_only=False).astype(np.uint64), key=key)
    rows = np.repeat(np.arange(len(column)), lengths)
    starts = np.cumsum(lengths) - lengths
    within = np.arange(values.size) - np.repeat(starts, lengths)
    keep = within < LIST_WIDTH
    out[rows[keep], within[keep]] = values[keep]


def _program(batch: EventBatch, ids: U64, numbers: I64, key: bytes, names: Names) -> U64:
    """Digest the client's program: SDK, stream, max_tokens, model, temperature; 0 if only the model is known."""
    sdk = hashing.digest64(b"sdk", batch.column("sdk_name").cast(pa.string()), key=key)
    stream = np.where(_present(batch.column("stream")), _truth(batch.column("stream")).astype(np.int64), -1)
    temperature = batch.column("temperature").fill_null(-1.0).to_numpy(zero_copy_only=False)
    milli = np.where(temperature < 0, -1, np.rint(temperature * 1000)).astype(np.int64)
    parts = np.stack(
        [sdk.view(np.int64), stream, numbers[:, NUM.MAX_TOKENS], ids[:, ID.MODEL].view(np.int64), milli], 1
    )
    out = np.empty(len(batch), np.uint64)
    k0, k1 = hashing.subkey(key, b"program")
    hashing.digest_rows(parts.view(np.uint64), np.zeros((len(batch), 0), np.int64), k0, k1, out)
    known = (sdk != 0) | (stream >= 0) | (numbers[:, NUM.MAX_TOKENS] >= 0) | (milli >= 0)
    out[~known] = hashing.ABSENT
    distinct, first, _ = _distinct(out)
    shown = distinct != 0
    sdks, models = batch.column("sdk_name"), batch.column("request_model")
    words = []
    for i in first[shown].tolist():
        parts_known = {
            "sdk": sdks[i].as_py(),
            "stream": None if stream[i] < 0 else bool(stream[i]),
            "max_tokens": None if numbers[i, NUM.MAX_TOKENS] < 0 else numbers[i, NUM.MAX_TOKENS],
            "temperature": None if milli[i] < 0 else f"{milli[i] / 1000:g}",
            "model": models[i].as_py(),
        }
        words.append(" ".join(f"{name}={value}" for name, value in parts_known.items() if value is not None))
    names.append((distinct[shown], pa.array(words, pa.string())))
    return out


def _cohort(tiers: I64, created: I64, key: bytes, names: Names) -> U64:
    """Digest the account's week of creation and tier; 0 where the age is unknown."""
    weeks = np.where(created >= 0, created // WEEK_MS, -1)
    codes, _, inverse = _distinct(np.where(weeks < 0, -1, weeks * 16 + tiers))
    digests = hashing.digest64_words(b"cohort", codes.view(np.uint64), key=key)
    digests[codes < 0] = hashing.ABSENT
    shown = codes >= 0
    words = [f"week {c // 16} tier {TIERS[c % 16 - 1] if c % 16 else 'unknown'}" for c in codes[shown].tolist()]
    names.append((digests[shown], pa.array(words, pa.string())))
    return digests[inverse]


def _equals_any(column: pa.Array, values: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    return pc.is_in(column, value_set=pa.array(values, pa.string())).to_numpy(zero_copy_only=False)


def _flags(batch: EventBatch, numbers: I64) -> tuple[I64, I64]:
    """Pack the yes/no facts; returns (flags, tier codes)."""
    flags = np.zeros(len(batch), np.int64)

    def put(flag: Flag, where: npt.NDArray[np.bool_]) -> None:
        flags[where] |= int(flag)

    def col(name: str) -> pa.Array:
        return batch.column(name)

    put(Flag.STREAM, _truth(col("stream")))
    put(Flag.TOOLS_KNOWN, _present(col("tool_count")))
    put(Flag.TOOLS, _integers(col("tool_count")) > 0)
    put(Flag.FINISH_KNOWN, _present(col("finish_reason")))
    cap = numbers[:, NUM.MAX_TOKENS]
    put(Flag.CAPPED, _equals_any(col("finish_reason"), _CAPPED_REASONS) | ((cap > 1) & (numbers[:, NUM.OUTPUT] >= cap)))
    put(Flag.REFUSED, _equals_any(col("finish_reason"), _REFUSED_REASONS))
    if col("elicitation").null_count < len(batch):
        known = _present(col("elicitation"))
        scores = np.zeros(len(batch))
        for kind in _HARVEST_KINDS:
            score = col("elicitation").field(ELICITATION_KINDS.index(kind)).fill_null(0.0)
            scores = np.maximum(scores, score.to_numpy(zero_copy_only=False))
        put(Flag.ELICITATION_KNOWN, known)
        put(Flag.ELICITED, known & (scores >= ELICITATION_SCORE_MIN))
    style = _integers(col("prompt_style"))
    put(Flag.STYLE_KNOWN, style >= 0)
    for bit, flag in enumerate((Flag.LOWER_START, Flag.QUESTION, Flag.CONVERSATIONAL, Flag.CODE)):
        put(flag, (style >= 0) & ((style >> bit) & 1 == 1))
    put(Flag.VERB_FIRST, _equals_any(col("first_token_class"), FIRST_TOKEN_CLASSES[:1]))
    put(Flag.CONTAINED, _equals_any(col("disposition"), ("challenged", "blocked")))
    put(Flag.DATACENTER, _equals_any(col("ip_type"), ("datacenter", "vpn", "tor")))
    put(Flag.LOGPROBS, _truth(col("logprobs_requested")))
    put(Flag.VERIFIED, _truth(col("payer_verified")))
    put(Flag.DECLARED, _present(col("declared_use")))
    put(Flag.ERROR, _integers(col("status_code")) >= 400)
    codes = pc.index_in(col("account_tier"), value_set=pa.array(TIERS)).fill_null(-1).to_numpy(zero_copy_only=False)
    tiers = codes.astype(np.int64) + 1
    return flags | (tiers << TIER_SHIFT), tiers


def _fields(batch: EventBatch) -> I64:
    out = np.zeros(len(batch), np.int64)
    for bit, name in enumerate(COVERED_FIELDS):
        column = batch.column(name)
        if column.null_count == 0:
            out |= 1 << bit
        elif column.null_count < len(batch):
            out |= _present(column).astype(np.int64) << bit
    return out


def _matrices(batch: EventBatch, ingest_ms: I64 | None, key: bytes) -> tuple[U64, I64, Names]:
    rows = len(batch)
    ids, numbers = np.zeros((rows, IDS), np.uint64), np.full((rows, NUMBERS), -1, np.int64)
    names: Names = []
    for field, column, kind in _NAMED:
        if batch.column(field).null_count < rows:
            ids[:, column] = _named(batch.column(field), kind, key, names)
    for field, column, kind in _DIGESTED:
        if batch.column(field).null_count < rows:
            ids[:, column] = hashing.digest64(kind, batch.column(field), key=key)
    if batch.column("logit_bias_fp").null_count < rows:
        ids[:, ID.PROMPT] = _items(ids[:, ID.PROMPT], batch.column("logit_bias_fp"), key)
    if batch.column("client_ip").null_count < rows:
        ids[:, ID.SUBNET] = _named(batch.column("client_ip"), b"subnet", key, names, subnet_of)
    ids[:, ID.ORG_LINK] = ids[:, ID.ORG]
    _lists(batch.column("anchor_fps"), b"anchor", key, ids[:, ID.ANCHOR : ID.ANCHOR + LIST_WIDTH])
    _lists(batch.column("run_fps"), b"run", key, ids[:, ID.RUN : ID.RUN + LIST_WIDTH])
    _lists(batch.column("output_run_fps"), b"run", key, ids[:, ID.OUTPUT_RUN : ID.OUTPUT_RUN + LIST_WIDTH])
    numbers[:, NUM.TIME] = _integers(batch.column("event_time"))
    if ingest_ms is not None:
        numbers[:, NUM.INGEST] = ingest_ms
    for field, number in _INTEGERS:
        numbers[:, number] = _integers(batch.column(field))
    # Where a gateway counts bytes only, four bytes make a token (English text, BPE vocabularies).
    for field, instead, number in (
        ("input_tokens", "input_bytes", NUM.INPUT),
        ("output_tokens", "output_bytes", NUM.OUTPUT),
    ):
        tokens, size = _integers(batch.column(field)), _integers(batch.column(instead))
        numbers[:, number] = np.where((tokens < 0) & (size >= 0), size // 4, tokens)
    cost = batch.column("cost_usd").fill_null(-1e-6).to_numpy(zero_copy_only=False)
    numbers[:, NUM.COST_MICRO_USD] = np.rint(np.clip(cost, -1e-6, 1e9) * 1e6).astype(np.int64)
    ids[:, ID.PROGRAM] = _program(batch, ids, numbers, key, names)
    numbers[:, NUM.FLAGS], tiers = _flags(batch, numbers)
    ids[:, ID.COHORT] = _cohort(tiers, numbers[:, NUM.CREATED], key, names)
    numbers[:, NUM.FIELDS] = _fields(batch)
    k0, k1 = hashing.subkey(key, b"row")
    digests = np.empty(rows, np.uint64)
    hashing.digest_rows(ids, numbers, k0, k1, digests)
    ids[:, ID.ROW] = digests
    return ids, numbers, names


def _dictionary(names: Names) -> tuple[U64, pa.StringArray]:
    digests = np.concatenate([d for d, _ in names])
    strings = pa.concat_arrays([s for _, s in names])
    distinct, first = np.unique(digests, return_index=True)
    if distinct.size and distinct[0] == 0:
        distinct, first = distinct[1:], first[1:]
    return distinct, strings.take(pa.array(first))


def encode(
    batch: EventBatch,
    *,
    positions: I64,
    source: str,
    first: int,
    stop: int,
    key: bytes,
    rejects: int = 0,
    ingest_ms: I64 | None = None,
    tenants: tuple[str, ...] = (),
) -> list[Frame]:
    """Encode the kept rows of the range `[first, stop)` of `source`.

    `positions` (int64, rows) are their offsets or lines. One frame for each of
    `tenants`, empty if need be, then one for each further tenant of the batch.
    """
    if len(batch) == 0:
        return [empty_frame(t, source, first=first, stop=stop, rejects=rejects) for t in tenants or (DEFAULT_TENANT,)]
    ids, numbers, names = _matrices(batch, ingest_ms, key)
    name_digests, strings = _dictionary(names)
    event_ids = batch.column("event_id")
    coded = batch.column("tenant").fill_null(DEFAULT_TENANT).dictionary_encode()
    present = coded.dictionary.to_pylist()
    frames = []
    for tenant in [*tenants, *sorted(set(present) - set(tenants))]:
        if present == [tenant]:
            parts = (ids, numbers, positions, event_ids)
        elif tenant in present:
            at = np.flatnonzero(coded.indices.to_numpy() == present.index(tenant))
            parts = (ids[at], numbers[at], positions[at], event_ids.take(pa.array(at)))
        else:
            frames.append(empty_frame(tenant, source, first=first, stop=stop, rejects=rejects))
            continue
        frames.append(Frame(tenant, source, first, stop, rejects, *parts, name_digests, strings))
    return frames
