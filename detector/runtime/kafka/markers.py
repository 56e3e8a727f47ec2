"""Markers: what the frames topic says besides frames: a clock that advances, a source that ends.

Purpose: time and ends are input too, so they stand in the same ordered log as frames.
Invariants: a marker speaks about the source's log up to `position`; one that comes twice or
late says nothing new.
Limits: a few bytes; the version is refused if it is another, never guessed.
"""

from typing import Literal

import msgspec

from detector.frames import FrameError

MARKER_VERSION = 1
MARKER_MAGIC = b"SWMK"


class Marker(msgspec.Struct, frozen=True, array_like=True):
    """`tick`: nothing before `time_ms` will come behind `position`; `end`: the source ends there.

    `follow` is a tick whose time was taken from other sources, so that nobody takes it for news of this one.
    """

    version: int
    kind: Literal["tick", "follow", "end"]
    source: str
    position: int
    time_ms: int


def tick(source: str, *, position: int, time_ms: int, follows: bool = False) -> bytes:
    """Write a tick.

    >>> unwire_marker(tick("access/0", position=7, time_ms=5)).time_ms
    5
    """
    kind: Literal["tick", "follow"] = "follow" if follows else "tick"
    return MARKER_MAGIC + msgspec.msgpack.encode(Marker(MARKER_VERSION, kind, source, position, time_ms))


def end(source: str, *, position: int) -> bytes:
    """Write the end of a source."""
    return MARKER_MAGIC + msgspec.msgpack.encode(Marker(MARKER_VERSION, "end", source, position, 0))


def unwire_marker(data: bytes) -> Marker:
    """Read a marker. Raises `FrameError` for other bytes or another version."""
    try:
        marker = msgspec.msgpack.decode(data[4:], type=Marker)
    except msgspec.DecodeError as wrong:
        raise FrameError(f"marker of {len(data)} bytes does not decode: {wrong}") from wrong
    if data[:4] != MARKER_MAGIC or marker.version != MARKER_VERSION:
        raise FrameError(f"not a marker of version {MARKER_VERSION}: {data[:4]!r}, version {marker.version}")
    return marker
