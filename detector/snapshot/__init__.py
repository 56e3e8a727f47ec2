"""Snapshot: a judge's whole state as bytes, and back.

Purpose: stop anywhere, start again from the bytes, and go on as if nothing had happened.
Invariants: equal settings, key and applied events give equal bytes, however the events
were cut into frames and however sources interleaved; `restore(snapshot(j))` continues
with byte-equal outputs and later snapshots. Buffered rows stand by source, pane and
position with the names they need and no others; everything else is a function of
closed panes already, so it is written in its own order: slots of samples and free
rows too, because floats are summed and rows handed out in that order.
Limits: the hash key's digest, the settings' hash and the layout of the state must be
those of the writer; another version is refused, never guessed. A digest finds damage,
not forgery: whoever may write the bytes is trusted.
Source: magic, version, header (msgpack), one Zstandard frame of the tree (msgpack) and
the used rows of every column (raw, little-endian), content digest. RFC 8878.
"""

from detector.snapshot.reading import restore
from detector.snapshot.state import SnapshotError
from detector.snapshot.writing import snapshot

__all__ = ["SnapshotError", "restore", "snapshot"]
