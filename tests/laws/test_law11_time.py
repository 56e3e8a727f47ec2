"""Law 11: time comes from events; one wild clock does not move it, and ticks change no outcome."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.events import EventBatch
from tests.laws.streams import (
    HOUR_MS,
    START_MS,
    STREAMS,
    Range,
    Step,
    Stream,
    Tick,
    cuts,
    ends,
    feed,
    interleaved,
    judge_for,
    outcome,
    run,
    stamped,
    whole,
    world,
)

LAW = settings(deadline=None, derandomize=True, max_examples=25)
DAY_MS = 24 * HOUR_MS


def with_row(batch: EventBatch, at: int, **changes: Any) -> EventBatch:
    """Insert at `at` a copy of a row of the batch with some values changed."""
    row = batch.slice(min(at, len(batch) - 1), 1)
    for name, value in changes.items():
        index = batch.schema.get_field_index(name)
        row = row.set_column(index, batch.schema.field(index), pa.array([value], batch.schema.field(index).type))
    table = pa.Table.from_batches([batch.slice(0, at), row, batch.slice(at)]).combine_chunks()
    return table.to_batches()[0]


@LAW
@given(
    seed=st.integers(0, 3),
    where=st.integers(0, 10**6),
    ahead_days=st.integers(31, 20_000),
    ingested=st.booleans(),
    end=st.booleans(),
)
def test_one_event_of_a_wild_clock_changes_no_outcome(
    seed: int, where: int, ahead_days: int, *, ingested: bool, end: bool
) -> None:
    plain = world(seed, sources=1)
    batch = plain.batches["s-0"]
    at = len(batch) if end else where % (len(batch) + 1)
    wild = with_row(batch, at, event_id="wild", event_time=START_MS + ahead_days * DAY_MS, account_id="h-1")
    judge = judge_for(plain)
    disturbed = Stream({"s-0": wild})
    if ingested:
        # The broker saw the wild event when it saw its neighbours.
        times = batch.column("event_time").to_numpy()
        disturbed = Stream({"s-0": wild}, {"s-0": np.insert(times, at, times[min(at, len(times) - 1)])})
    expected = run(plain, [*whole(plain), *ends(plain)])
    found = outcome(judge, feed(judge, disturbed, [*whole(disturbed), *ends(disturbed)]))
    assert found.outputs == expected.outputs
    assert found.members == expected.members
    shifted = [("s-0", position + (position >= at), reason) for _, position, reason in expected.refused]
    assert sorted([*shifted, ("s-0", at, "future_time")]) == list(found.refused)


@LAW
@given(stream=STREAMS, data=st.data())
def test_ticks_change_nothing(stream: Stream, data: st.DataObject) -> None:
    stream = stamped(stream)  # without ingest times a tick waits for rows that await their lookahead
    steps = data.draw(interleaved(data.draw(cuts(stream))))
    ticked: list[Step] = []
    for step in steps:
        assert isinstance(step, Range)
        ticked.append(step)
        rest = stream.batches[step.source].column("event_time").to_numpy()[step.stop :]
        if rest.size and data.draw(st.booleans()):
            # The most that may be said truly: nothing before the earliest row to come.
            ticked.append(Tick(step.source, int(rest.min()) - data.draw(st.sampled_from([0, 1, HOUR_MS]))))
    assert run(stream, [*ticked, *ends(stream)]) == run(stream, [*steps, *ends(stream)])


def test_a_tick_brings_outcomes_forward() -> None:
    stream = stamped(world(0, sources=2, disturbed=False))
    judge = judge_for(stream)
    rows = len(stream.batches["s-0"])
    *_, before = feed(judge, stream, [Range("s-0", 0, rows), Range("s-1", 0, 1)])
    assert before == b""
    (after,) = feed(judge, stream, [Tick("s-1", START_MS + 8 * HOUR_MS)])
    assert after


def test_without_ticks_an_idle_source_holds_the_watermark() -> None:
    stream = world(0, sources=2, disturbed=False)
    judge = judge_for(stream)
    list(feed(judge, stream, [Range("s-0", 0, len(stream.batches["s-0"]))]))
    assert judge.events == 0
    with pytest.raises(KeyError):
        judge.tick("s-9", START_MS)


@st.composite
def ended_too_early(draw: st.DrawFn, stream: Stream) -> list[Step]:
    """All ranges, with ends thrown in before the last one of their source, or of all."""
    steps: list[Step] = draw(cuts(stream).flatmap(interleaved))
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(steps)))
        early = ends(stream) if draw(st.booleans()) else [draw(st.sampled_from(ends(stream)))]
        steps[at:at] = early
    return [*steps, *ends(stream)]


@LAW
@given(stream=STREAMS.filter(lambda s: bool(s.batches)), data=st.data())
def test_a_source_that_goes_on_behind_its_end_loses_late_rows_only(stream: Stream, data: st.DataObject) -> None:
    judge = judge_for(stream)
    reached = refused = 0
    for step in data.draw(ended_too_early(stream)):
        list(feed(judge, stream, [step]))
        assert judge.buffer.closed_ms >= reached or not reached  # no pane is closed twice, none after a later one
        reached = judge.buffer.closed_ms
        refused += len(judge.take_refused())
    assert judge.events + refused == sum(map(len, stream.batches.values()))
    assert judge.buffer.rows == 0
