"""Law 4: at-least-once delivery, exactly-once state; a hole stops the judge."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.panes import GapError
from detector.snapshot import snapshot
from tests.laws.streams import (
    KEY,
    STREAMS,
    WORLDS,
    Range,
    Stream,
    ends,
    feed,
    frame_of,
    judge_for,
    orders_of,
    outcome,
    run,
    whole,
    world,
)

LAW = settings(deadline=None, derandomize=True, max_examples=25)


@st.composite
def overlapping(draw: st.DrawFn, stream: Stream) -> list[Range]:
    """Ranges of each source that join or overlap what came before, and cover it all in the end."""
    steps = []
    for source, batch in stream.batches.items():
        stop = 0
        for _ in range(draw(st.integers(0, 5))):
            first = draw(st.integers(0, stop))
            last = draw(st.integers(first, len(batch)))
            steps.append(Range(source, first, last))
            stop = max(stop, last)
        steps.append(Range(source, draw(st.integers(0, stop)), len(batch)))
    return steps


@LAW
@given(stream=STREAMS, data=st.data())
def test_ranges_delivered_twice_count_once(stream: Stream, data: st.DataObject) -> None:
    steps = data.draw(overlapping(stream))
    assert run(stream, [*steps, *ends(stream)]) == run(stream, [*whole(stream), *ends(stream)])


@LAW
@given(stream=WORLDS, data=st.data())
def test_a_hole_stops_the_judge_and_leaves_its_state_alone(stream: Stream, data: st.DataObject) -> None:
    source = data.draw(st.sampled_from(sorted(stream.batches)))
    rows = len(stream.batches[source])
    stop = data.draw(st.integers(1, rows - 2))
    judge = judge_for(stream)
    list(feed(judge, stream, [Range(source, 0, stop)]))
    before = snapshot(judge, key=KEY)
    first = data.draw(st.integers(stop + 1, rows - 1))
    with pytest.raises(GapError, match=f"{source}: frames end at {stop}, the next begins at {first}"):
        judge.apply(frame_of(stream, Range(source, first, rows)))
    assert snapshot(judge, key=KEY) == before


def test_operators_records_delivered_twice_count_once_and_a_hole_stops_the_judge() -> None:
    stream = world(1, sources=1)
    whole_frame = orders_of(stream)
    first = msgspec.structs.replace(whole_frame, stop=3, entries=whole_frame.entries[:3])
    judge = judge_for(stream._replace(orders=()))
    for frame in (first, whole_frame, first):
        judge.operate(frame)
    steps = [*whole(stream), *ends(stream)]
    assert outcome(judge, feed(judge, stream, steps)) == run(stream, steps)
    beyond = msgspec.structs.replace(whole_frame, first=11, stop=14)
    with pytest.raises(GapError, match="operators' records end at 9, the next begin at 11"):
        judge.operate(beyond)


def test_a_frame_of_an_unknown_source_stops_the_judge() -> None:
    stream = world(0, sources=2)
    judge = judge_for(Stream({"s-0": stream.batches["s-0"]}))
    with pytest.raises(GapError, match="unknown source 's-1'; known: s-0"):
        judge.apply(frame_of(stream, Range("s-1", 0, 1)))


@pytest.mark.parametrize("seed", range(3))
def test_an_event_on_two_sources_counts_once(seed: int) -> None:
    once = world(seed, sources=1)
    twice = once._replace(batches={"s-0": once.batches["s-0"], "s-1": once.batches["s-0"]})
    expected = run(once, [*whole(once), *ends(once)])
    found = run(twice, [*whole(twice), *ends(twice)])
    assert found.outputs == expected.outputs
    assert found.members == expected.members
    # Every row of the second source is refused, and of equal rows it is always the second source's.
    refused = {(position, reason) for source, position, reason in found.refused if source == "s-1"}
    assert len(refused) == len(once.batches["s-0"])
    assert [r for r in found.refused if r[0] == "s-0"] == list(expected.refused)
