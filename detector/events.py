"""EventBatch: the columns of `access.v1`.

Purpose: one table of the access event's fields, and one columnar form that every
reader (JSON lines, Parquet, generator, foreign formats) produces.
Invariants: an event batch is a `pyarrow.RecordBatch` with exactly `SCHEMA`, in
its order; absent and null are the same; times are int64 epoch milliseconds, UTC.
Raw text (`content`) is never a column here.
Limits: identifiers and fingerprints at most 256 bytes, `event_id` at most 128,
records at most 1 MiB, lists at most 8 entries, nesting at most 32 levels.
"""

from typing import NamedTuple, TypeAlias

import pyarrow as pa

SCHEMA_VERSION = "access.v1"
RECORD_BYTES_MAX = 1 << 20
IDENTIFIER_BYTES_MAX = 256
EVENT_ID_BYTES_MAX = 128
LIST_ITEMS_MAX = 8
NESTING_MAX = 32
EXT_BYTES_MAX = 4096
TIME_MS_MIN = 1_420_070_400_000  # 2015-01-01T00:00:00Z

ELICITATION_KINDS = (
    "cot",
    "rubric_grading",
    "rewrite",
    "self_instruct",
    "tool_trace",
    "refusal_probe",
    "json_dataset",
    "signature_replay",
)
ELICITATION = pa.struct([(kind, pa.float32()) for kind in ELICITATION_KINDS])
FINGERPRINTS = pa.list_(pa.uint64())
TIERS = ("free", "trial", "edu", "paygo", "enterprise", "internal")
FIRST_TOKEN_CLASSES = ("verb", "wh-word", "pronoun", "greeting", "noun", "number", "symbol", "other")
STYLE_BITS = ("lower_case_start", "question_mark_end", "conversational", "code_block", "list", "paragraphs")


class Field(NamedTuple):
    """One field of the access event: its Arrow type and its class of data.

    `klass` is O operational, P pseudonymous, N network or F content fingerprint.
    """

    name: str
    type: pa.DataType
    klass: str
    required: bool = False


_S, _I, _F, _B = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TIME = pa.int64()

FIELDS: tuple[Field, ...] = (
    Field("event_id", _S, "O", required=True),
    Field("event_time", _TIME, "O", required=True),
    Field("account_id", _S, "P", required=True),
    Field("request_model", _S, "O", required=True),
    # Token counts are required as keys; their value may be null.
    Field("input_tokens", _I, "O"),
    Field("output_tokens", _I, "O"),
    Field("tenant", _S, "O"),
    Field("input_bytes", _I, "O"),
    Field("output_bytes", _I, "O"),
    Field("org_id", _S, "P"),
    Field("project_id", _S, "P"),
    Field("api_key_id", _S, "P"),
    Field("end_user_id", _S, "P"),
    Field("reseller_id", _S, "P"),
    Field("account_created_at", _TIME, "O"),
    Field("account_tier", _S, "O"),
    Field("payment_fp", _S, "P"),
    Field("device_fp", _S, "P"),
    Field("signup_ip_fp", _S, "P"),
    Field("signup_email_domain_fp", _S, "P"),
    Field("conversation_id", _S, "P"),
    Field("turn_index", _I, "O"),
    Field("provider", _S, "O"),
    Field("operation", _S, "O"),
    Field("response_model", _S, "O"),
    Field("status_code", _I, "O"),
    Field("error_type", _S, "O"),
    Field("finish_reason", _S, "O"),
    Field("stream", _B, "O"),
    Field("batch", _B, "O"),
    Field("max_tokens", _I, "O"),
    Field("temperature", _F, "O"),
    Field("top_p", _F, "O"),
    Field("top_k", _I, "O"),
    Field("n", _I, "O"),
    Field("seed", _I, "O"),
    Field("reasoning_effort", _S, "O"),
    Field("logprobs_requested", _B, "O"),
    Field("top_logprobs", _I, "O"),
    Field("logit_bias_fp", _S, "F"),
    Field("structured_output", _B, "O"),
    Field("tool_count", _I, "O"),
    Field("tools_fp", _S, "F"),
    Field("image_count", _I, "O"),
    Field("reasoning_tokens", _I, "O"),
    Field("cached_input_tokens", _I, "O"),
    Field("latency_ms", _I, "O"),
    Field("ttft_ms", _I, "O"),
    Field("cost_usd", _F, "O"),
    Field("client_ip", _S, "N"),
    Field("asn", _I, "N"),
    Field("country", _S, "N"),
    Field("ip_type", _S, "N"),
    Field("user_agent", _S, "N"),
    Field("sdk_name", _S, "O"),
    Field("sdk_version", _S, "O"),
    Field("ja4", _S, "N"),
    Field("system_prompt_fp", _S, "F"),
    Field("template_fp", _S, "F"),
    Field("anchor_fps", FINGERPRINTS, "F"),
    Field("prompt_fp", _S, "F"),
    Field("run_fps", FINGERPRINTS, "F"),
    Field("prompt_chars", _I, "O"),
    Field("prompt_lang", _S, "O"),
    Field("topic_bucket", _I, "F"),
    Field("prompt_style", _I, "F"),
    Field("first_token_class", _S, "F"),
    Field("visible_output_chars", _I, "O"),
    Field("declared_use", _S, "O"),
    Field("payer_verified", _B, "O"),
    Field("elicitation", ELICITATION, "F"),
    Field("output_run_fps", FINGERPRINTS, "F"),
    Field("reasoning_signature_fp", _S, "F"),
    Field("reasoning_signature_echo_fp", _S, "F"),
    Field("canary_hit", _B, "F"),
    Field("disposition", _S, "O"),
    Field("decision_id", _S, "O"),
    Field("fp_key_id", _S, "O"),
)
SCHEMA = pa.schema([(f.name, f.type) for f in FIELDS])
REQUIRED = tuple(f.name for f in FIELDS if f.required)

EventBatch: TypeAlias = pa.RecordBatch


def event_batch(columns: dict[str, pa.Array], *, rows: int) -> EventBatch:
    """Assemble an event batch from the columns at hand; the others become null.

    Columns are cast to `SCHEMA`'s types. Raises `KeyError` for a name that is no
    field and `ValueError` for a column of another length.

    >>> event_batch({"event_id": pa.array(["e1"])}, rows=1).num_columns == len(FIELDS)
    True
    """
    for name, column in columns.items():
        if name not in SCHEMA.names:
            raise KeyError(f"{name!r} is no field of {SCHEMA_VERSION}")
        if len(column) != rows:
            raise ValueError(f"column {name!r} has {len(column)} rows, expected {rows}")
    arrays = []
    for f in FIELDS:
        column = columns.get(f.name)
        if column is None:
            arrays.append(pa.nulls(rows, f.type))
        else:
            arrays.append(column if column.type == f.type else column.cast(f.type))
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
