"""What the judge publishes: alerts, decisions and its progress, as Kafka records.

Purpose: outputs of the engine to (topic, key, value) and the progress record both ways.
Invariants: the record's bytes are the engine's own, as a replay writes them; what differs
by transport stands in headers. A shadow decision never goes to the enforcement topic. The
kill switch's record, one for all tenants, is written by the judge of partition 0 alone, in
the order in which operators gave the word, so that no other judge that lags takes it back.
An alert in a foreign format carries the native record in a header, for our own tools and sinks.
Limits: none of its own.
Source: the contract's table of topics.
"""

from typing import NamedTuple

import msgspec

from detector.cases import Output
from detector.config import Settings
from detector.decision import Tombstone
from detector.operators import Control
from detector.records import Alert, DetectorError, decision_key, encode
from detector.sinks.lines import line_of
from detector.vocabulary import AlertFormat

POSITION_HEADER = "stillwatch.frame"
ALERT_HEADER = "stillwatch.alert"  # the native record, where the value is another format's
CONTROL_KEY = b"__control__"


class ProgressError(DetectorError):
    """A progress record is none of this program's."""


class Message(NamedTuple):
    """A record to be sent; `topic` without prefix."""

    topic: str
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class SnapshotPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where the newest durable snapshot stands: its newest generation, the offset of its manifest."""

    generation: int
    manifest_offset: int


class Stale(msgspec.Struct, frozen=True, kw_only=True):
    """A generation that no manifest needs, or none yet, and how many chunks of it may stand on the topic."""

    generation: int
    chunks: int


class SourcePlace(msgspec.Struct, frozen=True, kw_only=True):
    """How far a source was folded: the offset after its last record, and its clock (epoch ms; null: unseen).

    `follows`: the clock was last moved by a tick that took its time from other sources.
    """

    position: int
    time_ms: int | None = None
    ended: bool = False
    follows: bool = False


class Adopted(msgspec.Struct, frozen=True, kw_only=True):
    """Settings under which the judge goes on from the frame at `frame_offset`."""

    frame_offset: int
    settings: Settings


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the judge of a tenant has published: every output of frames before `frame_offset`.

    `settings` are those of the state from which a recovery begins, `adopted` what changed since, in order:
    frames that were judged under other settings are folded under these again.
    """

    tenant: str
    origin: int  # the first frame that was ever folded
    frame_offset: int
    pane_end_ms: int | None
    sources: dict[str, SourcePlace]
    snapshot: SnapshotPlace | None = None
    settings: Settings = Settings()
    adopted: tuple[Adopted, ...] = ()
    stale: tuple[Stale, ...] = ()
    config_hash: str
    version: str

    def newest_settings(self) -> Settings:
        """What the judge runs under now."""
        return self.adopted[-1].settings if self.adopted else self.settings


def messages_of(
    output: Output, *, frame_partition: int, frame_offset: int, form: AlertFormat = "native"
) -> list[Message]:
    """The records of one output; it came of the frame at that place. `form` is what an alert's value is."""
    headers = [(POSITION_HEADER, b"%d:%d" % (frame_partition, frame_offset))]
    if isinstance(output, Control):
        made = [Message("decisions", CONTROL_KEY, encode(output), headers)]
        return made if frame_partition == 0 else []
    if isinstance(output, Alert):
        native = [(ALERT_HEADER, encode(output))] if form != "native" else []
        return [Message("alerts", output.dedup_key.encode(), line_of(output, form=form), [*headers, *native])]
    key = decision_key(tenant=output.tenant, scope=output.scope, value=output.value)
    if isinstance(output, Tombstone):
        return [Message("decisions", key, None, headers)]
    made = [Message("decision-log", key, encode(output), headers)]
    if output.mode == "enforce":
        made.append(Message("decisions", key, encode(output), headers))
    return made


def progress_message(progress: Progress, *, partition: int) -> Message:
    """The progress record, keyed by the frame partition."""
    return Message("progress", str(partition).encode(), msgspec.json.encode(progress), [])


def read_progress(raw: bytes) -> Progress:
    """Read a progress record. Raises `ProgressError`."""
    try:
        return msgspec.json.decode(raw, type=Progress)
    except msgspec.DecodeError as wrong:
        raise ProgressError(f"progress record {raw[:80]!r} does not read: {wrong}") from wrong
