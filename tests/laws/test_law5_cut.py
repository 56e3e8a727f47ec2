"""Law 5: snapshot anywhere, restore, continue: the same as never having stopped."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.judge import Judge
from detector.snapshot import restore, snapshot
from tests.laws.streams import (
    KEY,
    STREAMS,
    TIGHT,
    WORLDS,
    Range,
    Stream,
    crowd,
    cuts,
    ends,
    feed,
    frame_of,
    interleaved,
    judge_for,
    outcome,
    run,
    whole,
    world,
)

LAW = settings(deadline=None, derandomize=True, max_examples=25)


def reborn(judge: Judge) -> Judge:
    """Restore a judge from its snapshot, which writes the same bytes again."""
    data = snapshot(judge, key=KEY)
    again = restore(data, settings=judge.settings, key=KEY)
    assert snapshot(again, key=KEY) == data
    return again


@LAW
@given(stream=STREAMS, data=st.data())
def test_a_judge_restored_goes_on_as_if_it_had_never_stopped(stream: Stream, data: st.DataObject) -> None:
    steps = [*data.draw(interleaved(data.draw(cuts(stream)))), *ends(stream)]
    stops = data.draw(st.sets(st.integers(0, len(steps)), min_size=1, max_size=4))
    judge, lines = judge_for(stream), []
    for at, step in enumerate(steps):
        if at in stops:
            judge = reborn(judge)
        lines += feed(judge, stream, [step])
    if len(steps) in stops:
        judge = reborn(judge)
    # Refused rows stay in the state until they are taken, so none is lost over a restart.
    assert outcome(judge, lines) == run(stream, steps)


def test_a_judge_restored_after_every_thirty_events_is_the_same() -> None:
    stream = world(1, sources=1)
    ((source, batch),) = stream.batches.items()
    judge, lines = judge_for(stream), []
    for first in range(0, len(batch), 30):
        lines += feed(judge, stream, [Range(source, first, min(first + 30, len(batch)))])
        judge = reborn(judge)
    lines += feed(judge, stream, ends(stream))
    assert outcome(judge, lines) == run(stream, [*whole(stream), *ends(stream)])


@LAW
@given(stream=WORLDS)
def test_outputs_that_nobody_took_survive(stream: Stream) -> None:
    judge = judge_for(stream)
    for step in whole(stream):
        judge.apply(frame_of(stream, step))
    again = reborn(judge)
    assert again.cases.outputs
    assert again.take_outputs() == judge.take_outputs()
    assert again.members() == judge.members()


@settings(LAW, max_examples=5)
@given(data=st.data())
def test_a_judge_restored_goes_on_where_rows_come_and_go(data: st.DataObject) -> None:
    stream = crowd(sources=1)
    rows = len(stream.batches["s-0"])
    stops = sorted(data.draw(st.sets(st.integers(1, rows - 1), min_size=1, max_size=3)))
    judge, lines = judge_for(stream, settings=TIGHT), []
    for first, stop in pairwise([0, *stops, rows]):
        lines += feed(judge, stream, [Range("s-0", first, stop)])
        judge = reborn(judge)
    whole_run = run(stream, whole(stream), settings=TIGHT)
    # The crowd is there to turn everything over: rows, pools, gate generations, the model's window.
    assert min(judge.accounts.evicted, judge.links.evicted, judge.model.scores.sum()) > 0
    assert judge.links.free[0] < TIGHT.tables.promoted_max
    assert outcome(judge, lines) == whole_run
