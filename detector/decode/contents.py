"""Raw text of an event: `{system, prompt | messages, output}` to three string columns.

Purpose: give fingerprinting plain text, whatever shape the log keeps it in.
Invariants: an explicit `prompt` or `system` wins over what the messages say; how
messages become text is `shim.messages_to_content`'s. A wrong shape is a fault,
never an exception.
Limits: one record, so at most 1 MiB of text.
Source: the message shape that OpenAI, Anthropic and most gateways log.
"""

from collections.abc import Sequence
from typing import NamedTuple, NotRequired, TypedDict

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.fingerprint import Content
from detector.shim import messages_to_content


class Part(TypedDict, total=False):
    """One part of a message; only those with text count."""

    text: str | None


class Message(TypedDict):
    """One message of a conversation."""

    role: str
    content: NotRequired[str | list[Part | str] | None]


class Raw(msgspec.Struct, frozen=True):
    """The `content` object of an event."""

    system: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    output: str | None = None


class Contents(NamedTuple):
    """Text columns of a batch and the rows (bool) whose content had a wrong shape."""

    columns: Content
    bad: npt.NDArray[np.bool_]


def flatten(raw: Raw) -> tuple[str | None, str | None, str | None]:
    """The system prompt, the prompt and the output of one event.

    >>> flatten(Raw(messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]))
    ('Be brief.', 'Why?', None)
    """
    system, prompt = raw.system, raw.prompt
    if raw.messages is not None:
        said, asked, _turn = messages_to_content(raw.messages)
        system = said if system is None else system
        prompt = asked if prompt is None else prompt
    return system, prompt, raw.output


def _columns(rows: Sequence[tuple[str | None, str | None, str | None]]) -> Content:
    return Content(*(pa.array([row[part] for row in rows], pa.string()) for part in range(3)))


def read_contents(spans: Sequence[bytes | None]) -> Contents:
    """Read the JSON text of each event's content; None where an event has none.

    The bytes are sound JSON in UTF-8 already, so a failure is a wrong shape.
    """
    decoder = msgspec.json.Decoder(Raw)
    rows: list[tuple[str | None, str | None, str | None]] = []
    bad = np.zeros(len(spans), np.bool_)
    for index, span in enumerate(spans):
        row: tuple[str | None, str | None, str | None] = (None, None, None)
        if span is not None:
            try:
                row = flatten(decoder.decode(span))
            except msgspec.ValidationError:
                bad[index] = True
        rows.append(row)
    return Contents(_columns(rows), bad)


def convert_contents(values: Sequence[object]) -> Contents:
    """As `read_contents`, for Python objects as a Parquet struct column yields them."""
    rows: list[tuple[str | None, str | None, str | None]] = []
    bad = np.zeros(len(values), np.bool_)
    for index, value in enumerate(values):
        row: tuple[str | None, str | None, str | None] = (None, None, None)
        if value is not None:
            try:
                row = flatten(msgspec.convert(value, Raw))
            except msgspec.ValidationError:
                bad[index] = True
        rows.append(row)
    return Contents(_columns(rows), bad)
