"""Why a record is refused: the contract's words and the numbers that kernels use for them.

Invariants: code 0 means no fault; a code is an index of `REASONS`, and the order is
never written anywhere, so it may change.
"""

from typing import Final, NamedTuple, get_args

from detector.vocabulary import RejectReason

REASONS: Final[tuple[str, ...]] = ("", *get_args(RejectReason))

NOT_JSON: Final = REASONS.index("not_json")
NOT_OBJECT: Final = REASONS.index("not_object")
MISSING_FIELD: Final = REASONS.index("missing_field")
BAD_TYPE: Final = REASONS.index("bad_type")
BAD_VALUE: Final = REASONS.index("bad_value")
BAD_TIME: Final = REASONS.index("bad_time")
TOO_LARGE: Final = REASONS.index("too_large")
TOO_DEEP: Final = REASONS.index("too_deep")
IDENTIFIER_TOO_LONG: Final = REASONS.index("identifier_too_long")
BAD_ENCODING: Final = REASONS.index("bad_encoding")
DUPLICATE_KEY: Final = REASONS.index("duplicate_key")
UNKNOWN_SCHEMA: Final = REASONS.index("unknown_schema")


class Reject(NamedTuple):
    """One record that was refused, without any of its content.

    `position` is the index of the record in what was decoded, or its 1-based line
    (Parquet: row) where a file is read; `byte` counts from the record's first byte
    (in `truncated_input`: from the file's); `field` and `tenant` where known.
    """

    reason: str
    position: int
    byte: int | None = None
    field: str | None = None
    tenant: str | None = None
