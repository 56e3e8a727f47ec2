"""Law 2: how a stream is cut into frames changes nothing, of outcomes or of state."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.streams import STREAMS, TIGHT, Range, Stream, crowd, cuts, ends, run, whole, world

LAW = settings(deadline=None, derandomize=True, max_examples=25)


@LAW
@given(stream=STREAMS, data=st.data())
def test_cuts_change_nothing(stream: Stream, data: st.DataObject) -> None:
    ranges = data.draw(cuts(stream))
    steps = [step for held in ranges.values() for step in held]
    assert run(stream, [*steps, *ends(stream)]) == run(stream, [*whole(stream), *ends(stream)])


@LAW
@given(stream=STREAMS, data=st.data())
def test_cuts_change_nothing_before_the_end_either(stream: Stream, data: st.DataObject) -> None:
    ranges = data.draw(cuts(stream))
    assert run(stream, [step for held in ranges.values() for step in held]) == run(stream, whole(stream))


def test_one_event_per_frame_is_the_same_as_one_frame() -> None:
    stream = world(0, sources=1)
    single = [Range(source, i, i + 1) for source, batch in stream.batches.items() for i in range(len(batch))]
    assert run(stream, [*single, *ends(stream)]) == run(stream, [*whole(stream), *ends(stream)])


@settings(LAW, max_examples=5)
@given(data=st.data())
def test_cuts_change_nothing_where_rows_come_and_go(data: st.DataObject) -> None:
    stream = crowd(sources=1)
    steps = [step for held in data.draw(cuts(stream)).values() for step in held]
    assert run(stream, steps, settings=TIGHT) == run(stream, whole(stream), settings=TIGHT)
