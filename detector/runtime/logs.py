"""Logs: events with a few fields, and nothing that a record could have put there.

Purpose: one form for what this program and its libraries say: JSON lines for collectors, text
for people.
Invariants: a line has the fields of `FIELDS` only. Of an exception its type is written, and its
text only where this program or a Kafka client wrote it; a trace is a list of places in code.
What a library hands to its message is written if it is a number, a partition or a plain name,
else as its type: an argument may be anything, a record too. Libraries speak from WARNING on.
Limits: a message has at most `MESSAGE_CHARS_MAX` characters; what native code prints is its own. Of a
library's sentence that was put together before it was logged, the first words are written.
Source: the names of fields follow Elastic's Common Schema.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, TextIO

import structlog
from aiokafka.errors import KafkaError as ClientError
from kafka.errors import KafkaError as AdminError
from structlog.typing import EventDict, Processor, WrappedLogger

from detector.records import DetectorError, SchemaError
from detector.sinks.escaping import printable

OWN: Final = "stillwatch"
FIELDS: Final = ("event.action", "alert_id", "decision_id", "partition", "offset", "error.type", "error.places")
MESSAGE_CHARS_MAX: Final = 500
PLACES_MAX: Final = 12
# Topics, groups, hosts, states: what a client names. Longer or odder than that it may be a record.
_NAME: Final = re.compile(r"[\w.:/@-]{1,64}")
_CONVERSION: Final = re.compile(r"%(\(\w+\))?[-#0 +]*\d*(?:\.\d+)?[a-zA-Z]")
_LIBRARIES: Final = ("aiokafka", "faust", "mode", "kafka", "aiohttp", "asyncio", "py.warnings", "numba")


class LogFormat(StrEnum):
    """How lines are written; auto: text on a terminal, else JSON."""

    auto = "auto"
    json = "json"
    text = "text"


def name_of(wrong: BaseException) -> str:
    """Say what went wrong without quoting anything that was read.

    >>> name_of(KeyError("an account")), name_of(DetectorError("frames are missing"))
    ('KeyError', 'DetectorError: frames are missing')
    """
    kind = type(wrong).__name__
    if isinstance(wrong, DetectorError | ClientError | AdminError) and not isinstance(wrong, SchemaError):
        return f"{kind}: {wrong}"
    if isinstance(wrong, OSError) and wrong.strerror:
        return f"{kind}: {wrong.strerror}"
    return kind


def places_of(trace: TracebackType | None) -> list[str]:
    """The places in code that an exception came through, the innermost last."""
    frames = traceback.extract_tb(trace)[-PLACES_MAX:]
    return [f"{frame.filename.rpartition('site-packages/')[2]}:{frame.lineno} {frame.name}" for frame in frames]


def _plain(value: Any) -> Any:
    """What of an argument may be written."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, BaseException):
        return name_of(value)
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) else f"<str of {len(value)}>"
    if isinstance(value, tuple | list | set | frozenset):
        return tuple(_plain(item) for item in value)
    return f"<{type(value).__name__}>"


def message_of(text: str, args: Any, *, own: bool) -> str:
    """The sentence of a record: what is put into it is written only where it is plain, or our own."""
    if not args:
        # A library's sentence is its own constant, or was put together before it came here.
        said = text if own else _constant(text)
    else:
        write = _own if own else _plain
        plain = {k: write(v) for k, v in args.items()} if isinstance(args, Mapping) else tuple(map(write, args))
        try:
            said = (text if own else _CONVERSION.sub(r"%\1s", text)) % plain
        except (TypeError, ValueError, KeyError):
            said = text
    return said if len(said) <= MESSAGE_CHARS_MAX else f"{said[:MESSAGE_CHARS_MAX]}…"


def _own(value: Any) -> Any:
    return name_of(value) if isinstance(value, BaseException) else value


def _constant(text: str) -> str:
    """Keep the first words of a finished sentence: what was put into it stands behind a mark or a digit.

    >>> _constant("Cannot send to a7: 'the prompt'"), _constant("Broker is gone")
    ('Cannot send to a…', 'Broker is gone')
    """
    return re.sub(r"""["'`(){}\[\]<>=:_\d\n].*""", "…", text, flags=re.DOTALL)


def _fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Turn a record into the fields of a line."""
    record: logging.LogRecord = event["_record"]
    own = record.name.split(".")[0] == OWN
    out: dict[str, Any] = {
        "@timestamp": event["timestamp"],
        "log.level": record.levelname.lower(),
        "log.logger": record.name,
        "message": message_of(event["event"], event["positional_args"], own=own),
    }
    said = {**vars(record), "event.action": getattr(record, "action", None)} if own else {}
    _, wrong, trace = event.get("exc_info") or (None, None, None)
    if wrong is not None:
        said["error.type"], said["error.places"] = name_of(wrong), places_of(trace)
    return out | {name: said[name] for name in FIELDS if said.get(name) is not None}


def _as_text(_: WrappedLogger, __: str, event: EventDict) -> str:
    """A line for a person."""
    more = " ".join(f"{name}={event[name]}" for name in FIELDS if name in event and name != "event.action")
    said = f"{event['@timestamp']} {event['log.level']:<7} {event['log.logger']}: {event['message']}"
    return printable(f"{said} ({more})" if more else said)


def begin(form: LogFormat, *, verbose: bool = False, stream: TextIO | None = None) -> None:
    """Write everything that is logged from now on in one form to `stream` (standard error)."""
    out = stream or sys.stderr
    text = form is LogFormat.text or (form is LogFormat.auto and out.isatty())
    stamp: Processor = structlog.processors.TimeStamper(fmt="iso", utc=True)
    last: Processor = _as_text if text else structlog.processors.JSONRenderer(ensure_ascii=True)
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[stamp, _fields, last], use_get_message=False, pass_foreign_args=True
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(OWN).setLevel(logging.DEBUG if verbose else logging.INFO)
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
    logging.captureWarnings(capture=True)
