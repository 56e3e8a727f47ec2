"""Law 5 over generations: what changed, on top of what was, is the state; and where rows wait changes nothing."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.config import Settings
from detector.judge import Judge
from detector.snapshot import (
    RowDigests,
    SnapshotError,
    blank_digests,
    generation,
    restore,
    restore_chain,
    snapshot,
    take_digests,
)
from detector.snapshot.state import VERSION
from tests.laws.streams import (
    KEY,
    SETTINGS,
    STREAMS,
    TENANT,
    TIGHT,
    Range,
    Stream,
    crowd,
    cuts,
    ends,
    feed,
    interleaved,
    judge_for,
    orders_of,
    outcome,
    run,
    whole,
)

LAW = settings(deadline=None, derandomize=True, max_examples=12)


class Drawers:
    """A store in memory that counts what it keeps."""

    def __init__(self) -> None:
        self.blocks: dict[int, bytes] = {}
        self.kept = 0

    def put(self, blocks: list[bytes]) -> list[int]:
        handles = list(range(self.kept, self.kept + len(blocks)))
        self.blocks.update(zip(handles, blocks, strict=True))
        self.kept += len(blocks)
        return handles

    def get(self, handle: int) -> bytes:
        return self.blocks[handle]

    def drop(self, handles: list[int]) -> None:
        for handle in handles:
            del self.blocks[handle]


class Chain:
    """Generations as a worker would make them: the first is whole, each goes on from the last."""

    def __init__(self, judge: Judge) -> None:
        self.files: list[bytes] = []
        self.seen = blank_digests(judge, key=KEY, allocate=lambda rows: np.empty(rows, np.uint64))

    def add(self, judge: Judge) -> None:
        now: RowDigests = {name: held.copy() for name, held in self.seen.items()}
        since, base = (self.seen, self.files[-1][-16:].hex()) if self.files else (None, "")
        self.files.append(b"".join(generation(judge, key=KEY, since=since, base=base, now=now)))
        self.seen = now

    def restored(self, *, settings: Settings, piece: int = 1_000) -> Judge:
        cut = [[f[at : at + piece] for at in range(0, len(f), piece)] for f in self.files]
        return restore_chain(cut, settings=settings, key=KEY)


@LAW
@given(stream=STREAMS, data=st.data())
def test_generations_give_what_one_whole_snapshot_gives(stream: Stream, data: st.DataObject) -> None:
    steps = [*data.draw(interleaved(data.draw(cuts(stream)))), *ends(stream)]
    stops = data.draw(st.sets(st.integers(0, len(steps)), min_size=1, max_size=5))
    judge, lines = judge_for(stream), []
    chain = Chain(judge)
    for at, step in enumerate([*steps, None]):
        if at in stops:
            chain.add(judge)
            again = chain.restored(settings=SETTINGS, piece=data.draw(st.sampled_from([1, 17, 5_000])))
            assert snapshot(again, key=KEY) == snapshot(judge, key=KEY)
            if data.draw(st.booleans()):  # whoever takes over goes on with the chain
                judge = again
                seen = blank_digests(judge, key=KEY, allocate=lambda rows: np.empty(rows, np.uint64))
                take_digests(judge, seen, key=KEY)
                assert all(np.array_equal(seen[name], chain.seen[name]) for name in seen)
        if step is not None:
            lines += feed(judge, stream, [step])
    assert outcome(judge, lines) == run(stream, steps)


@settings(LAW, max_examples=5)
@given(data=st.data())
def test_generations_follow_rows_that_come_and_go(data: st.DataObject) -> None:
    stream = crowd(sources=1)
    rows = len(stream.batches["s-0"])
    stops = sorted(data.draw(st.sets(st.integers(1, rows - 1), min_size=3, max_size=6)))
    judge = judge_for(stream, settings=TIGHT)
    chain = Chain(judge)
    for first, stop in zip([0, *stops], [*stops, rows], strict=True):
        list(feed(judge, stream, [Range("s-0", first, stop)]))
        chain.add(judge)
    # Rows were evicted between generations, tables and gate turned over.
    assert min(judge.accounts.evicted, judge.links.evicted) > 0
    assert snapshot(chain.restored(settings=TIGHT), key=KEY) == snapshot(judge, key=KEY)


def test_a_generation_is_as_large_as_what_happened() -> None:
    stream = crowd(sources=1)
    judge = judge_for(stream, settings=TIGHT)
    list(feed(judge, stream, [Range("s-0", 0, 5_000)]))
    chain = Chain(judge)
    chain.add(judge)
    chain.add(judge)
    list(feed(judge, stream, [Range("s-0", 5_000, 5_020)]))
    chain.add(judge)
    whole_one, nothing, little = map(len, chain.files)
    # What is no table goes each time: what is beyond that are rows.
    assert (little - nothing) < (whole_one - nothing) / 4


def test_generations_out_of_order_damaged_or_missing_are_refused() -> None:
    stream = crowd(sources=1)
    judge = judge_for(stream, settings=TIGHT)
    chain = Chain(judge)
    for first in (0, 3_000):
        list(feed(judge, stream, [Range("s-0", first, first + 3_000)]))
        chain.add(judge)
    one, two = chain.files
    for files, said in (
        ([two], "base"),
        ([one, one], "base"),
        ([], "no generation"),
        ([one[:-1]], "cut short or damaged"),
        ([one[: len(one) // 2]], "cut short or damaged|does not decode"),
        ([one, two[:-20] + bytes(4) + two[-16:]], "cut short or damaged|does not decode"),
        ([b"else" + one[4:]], "not a snapshot"),
        ([one[:4] + (1).to_bytes(4, "little") + one[8:]], f"version 1, this program reads {VERSION}"),
    ):
        with pytest.raises(SnapshotError, match=said):
            restore_chain([[f] for f in files], settings=TIGHT, key=KEY)
    with pytest.raises(SnapshotError, match="hash key"):
        restore_chain([[one]], settings=TIGHT, key=bytes(32))
    with pytest.raises(SnapshotError, match="settings hash"):
        restore(one, settings=SETTINGS, key=KEY)


@LAW
@given(stream=STREAMS, data=st.data())
def test_rows_that_wait_in_a_store_are_judged_as_if_in_memory(stream: Stream, data: st.DataObject) -> None:
    steps = [*data.draw(interleaved(data.draw(cuts(stream)))), *ends(stream)]
    bound = data.draw(st.sampled_from([1, 20, 300]))
    away = msgspec.structs.replace(SETTINGS, rows_buffered_max=bound, rows_spilled_max=20_000)
    stop = data.draw(st.integers(0, len(steps)))
    store = Drawers()
    judge = Judge(TENANT, tuple(stream.batches), away, store=store)
    judge.operate(orders_of(stream))
    inside = judge_for(stream, settings=away)
    lines, expected = [], []
    for at, step in enumerate([*steps, None]):
        if at == stop:
            data_there = snapshot(judge, key=KEY)
            assert data_there == snapshot(inside, key=KEY)
            store = Drawers()
            judge = restore(data_there, settings=away, key=KEY, store=store)
        assert judge.buffer.rows - judge.buffer.rows_away <= bound
        if step is not None:
            lines += feed(judge, stream, [step])
            expected += feed(inside, stream, [step])
    assert outcome(judge, lines) == outcome(inside, expected)
    assert not store.blocks


def test_a_source_far_ahead_fills_the_store_and_no_pane_is_forced() -> None:
    stream = crowd(sources=2)
    away = msgspec.structs.replace(TIGHT, rows_buffered_max=500, rows_spilled_max=20_000)
    store = Drawers()
    judge = Judge(TENANT, tuple(stream.batches), away, store=store)
    judge.operate(orders_of(stream))
    lines = []
    for step in whole(stream):  # one source to its end, then the other
        for first in range(0, step.stop, 700):
            lines += feed(judge, stream, [Range(step.source, first, min(first + 700, step.stop))])
            assert judge.buffer.rows - judge.buffer.rows_away <= 500
    lines += feed(judge, stream, ends(stream))
    assert store.kept > 100
    assert judge.buffer.forced == 0
    assert not store.blocks
    assert outcome(judge, lines) == run(stream, [*whole(stream), *ends(stream)], settings=away)
