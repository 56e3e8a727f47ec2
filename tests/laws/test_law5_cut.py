"""Law 5: snapshot anywhere, restore, continue: the same as never having stopped."""

from hypothesis import given, settings
from hypothesis import strategies as st

from detector.judge import Judge
from detector.snapshot import restore, snapshot
from tests.laws.streams import (
    KEY,
    SETTINGS,
    STREAMS,
    WORLDS,
    Range,
    Stream,
    cuts,
    ends,
    feed,
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
    again = restore(data, settings=SETTINGS, key=KEY)
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
        list(feed(judge, stream, [step]))
    for source in stream.batches:
        judge.end(source)
    again = reborn(judge)
    assert again.outputs
    assert again.take_outputs() == judge.take_outputs()
    assert again.members() == judge.members()
