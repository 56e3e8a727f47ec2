"""Frame: one encoded range of a source, as the judge reads it; and its wire form.

Purpose: the only thing that passes from encode to judge. A frame holds, for the
rows of one tenant in one range of one source, two dense matrices (64-bit keyed
digests and integers), the event ids, and the dictionary of the distinct
identifier strings behind the digests, because alerts and decisions must name the
event's own values.
Invariants: row-major matrices, one row per event, column order fixed by `ID` and
`NUM`; digest 0 and number -1 mean absent; `wire(unwire(b)) == b`; nothing in a
frame is prompt text.
What operators write travels in frames of its own kind, `OperatorFrame`, in the same log.
Limits: at most 2**31 - 1 rows and 2 GiB of names per frame; identifiers at most
256 bytes (encode rejects longer ones).
"""

from enum import IntEnum, IntFlag
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.records import DetectorError
from detector.vocabulary import OperatorKind

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

FRAME_VERSION = 2
_MAGIC = b"SWFR"
OPERATOR_MAGIC = b"SWOF"


class FrameError(DetectorError):
    """Bytes are no frame of a version that this program reads."""


class ID(IntEnum):
    """Columns of `Frame.ids` (uint64 digests)."""

    EVENT = 0
    ROW = 1
    ACCOUNT = 2
    ORG = 3
    API_KEY = 4
    END_USER = 5
    PROMPT = 6
    CONVERSATION = 7
    MODEL = 8
    SIGNATURE = 9  # of the reasoning that was issued
    ECHO = 10  # of the reasoning that was presented
    OUTPUT_RUN = 11
    # From here to the end: the digests that are link keys.
    SUBNET = 19
    PAYMENT = 20
    DEVICE = 21
    SIGNUP_IP = 22
    EMAIL_DOMAIN = 23
    ORG_LINK = 24
    SYSTEM = 25
    TEMPLATE = 26
    JA4 = 27
    PROGRAM = 28
    COHORT = 29
    ANCHOR = 30
    RUN = 38
    # Found by the judge, not by encode: who hands over to whom, and what one organisation got and another shows.
    HANDOFF = 46
    RETURN = 47


IDS = 48
LINKS_FIRST = int(ID.SUBNET)
LIST_WIDTH = 8


class NUM(IntEnum):
    """Columns of `Frame.numbers` (int64)."""

    TIME = 0
    INGEST = 1
    CREATED = 2
    INPUT = 3
    OUTPUT = 4
    REASONING = 5
    MAX_TOKENS = 6
    TURN = 7
    PROMPT_CHARS = 8
    OUTPUT_CHARS = 9
    COST_MICRO_USD = 10
    FLAGS = 11
    FIELDS = 12


NUMBERS = 13


class Flag(IntFlag):
    """Bits of `NUM.FLAGS`; a `*_KNOWN` bit says that the log states the fact at all."""

    STREAM = 1 << 0
    TOOLS_KNOWN = 1 << 1
    TOOLS = 1 << 2
    FINISH_KNOWN = 1 << 3
    CAPPED = 1 << 4
    REFUSED = 1 << 5
    ELICITATION_KNOWN = 1 << 6
    ELICITED = 1 << 7
    STYLE_KNOWN = 1 << 8
    LOWER_START = 1 << 9
    QUESTION = 1 << 10
    CONVERSATIONAL = 1 << 11
    CODE = 1 << 12
    VERB_FIRST = 1 << 13
    CONTAINED = 1 << 14
    DATACENTER = 1 << 15
    LOGPROBS = 1 << 16
    VERIFIED = 1 << 17
    DECLARED = 1 << 18
    ERROR = 1 << 19
    # Found by the judge: a request that goes on with an earlier answer, and with one that another organisation got.
    CONTINUED = 1 << 20
    HANDED = 1 << 21
    AFAR = 1 << 22  # ... on another network


TIER_SHIFT = 32  # the tier's index + 1 in `events.TIERS`, 0 unknown

# Fields whose presence decides whether a signature is on; bit i of NUM.FIELDS.
COVERED_FIELDS = (
    "org_id",
    "account_created_at",
    "account_tier",
    "payment_fp",
    "device_fp",
    "signup_ip_fp",
    "signup_email_domain_fp",
    "turn_index",
    "finish_reason",
    "stream",
    "max_tokens",
    "temperature",
    "tool_count",
    "reasoning_tokens",
    "client_ip",
    "asn",
    "ip_type",
    "sdk_name",
    "ja4",
    "system_prompt_fp",
    "template_fp",
    "anchor_fps",
    "prompt_fp",
    "run_fps",
    "prompt_chars",
    "prompt_style",
    "first_token_class",
    "visible_output_chars",
    "elicitation",
    "input_tokens",
    "output_tokens",
    "output_run_fps",
    "reasoning_signature_fp",
    "reasoning_signature_echo_fp",
    "logprobs_requested",
    "conversation_id",
)


class Frame(NamedTuple):
    """Rows of one tenant in the range `[first, stop)` of `source`."""

    tenant: str
    source: str
    first: int
    stop: int
    rejects: int
    ids: U64  # (rows, IDS)
    numbers: I64  # (rows, NUMBERS)
    positions: I64  # (rows,) offset or line of each row
    event_ids: pa.StringArray  # (rows,)
    name_digests: U64  # (names,) strictly increasing
    names: pa.StringArray  # (names,)


class _Header(msgspec.Struct, array_like=True, frozen=True):
    version: int
    tenant: str
    source: str
    first: int
    stop: int
    rejects: int
    rows: int
    names: int
    id_columns: list[int]
    number_columns: list[int]
    sizes: list[int]


def _string_parts(column: pa.StringArray) -> tuple[bytes, bytes]:
    column = pa.concat_arrays([column]) if column.offset else column
    offsets: npt.NDArray[np.int32] = np.zeros(1, np.int32)
    data = b""
    if len(column):
        _, raw_offsets, raw_data = column.buffers()
        offsets = np.frombuffer(raw_offsets, np.int32)[: len(column) + 1]
        data = raw_data.to_pybytes()[offsets[0] : offsets[-1]] if raw_data is not None else b""
        offsets = offsets - offsets[0]
    return offsets.tobytes(), data


def _string_column(offsets: bytes, data: bytes, rows: int) -> pa.StringArray:
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))


def wire(frame: Frame) -> bytes:
    """Write a frame: magic, header length, msgpack header, then the raw columns.

    A column that is absent throughout is left out, so a thin record costs little.
    """
    rows = frame.ids.shape[0]
    id_columns = [c for c in range(IDS) if frame.ids[:, c].any()]
    number_columns = [c for c in range(NUMBERS) if (frame.numbers[:, c] != -1).any()]
    parts: list[bytes] = [np.ascontiguousarray(frame.ids[:, c]).tobytes() for c in id_columns]
    parts += [np.ascontiguousarray(frame.numbers[:, c]).tobytes() for c in number_columns]
    parts += [frame.positions.tobytes(), *_string_parts(frame.event_ids)]
    parts += [frame.name_digests.tobytes(), *_string_parts(frame.names)]
    header = msgspec.msgpack.encode(
        _Header(
            FRAME_VERSION,
            frame.tenant,
            frame.source,
            frame.first,
            frame.stop,
            frame.rejects,
            rows,
            frame.name_digests.size,
            id_columns,
            number_columns,
            [len(p) for p in parts],
        )
    )
    return b"".join([_MAGIC, len(header).to_bytes(4, "little"), header, *parts])


def unwire(data: bytes) -> Frame:
    """Read a frame back. Raises `FrameError` for other bytes or another version."""
    if data[:4] != _MAGIC:
        raise FrameError(f"not a frame: starts with {data[:4]!r}, expected {_MAGIC!r}")
    size = int.from_bytes(data[4:8], "little")
    try:
        header = msgspec.msgpack.decode(data[8 : 8 + size], type=_Header)
    except msgspec.DecodeError as error:
        raise FrameError(f"frame header does not decode: {error}") from error
    if header.version != FRAME_VERSION:
        raise FrameError(f"frame version {header.version}, this program reads {FRAME_VERSION}: upgrade encode first")
    if 8 + size + sum(header.sizes) != len(data):
        raise FrameError(f"frame of {len(data)} bytes, its header says {8 + size + sum(header.sizes)}")
    view, at = memoryview(data), 8 + size
    parts: list[memoryview] = []
    for length in header.sizes:
        parts.append(view[at : at + length])
        at += length
    rows = header.rows
    ids = np.zeros((rows, IDS), np.uint64)
    numbers = np.full((rows, NUMBERS), -1, np.int64)
    for part, column in zip(parts, header.id_columns, strict=False):
        ids[:, column] = np.frombuffer(part, np.uint64)
    shift = len(header.id_columns)
    for part, column in zip(parts[shift:], header.number_columns, strict=False):
        numbers[:, column] = np.frombuffer(part, np.int64)
    tail = parts[shift + len(header.number_columns) :]
    return Frame(
        tenant=header.tenant,
        source=header.source,
        first=header.first,
        stop=header.stop,
        rejects=header.rejects,
        ids=ids,
        numbers=numbers,
        positions=np.frombuffer(tail[0], np.int64),
        event_ids=_string_column(bytes(tail[1]), bytes(tail[2]), rows),
        name_digests=np.frombuffer(tail[3], np.uint64),
        names=_string_column(bytes(tail[4]), bytes(tail[5]), header.names),
    )


def empty_frame(tenant: str, source: str, *, first: int, stop: int, rejects: int = 0) -> Frame:
    """State that a range of a source holds nothing for this tenant."""
    none = pa.array([], pa.string())
    return Frame(
        tenant,
        source,
        first,
        stop,
        rejects,
        np.zeros((0, IDS), np.uint64),
        np.zeros((0, NUMBERS), np.int64),
        np.zeros(0, np.int64),
        none,
        np.zeros(0, np.uint64),
        none,
    )


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One operator's record: its place, when it was appended, its kind, its canonical JSON.

    `digest` is that of its value under its scope's kind, as in `Frame.ids`; 0 where it names none.
    """

    ingest_ms: int
    position: int
    kind: OperatorKind
    digest: int
    raw: bytes


class OperatorFrame(msgspec.Struct, frozen=True, array_like=True):
    """Operators' records for one tenant in the range `[first, stop)` of `source`.

    They act at their place in the log; `timed` ones (recorded, in a file) when event time
    reaches the time at which they were appended.
    """

    version: int
    tenant: str
    source: str
    first: int
    stop: int
    timed: bool
    entries: tuple[Entry, ...]


def wire_operators(frame: OperatorFrame) -> bytes:
    """Write an operators' frame: magic, then msgpack."""
    return OPERATOR_MAGIC + msgspec.msgpack.encode(frame)


def unwire_operators(data: bytes) -> OperatorFrame:
    """Read an operators' frame back. Raises `FrameError` for other bytes or another version."""
    if data[:4] != OPERATOR_MAGIC:
        raise FrameError(f"not an operators' frame: starts with {data[:4]!r}, expected {OPERATOR_MAGIC!r}")
    try:
        frame = msgspec.msgpack.decode(data[4:], type=OperatorFrame)
    except msgspec.DecodeError as error:
        raise FrameError(f"operators' frame of {len(data)} bytes does not decode: {error}") from error
    if frame.version != FRAME_VERSION:
        raise FrameError(f"operators' frame version {frame.version}, this program reads {FRAME_VERSION}: upgrade it")
    return frame
