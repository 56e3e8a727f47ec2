"""Law 3: however the frames of several sources interleave, outcome and state are the same."""

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.laws.streams import STREAMS, TIGHT, Range, Step, Stream, crowd, cuts, ends, interleaved, run, whole

LAW = settings(deadline=None, derandomize=True, max_examples=30)


@LAW
@given(stream=STREAMS, data=st.data())
def test_interleaving_changes_nothing(stream: Stream, data: st.DataObject) -> None:
    steps = data.draw(interleaved(data.draw(cuts(stream))))
    assert run(stream, [*steps, *ends(stream)]) == run(stream, [*whole(stream), *ends(stream)])


@LAW
@given(stream=STREAMS, data=st.data())
def test_a_source_may_end_before_others_begin(stream: Stream, data: st.DataObject) -> None:
    ranges: dict[str, list[Step]] = {}
    for source, held in data.draw(cuts(stream)).items():
        ranges[source] = [*held, *(e for e in ends(stream) if e.source == source)]
    steps = data.draw(interleaved(ranges))
    assert run(stream, steps) == run(stream, [*whole(stream), *ends(stream)])


@LAW
@given(stream=STREAMS, data=st.data())
def test_interleaving_changes_nothing_before_the_end_either(stream: Stream, data: st.DataObject) -> None:
    steps = data.draw(interleaved(data.draw(cuts(stream))))
    part = data.draw(st.integers(0, len(steps)))
    stops: dict[str, int] = {}
    for step in steps[:part]:
        assert isinstance(step, Range)
        stops[step.source] = step.stop
    assert run(stream, steps[:part]) == run(stream, [Range(s, 0, stop) for s, stop in stops.items()])


@settings(LAW, max_examples=5)
@given(data=st.data())
def test_interleaving_changes_nothing_where_rows_come_and_go(data: st.DataObject) -> None:
    stream = crowd(sources=3)
    steps = [*data.draw(interleaved(data.draw(cuts(stream)))), *ends(stream)]
    assert run(stream, steps, settings=TIGHT) == run(stream, [*whole(stream), *ends(stream)], settings=TIGHT)
