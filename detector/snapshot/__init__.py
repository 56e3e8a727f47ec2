"""Snapshot: a judge's whole state as bytes, and back; whole, or what changed since the last time.

Purpose: stop anywhere, start again from the bytes, and go on as if nothing had happened.
Invariants: equal settings, key and applied events give equal bytes, however the events
were cut into frames and however sources interleaved; `restore(snapshot(j))` continues
with byte-equal outputs and later snapshots, and so does `restore_chain` of a whole
generation and the incremental ones after it. Buffered rows stand by pane, source and
position with the names they need and no others; everything else is a function of
closed panes already, so it is written in its own order: slots of samples and free
rows too, because floats are summed and rows handed out in that order.
Limits: the hash key's digest, the settings' hash and the layout of the state must be
those of the writer; another version is refused, never guessed. A digest finds damage,
not forgery: whoever may write the bytes is trusted.
Source: magic, version, one Zstandard frame (RFC 8878) of pieces, their digest. A piece is a
head (msgpack) and raw little-endian parts: header, rows of a table, rows of a pane, state.
"""

from detector.snapshot.changes import RowDigests, blank_digests, take_digests
from detector.snapshot.reading import header_of, restore, restore_chain
from detector.snapshot.state import DIGEST_BYTES, SnapshotError
from detector.snapshot.writing import generation, snapshot

__all__ = [
    "DIGEST_BYTES",
    "RowDigests",
    "SnapshotError",
    "blank_digests",
    "generation",
    "header_of",
    "restore",
    "restore_chain",
    "snapshot",
    "take_digests",
]
