"""Law 8, algebra: merging is exact, whatever the order and the cuts; equal content, equal bytes."""

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.sketches import bottom_k, count_min, histogram, hyperloglog, space_saving
from detector.sketches.columns import COUNT_MAX

LAW = settings(deadline=None, derandomize=True, max_examples=80)
Item = tuple[int, int]
Items = Sequence[Item]
# Few digests, so that samples overlap, and weights that saturate.
ITEM = st.tuples(
    st.one_of(st.integers(1, 20).map(lambda i: i * 0x9E3779B97F4A7C15 % 2**64), st.integers(0, 2**64 - 1)),
    st.one_of(st.integers(0, 9), st.sampled_from([COUNT_MAX - 5, COUNT_MAX])),
)
ITEMS = st.lists(ITEM, max_size=40)


def digests_of(items: Items) -> npt.NDArray[np.uint64]:
    return np.array([digest for digest, _ in items], np.uint64)


def weights_of(items: Items) -> npt.NDArray[np.int64]:
    return np.array([weight for _, weight in items], np.int64)


def rows_of(items: Items, row: int) -> npt.NDArray[np.int64]:
    return np.full(len(items), row, np.int64)


class Kind(NamedTuple):
    """One kind of sketch behind one face: rows of one column, named by number."""

    make: Callable[[], Any]
    feed: Callable[[Any, int, Items], object]
    merge: Callable[[Any, int, Any, int], None]
    state: Callable[[Any, int], bytes]


def _bottom_k_merge(into: bottom_k.BottomK, row: int, other: bottom_k.BottomK, other_row: int) -> None:
    bottom_k.merge(*into, row, *other, other_row, np.empty((into.hashes.shape[1], 2), np.int32))


def _bottom_k_state(column: bottom_k.BottomK, row: int) -> bytes:
    return b"".join(array[row].tobytes() for array in bottom_k.canonical(column))


def _feed_histogram(bins: npt.NDArray[np.uint32], row: int, items: Items) -> None:
    values = (digests_of(items) % 5000).astype(np.int64)
    histogram.add_column(bins, rows=rows_of(items, row), values=values, weights=weights_of(items))


# A count-min table has no rows: its column is a list of tables.
KINDS = {
    "hyperloglog": Kind(
        make=lambda: hyperloglog.empty(4, registers=64),
        feed=lambda c, row, items: hyperloglog.add_column(c, rows=rows_of(items, row), digests=digests_of(items)),
        merge=hyperloglog.merge,
        state=lambda c, row: c[row].tobytes(),
    ),
    "bottom_k": Kind(
        make=lambda: bottom_k.empty(4, k=6),
        feed=lambda c, row, items: bottom_k.add_column(
            c, rows=rows_of(items, row), digests=digests_of(items), weights=weights_of(items)
        ),
        merge=_bottom_k_merge,
        state=_bottom_k_state,
    ),
    "count_min": Kind(
        make=lambda: [count_min.empty(depth=3, width=16) for _ in range(4)],
        feed=lambda c, row, items: count_min.add_column(c[row], digests=digests_of(items), weights=weights_of(items)),
        merge=lambda c, row, other, other_row: count_min.merge(c[row], other[other_row]),
        state=lambda c, row: c[row].tobytes(),
    ),
    "histogram": Kind(
        make=lambda: histogram.empty(4, bins=24),
        feed=_feed_histogram,
        merge=histogram.merge,
        state=lambda c, row: c[row].tobytes(),
    ),
}
KIND = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def built(kind: Kind, items: Items) -> bytes:
    column = kind.make()
    kind.feed(column, 0, items)
    return kind.state(column, 0)


def merged(kind: Kind, *parts: Items) -> bytes:
    """Feed each part to a row of its own, then merge the rows from the left."""
    column = kind.make()
    for row, part in enumerate(parts):
        kind.feed(column, row, part)
    for row in range(1, len(parts)):
        kind.merge(column, 0, column, row)
    return kind.state(column, 0)


@KIND
@LAW
@given(xs=ITEMS)
def test_the_empty_sketch_is_neutral(kind: Kind, xs: Items) -> None:
    assert merged(kind, xs, []) == merged(kind, [], xs) == built(kind, xs)


@KIND
@LAW
@given(xs=ITEMS, ys=ITEMS)
def test_a_sketch_of_the_union_is_the_merge_of_sketches_either_way(kind: Kind, xs: Items, ys: Items) -> None:
    assert merged(kind, xs, ys) == merged(kind, ys, xs) == built(kind, [*xs, *ys])


@KIND
@LAW
@given(xs=ITEMS, ys=ITEMS, zs=ITEMS)
def test_merging_is_associative(kind: Kind, xs: Items, ys: Items, zs: Items) -> None:
    column = kind.make()
    for row, part in enumerate((xs, ys, zs)):
        kind.feed(column, row, part)
    kind.merge(column, 1, column, 2)
    kind.merge(column, 0, column, 1)
    assert kind.state(column, 0) == merged(kind, xs, ys, zs)


@KIND
@LAW
@given(items=ITEMS, order=st.randoms(use_true_random=False), cuts=st.lists(st.integers(0, 40), max_size=5))
def test_neither_order_nor_cuts_show(kind: Kind, items: list[Item], order: random.Random, cuts: list[int]) -> None:
    whole = built(kind, items)
    order.shuffle(items)
    column = kind.make()
    edges = [0, *sorted(min(cut, len(items)) for cut in cuts), len(items)]
    for start, stop in itertools.pairwise(edges):
        kind.feed(column, 0, items[start:stop])
    assert kind.state(column, 0) == whole


@KIND
@LAW
@given(items=ITEMS)
def test_a_column_update_equals_the_items_one_by_one(kind: Kind, items: Items) -> None:
    column = kind.make()
    for item in items:
        kind.feed(column, 0, [item])
    assert kind.state(column, 0) == built(kind, items)


@KIND
@LAW
@given(items=ITEMS)
def test_rows_do_not_touch_each_other(kind: Kind, items: Items) -> None:
    column = kind.make()
    kind.feed(column, 1, items)
    kind.merge(column, 2, column, 1)
    assert kind.state(column, 0) == kind.state(column, 3) == built(kind, [])
    assert kind.state(column, 1) == kind.state(column, 2) == built(kind, items)


@LAW
@given(items=ITEMS)
def test_hyperloglog_is_idempotent(items: Items) -> None:
    kind = KINDS["hyperloglog"]
    assert built(kind, [*items, *items]) == merged(kind, items, items) == built(kind, items)


# Bottom-k over unequal sizes


def truth_below(items: Items, theta: int) -> dict[int, int]:
    truth: dict[int, int] = {}
    for digest, weight in items:
        if 0 < digest < theta:
            truth[digest] = truth.get(digest, 0) + weight
    return {digest: min(weight, COUNT_MAX) for digest, weight in truth.items()}


def held(column: bottom_k.BottomK, row: int) -> dict[int, int]:
    size = int(column.sizes[row])
    pairs = zip(column.hashes[row, :size].tolist(), column.counts[row, :size].tolist(), strict=True)
    return dict(pairs)


@LAW
@given(before=ITEMS, after=ITEMS)
def test_a_row_promoted_to_more_slots_stays_a_whole_sample(before: Items, after: Items) -> None:
    small, large = bottom_k.empty(1, k=3), bottom_k.empty(2, k=8)
    bottom_k.add_column(small, rows=rows_of(before, 0), digests=digests_of(before), weights=weights_of(before))
    # What stood in the row before must not shine through.
    bottom_k.add_column(large, rows=[1] * 8, digests=np.arange(1, 9))
    bottom_k.copy(*large, 1, *small, 0)
    bottom_k.add_column(large, rows=rows_of(after, 1), digests=digests_of(after), weights=weights_of(after))
    assert held(large, 1) == truth_below([*before, *after], int(large.thetas[1]))
    assert not large.hashes[1, int(large.sizes[1]) :].any()
    assert not large.counts[1, int(large.sizes[1]) :].any()


@LAW
@given(xs=ITEMS, ys=ITEMS, k=st.sampled_from([2, 5, 9]), other_k=st.sampled_from([2, 5, 9]))
def test_bottom_k_rows_of_unequal_sizes_merge_and_tell_where_slots_came_from(
    xs: Items, ys: Items, k: int, other_k: int
) -> None:
    left, right = bottom_k.empty(1, k=k), bottom_k.empty(1, k=other_k)
    for column, items in ((left, xs), (right, ys)):
        bottom_k.add_column(column, rows=rows_of(items, 0), digests=digests_of(items), weights=weights_of(items))
    mine, theirs = left.hashes[0].copy(), right.hashes[0].copy()
    origins = np.full((k, 2), 99, np.int32)
    bottom_k.merge(*left, 0, *right, 0, origins)
    assert held(left, 0) == truth_below([*xs, *ys], int(left.thetas[0]))
    size = int(left.sizes[0])
    for slot, digest in enumerate(left.hashes[0, :size]):
        for slots, origin in ((mine, origins[slot, 0]), (theirs, origins[slot, 1])):
            assert (origin >= 0) == (digest in slots)
            assert origin < 0 or slots[origin] == digest
    assert (origins[size:] == -1).all()


# Space-Saving depends on order; its bounds do not


def space_saving_of(items: Items, k: int) -> space_saving.SpaceSaving:
    column = space_saving.empty(1, k=k)
    space_saving.add_column(column, rows=rows_of(items, 0), digests=digests_of(items), weights=weights_of(items))
    return column


def state_of(column: space_saving.SpaceSaving) -> bytes:
    return column.keys.tobytes() + column.counts.tobytes() + column.errors.tobytes()


LIGHT_ITEMS = st.lists(st.tuples(st.integers(0, 15), st.integers(0, 50)), max_size=60)


@LAW
@given(xs=LIGHT_ITEMS, ys=LIGHT_ITEMS, k=st.sampled_from([1, 2, 4, 16]))
def test_space_saving_keeps_the_truth_in_its_bounds_through_merges(xs: Items, ys: Items, k: int) -> None:
    column, other = space_saving_of(xs, k), space_saving_of(ys, k)
    for sketch, items in ((column, xs), (column, [*xs, *ys])):
        if items is not xs:
            space_saving.merge(*sketch, 0, *other, 0)
        total = sum(weight for digest, weight in items if digest)
        for digest in range(1, 16):
            truth = sum(weight for d, weight in items if d == digest)
            bounds = space_saving.query(sketch, row=0, digest=digest)
            assert bounds.lower <= truth <= bounds.upper
            assert truth * k <= total or digest in sketch.keys[0]


@LAW
@given(xs=LIGHT_ITEMS, ys=LIGHT_ITEMS, k=st.sampled_from([1, 2, 4, 16]))
def test_space_saving_merges_commute_to_the_byte(xs: Items, ys: Items, k: int) -> None:
    one_way, other_way = space_saving_of(xs, k), space_saving_of(ys, k)
    space_saving.merge(*one_way, 0, *space_saving_of(ys, k), 0)
    space_saving.merge(*other_way, 0, *space_saving_of(xs, k), 0)
    assert state_of(one_way) == state_of(other_way)


@LAW
@given(items=LIGHT_ITEMS, cut=st.integers(0, 60))
def test_space_saving_cuts_do_not_show(items: Items, cut: int) -> None:
    column = space_saving_of(items[:cut], 4)
    rest = items[cut:]
    space_saving.add_column(column, rows=rows_of(rest, 0), digests=digests_of(rest), weights=weights_of(rest))
    assert state_of(column) == state_of(space_saving_of(items, 4))
