"""Values of foreign records, converted: units, times, identifiers.

Purpose: one home for what every format needs: a value as the log has it, or what
access.v1 wants, or why there is neither.
Invariants: each function takes any JSON value and never raises: it returns the value, None
(absent: null, empty text, what vendors write for "nothing") or a `Fault`. Numbers fit 64
bits. A raw credential is never an identifier.
Limits: lengths, ranges and times are checked where all events are, in `decode`.
Source: RFC 3339; .NET `DateTime.Ticks` (100 ns since 0001-01-01).
"""

import hashlib
import ipaddress
import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson

from detector.events import EVENT_ID_BYTES_MAX
from detector.records import SchemaError, parse_time

WHOLE_MAX: Final = 1 << 63
DIGITS_MAX: Final = 19
TICKS_EPOCH: Final = 621_355_968_000_000_000
TICKS_PER_MS: Final = 10_000
NOTHING: Final = frozenset({"", "-", "null", "None", "N/A"})
_ZONED: Final = re.compile(r"(?:[zZ]|[+-]\d\d:\d\d)$")
# What providers' keys, bearer tokens and JSON web tokens begin with.
_CREDENTIAL: Final = re.compile(r"(?i:bearer|basic)\s|sk[-_]|pk[-_](?:live|test)|eyJ[\w-]+\.|AIza|gsk_|xai-|hf_")
_MASKED: Final = re.compile(r"(\d{1,3}\.\d{1,3}\.\d{1,3})\.[*x]{1,3}")
_INTERNAL: Final = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "127.0.0.0/8"),
        *("fc00::/7", "fe80::/10", "::1/128"),
    )
)
_WITH_PORT: Final = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]):\d{1,5}")


class Fault(NamedTuple):
    """Why a value cannot be taken: one of the contract's reject reasons."""

    reason: str


Converter = Callable[[Any], Any]
BAD_TYPE: Final = Fault("bad_type")
BAD_VALUE: Final = Fault("bad_value")
BAD_TIME: Final = Fault("bad_time")


def text(value: Any) -> str | Fault | None:
    """A string; numbers that serve as identifiers are written out.

    >>> text("u-1"), text(7), text("-"), text([])
    ('u-1', '7', None, Fault(reason='bad_type'))
    """
    if type(value) is str:
        return None if value in NOTHING else value
    if type(value) is int:
        return str(value)
    return None if value is None else BAD_TYPE


def short(value: Any) -> str | Fault | None:
    """A string that the client may have chosen: its digest where it is over-long, so that length hides no request.

    >>> short("s" * 400)[:11]
    'sha256:52c1'
    """
    found = text(value)
    if type(found) is not str or len(found) * 4 <= EVENT_ID_BYTES_MAX:
        return found
    raw = found.encode()
    return found if len(raw) <= EVENT_ID_BYTES_MAX else f"sha256:{hashlib.sha256(raw).hexdigest()}"


def identity(value: Any) -> str | Fault | None:
    """An account, organisation or key by its id; a raw credential is dropped.

    >>> identity("88dc28d0f030"), identity("sk-proj-1234"), identity("Bearer abc")
    ('88dc28d0f030', None, None)
    """
    found = text(value)
    return None if type(found) is str and _CREDENTIAL.match(found) else found


def number(value: Any) -> float | Fault | None:
    """A finite number, also as text.

    >>> number("0.5"), number(True), number("much")
    (0.5, Fault(reason='bad_type'), Fault(reason='bad_type'))
    """
    if type(value) is int or type(value) is float:
        return value if abs(value) < WHOLE_MAX else BAD_VALUE
    if value is None or (type(value) is str and value in NOTHING):
        return None
    if type(value) is not str or len(value) > 4 * DIGITS_MAX:
        return BAD_TYPE
    try:
        found = float(value) if not value.lstrip("-").isdecimal() else int(value)
    except ValueError:
        return BAD_TYPE
    return found if math.isfinite(found) and abs(found) < WHOLE_MAX else BAD_VALUE


def scaled(factor: float) -> Converter:
    """Make a converter of numbers to whole ones of another unit; negative spans (seen in Azure's logs) are absent.

    >>> scaled(1000)(0.0125), scaled(1)(-1021), scaled(1e-6)("1500000")
    (12, None, 2)
    """

    def convert(value: Any) -> int | Fault | None:
        found = number(value)
        if found is None or isinstance(found, Fault):
            return found
        return None if found < 0 else _whole(found * factor)

    return convert


def _whole(value: float) -> int | Fault:
    return round(value) if abs(value) < WHOLE_MAX else BAD_VALUE


def whole(value: Any) -> int | Fault | None:
    """A whole number, also as text (BigQuery and OTLP write 64-bit integers so).

    >>> whole("12"), whole(12.0), whole(1.5)
    (12, 12, Fault(reason='bad_type'))
    """
    if type(value) is int and -WHOLE_MAX < value < WHOLE_MAX:
        return value
    found = number(value)
    if isinstance(found, float):
        return int(found) if found == int(found) else BAD_TYPE
    return found


def flag(value: Any) -> bool | Fault | None:
    """A boolean; 0 and 1, and the words that logs use.

    >>> flag("TRUE"), flag(0), flag("perhaps")
    (True, False, Fault(reason='bad_type'))
    """
    if type(value) is bool or value is None:
        return value
    if value in (0, 1):
        return bool(value)
    words = {"true": True, "1": True, "false": False, "0": False}
    return words.get(value.lower(), BAD_TYPE) if type(value) is str else BAD_TYPE


def instant(value: Any) -> str | int | Fault | None:
    """RFC 3339 (what vendors document as UTC may lack its zone) or epoch milliseconds.

    >>> instant("2026-06-14 20:11:34.567 UTC"), instant("2026-06-14T20:11:34"), instant(1781467894567)
    ('2026-06-14 20:11:34.567Z', '2026-06-14T20:11:34Z', 1781467894567)
    """
    if type(value) is str:
        if value in NOTHING:
            return None
        bare = value.removesuffix("UTC").rstrip() if value.endswith("UTC") else value
        return bare if _ZONED.search(bare) else f"{bare}Z"
    found = number(value)
    return _whole(found) if type(found) is int or type(found) is float else BAD_TIME if found is not None else None


def epoch(factor: float) -> Converter:
    """Make a converter of epoch times to milliseconds; text that is no number is read as `instant` does.

    >>> epoch(1000)(1781467894.567), epoch(1e-6)("1781467894567000000"), epoch(1000)("2026-06-14T20:11:34Z")
    (1781467894567, 1781467894567, '2026-06-14T20:11:34Z')
    """

    def convert(value: Any) -> str | int | Fault | None:
        if type(value) is str and not value.isdecimal():
            return instant(value)
        found = number(value)
        if found is None or isinstance(found, Fault):
            return found if found is None else BAD_TIME
        return _whole(found * factor) if factor > 1 or type(found) is float else int(found) // round(1 / factor)

    return convert


def ticks(value: Any) -> int | Fault | None:
    """.NET ticks to epoch milliseconds; none where it is nothing that can be a time.

    >>> ticks(638515262825606520)
    1715929482560
    """
    found = whole(value)
    return found if type(found) is not int else (found - TICKS_EPOCH) // TICKS_PER_MS if found > TICKS_EPOCH else None


def milliseconds(value: Any) -> int | None:
    """The epoch milliseconds of what `instant` takes, for arithmetic; None where it is no time.

    >>> milliseconds("1970-01-01T00:00:01Z"), milliseconds("soon"), milliseconds(5)
    (1000, None, 5)
    """
    found = instant(value)
    if type(found) is str:
        try:
            return parse_time(found)
        except SchemaError:
            return None
    return found if type(found) is int else None


def address(value: Any) -> str | Fault | None:
    """A client's address: of a forwarded list the last public one, since the client may have made up what stands left.

    >>> address("10.9.8.7, 203.0.113.5, 10.0.0.1"), address("8.8.8.8:51234"), address("81.2.69.***"), address("me")
    ('203.0.113.5', '8.8.8.8', '81.2.69.0/24', None)
    """
    if type(value) is not str:
        return None if value is None else BAD_TYPE
    found = None
    for part in reversed(value.split(",")):
        bare = part.strip()
        if masked := _MASKED.fullmatch(bare):
            return f"{masked[1]}.0/24"
        if with_port := _WITH_PORT.fullmatch(bare):
            bare = with_port[1].strip("[]")
        public = _is_public(bare)
        if public:
            return bare
        if public is not None:
            found = found or bare
    return found


@lru_cache(maxsize=1 << 14)
def _is_public(bare: str) -> bool | None:
    """Whether an address is one that a client can come from; None for what is no address."""
    try:
        known = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return not any(known in network for network in _INTERNAL)


def operation(value: Any) -> str | Fault | None:
    """What was called (a path, a method's name) in OpenTelemetry's words where one fits.

    >>> operation("/v1/chat/completions"), operation("InvokeModelWithResponseStream"), operation("aembedding")
    ('chat', 'invokemodelwithresponsestream', 'embeddings')
    """
    found = short(value)
    if type(found) is not str:
        return found
    lower = found.lower()
    if lower.endswith("responses") or lower in _CHATS:  # InvokeModelWithResponseStream is no `responses`
        return "chat"
    for word, name in _OPERATIONS:
        if word in lower:
            return name
    return lower


_CHATS: Final = ("completion", "acompletion")  # LiteLLM's, whose completions of plain text are text_completion
_OPERATIONS: Final = (
    ("embed", "embeddings"),
    ("chat", "chat"),
    ("converse", "chat"),
    ("messages", "chat"),
    ("generatecontent", "generate_content"),
    ("generate_content", "generate_content"),
    ("completion", "text_completion"),
)


def tail(value: Any) -> str | Fault | None:
    """The last part of a resource's path.

    >>> tail("publishers/google/models/gemini-2.5-pro")
    'gemini-2.5-pro'
    """
    return short(value.rpartition("/")[2] if type(value) is str else value)


def first(value: Any) -> str | Fault | None:
    """The first of a list of words, or the word itself: finish reasons come as either."""
    return short(value[0] if type(value) is list and value else None if value == [] else value)


def keyed(value: Any) -> str | None:
    """A fingerprint that the log made in place of text (`hmac-sha256:<hex>`), else nothing.

    >>> keyed("hmac-sha256:09af"), keyed("Hello")
    ('hmac-sha256:09af', None)
    """
    return value if type(value) is str and re.fullmatch(r"hmac-sha256:[0-9a-f]{1,128}", value) else None


def lenient(convert: Converter) -> Converter:
    """Make a converter of what the client wrote: a wrong type is absent, so that nobody hides by sending one."""

    def kept(value: Any) -> Any:
        found = convert(value)
        return None if isinstance(found, Fault) else found

    return kept


def unpacked(value: Any) -> Any:
    """A JSON text's value where a log keeps an object as text; anything else as it is.

    >>> unpacked('{"a": 1}'), unpacked("plain"), unpacked([1])
    ({'a': 1}, 'plain', [1])
    """
    if type(value) is not str or value[:1] not in {"{", "["}:
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value
