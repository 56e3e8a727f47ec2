"""Columns of sketches against plain Python twins, value by value."""

import bisect
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detector.sketches import bottom_k, count_min, histogram, hyperloglog, space_saving
from detector.sketches.columns import COUNT_MAX, floor_log2, saturating_add
from detector.sketches.estimate import Estimate, Estimates, pick, share

WORD = 2**64
# Compilation takes its time in the first example.
TWIN = settings(deadline=None, derandomize=True, max_examples=60)
# Few values so that items repeat, and the edges of the range.
DIGESTS = st.one_of(
    st.integers(1, 12).map(lambda i: i * 0x9E3779B97F4A7C15 % WORD),
    st.integers(0, WORD - 1),
    st.sampled_from([0, 1, 2, 2**63, WORD - 2, WORD - 1]),
)
WEIGHTS = st.one_of(st.integers(0, 5), st.sampled_from([COUNT_MAX - 1, COUNT_MAX, 2**40]))
ITEMS = st.lists(st.tuples(st.integers(0, 2), DIGESTS, WEIGHTS), max_size=60)
VALUES = st.one_of(st.integers(-2, 40), st.integers(0, 2**63 - 1))

Items = Sequence[tuple[int, int, int]]
Columns = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64], npt.NDArray[np.int64]]


def columns_of(items: Items) -> Columns:
    rows, digests, weights = zip(*items, strict=True) if items else ((), (), ())
    return np.array(rows, np.int64), np.array(digests, np.uint64), np.array(weights, np.int64)


def weights_by_digest(items: Items, row: int) -> dict[int, int]:
    truth: dict[int, int] = {}
    for at, digest, weight in items:
        if at == row and digest:
            truth[digest] = truth.get(digest, 0) + weight
    return truth


# Primitives


@TWIN
@given(st.integers(0, COUNT_MAX), st.integers(0, 2**62))
def test_a_count_stops_at_its_maximum(count: int, weight: int) -> None:
    assert saturating_add(np.uint32(count), weight) == min(count + weight, COUNT_MAX)


@TWIN
@given(st.integers(1, 2**63 - 1))
def test_floor_log2_is_the_bit_length_less_one(value: int) -> None:
    assert floor_log2(value) == value.bit_length() - 1


def test_pick_takes_one_row() -> None:
    column = Estimates(np.array([1.0, 5.0]), np.array([0.0, 4.0]), np.array([2.0, 6.0]))
    assert pick(column, row=1) == Estimate(5.0, 4.0, 6.0)


def test_a_share_of_nothing_is_unknown_and_bounds_hold_the_value() -> None:
    shares = share(hits=np.array([0.0, 0.0, 9.0, 5.0]), trials=np.array([0.0, 9.0, 9.0, 9.0]))
    assert (shares.lower[0], shares.upper[0]) == (0.0, 1.0)
    assert (shares.lower <= shares.value).all()
    assert (shares.value <= shares.upper).all()
    assert (shares.lower[1], shares.upper[2]) == (0.0, 1.0)
    assert shares.upper[1] > 0.0


# HyperLogLog


@TWIN
@given(ITEMS, st.sampled_from([16, 64, 4096]))
def test_hyperloglog_equals_its_twin(items: Items, m: int) -> None:
    expected = [[0] * m for _ in range(3)]
    rank_bits = 64 - (m.bit_length() - 1)
    for row, digest, _ in items:
        if digest:
            rank = rank_bits - (digest >> (64 - rank_bits)).bit_length() + 1
            expected[row][digest % m] = max(expected[row][digest % m], rank)
    registers = hyperloglog.empty(3, registers=m)
    rows, digests, _ = columns_of(items)
    hyperloglog.add_column(registers, rows=rows, digests=digests)
    assert registers.tolist() == expected


def test_hyperloglog_reaches_its_last_rank_and_stays() -> None:
    registers = hyperloglog.empty(1, registers=16)
    for _ in range(2):
        hyperloglog.add(registers, 0, np.uint64(3))
        assert registers[0, 3] == 61
    hyperloglog.add(registers, 0, np.uint64(16 + 3))
    assert registers[0, 3] == 61


def test_hyperloglog_of_nothing_is_zero() -> None:
    assert pick(hyperloglog.estimate(hyperloglog.empty(1, registers=64)), row=0) == Estimate(0.0, 0.0, 0.0)


def test_hyperloglog_estimates_saturated_registers() -> None:
    estimates = hyperloglog.estimate(np.full((1, 16), 61, np.uint8))
    assert estimates.value[0] == 2.0**64
    assert (estimates.lower <= estimates.value).all()


@pytest.mark.parametrize("registers", [0, 8, 48, 1 << 17])
def test_hyperloglog_refuses_a_wrong_number_of_registers(registers: int) -> None:
    with pytest.raises(AssertionError, match=f"registers={registers} "):
        hyperloglog.empty(1, registers=registers)


# Bottom-k


def bottom_k_twin(items: Items, row: int, k: int) -> tuple[list[tuple[int, int]], int]:
    """The k smallest digests with their weights, and theta, from the definition."""
    truth = {d: w for d, w in weights_by_digest(items, row).items() if d < bottom_k.THETA_MAX}
    ordered = sorted(truth)
    theta = ordered[k] if len(ordered) > k else bottom_k.THETA_MAX
    return [(d, min(truth[d], COUNT_MAX)) for d in ordered[:k]], theta


@TWIN
@given(ITEMS, st.sampled_from([2, 5, 64]))
def test_bottom_k_equals_its_twin(items: Items, k: int) -> None:
    column = bottom_k.empty(3, k=k)
    rows, digests, weights = columns_of(items)
    bottom_k.add_column(column, rows=rows, digests=digests, weights=weights)
    sorted_column = bottom_k.canonical(column)
    for row in range(3):
        expected, theta = bottom_k_twin(items, row, k)
        size = int(sorted_column.sizes[row])
        held = zip(sorted_column.hashes[row].tolist(), sorted_column.counts[row].tolist(), strict=True)
        assert list(held) == expected + [(0, 0)] * (k - size)
        assert (size, int(sorted_column.thetas[row])) == (len(expected), theta)


@TWIN
@given(ITEMS)
def test_bottom_k_answers_let_a_parallel_column_follow(items: Items) -> None:
    column = bottom_k.empty(3, k=3)
    first_seen = np.full((3, 3), -1)
    rows, digests, weights = columns_of(items)
    for i, answer in enumerate(bottom_k.add_column(column, rows=rows, digests=digests, weights=weights)):
        if answer <= -2:
            first_seen[rows[i], -answer - 2] = i
    for row in range(3):
        for slot in range(int(column.sizes[row])):
            i = first_seen[row, slot]
            assert digests[i] == column.hashes[row, slot]
            assert i == np.flatnonzero((rows == row) & (digests == digests[i]))[0]


def test_bottom_k_is_exact_until_full() -> None:
    column = bottom_k.empty(2, k=4)
    bottom_k.add_column(column, rows=[0, 0, 0], digests=[7, 8, 9])
    estimates = bottom_k.estimate(sizes=column.sizes, thetas=column.thetas)
    assert pick(estimates, row=0) == Estimate(3.0, 3.0, 3.0)
    assert pick(estimates, row=1) == Estimate(0.0, 0.0, 0.0)


def test_jaccard_of_empty_rows_is_unknown() -> None:
    column = bottom_k.empty(2, k=4)
    similarity = bottom_k.jaccard(column, rows=[0], other=column, other_rows=[1])
    assert pick(similarity, row=0) == Estimate(0.0, 0.0, 1.0)


def test_overlap_counts_below_the_smaller_theta_only() -> None:
    small, large = bottom_k.empty(1, k=2), bottom_k.empty(1, k=8)
    bottom_k.add_column(small, rows=[0] * 3, digests=[10, 20, 30])
    bottom_k.add_column(large, rows=[0] * 4, digests=[10, 15, 30, 40])
    counted = bottom_k.overlap(small.hashes, small.sizes, small.thetas, 0, large.hashes, large.sizes, large.thetas, 0)
    assert counted == (1, 2, 2)


# Count-min


@TWIN
@given(ITEMS, st.sampled_from([(1, 1), (3, 7), (4, 64)]))
def test_count_min_equals_its_twin(items: Items, shape: tuple[int, int]) -> None:
    depth, width = shape
    expected = [[0] * width for _ in range(depth)]
    cells = count_min.empty(depth=depth, width=width)
    for _, digest, weight in items:
        least = COUNT_MAX if digest else 0
        for d in range(depth if digest else 0):
            at = (digest * pow(0xD1342543DE82EF95, d, WORD) % WORD >> 32) * width >> 32
            expected[d][at] = min(expected[d][at] + weight, COUNT_MAX)
            least = min(least, expected[d][at])
        assert count_min.add(cells, np.uint64(digest), weight) == least
        assert count_min.query(cells, np.uint64(digest)) == least
    assert cells.tolist() == expected


def test_count_min_estimates_with_bounds() -> None:
    cells = count_min.empty(depth=4, width=1000)
    count_min.add_column(cells, digests=[5, 5, 6], weights=[10, 5, 1000])
    estimates = count_min.estimate(cells, digests=[5, 0])
    assert estimates.value.tolist() == estimates.upper.tolist() == [15.0, 0.0]
    assert estimates.lower[0] == pytest.approx(15 - np.e / 1000 * 1015)


def test_count_min_refuses_unequal_tables() -> None:
    with pytest.raises(AssertionError, match="do not merge"):
        count_min.merge(count_min.empty(depth=2, width=8), count_min.empty(depth=2, width=16))


# Histogram


@TWIN
@given(
    items=st.lists(st.tuples(VALUES, WEIGHTS), max_size=30),
    bins=st.sampled_from([2, 24, 40, 64]),
    octaves=st.booleans(),
)
def test_histogram_equals_its_edges(items: list[tuple[int, int]], bins: int, *, octaves: bool) -> None:
    edges = histogram.octave_edges(bins) if octaves else histogram.half_octave_edges(bins)
    expected = [0] * bins
    for value, weight in items:
        at = bisect.bisect_right(edges[:-1].tolist(), max(value, 0)) - 1
        expected[at] = min(expected[at] + weight, COUNT_MAX)
    column = histogram.empty(1, bins=bins)
    values, weights = [v for v, _ in items], [w for _, w in items]
    histogram.add_column(column, rows=[0] * len(items), values=values, weights=weights, octaves=octaves)
    assert column.tolist() == [expected]


def test_half_octaves_fold_into_octaves() -> None:
    values = [0, 1, 2, 3, 5, 9, 100, 1000]
    half, whole = histogram.empty(1, bins=20), histogram.empty(1, bins=11)
    histogram.add_column(half, rows=[0] * len(values), values=values)
    histogram.add_column(whole, rows=[0] * len(values), values=values, octaves=True)
    folded = histogram.to_octaves(half)[0].tolist()
    assert folded == [int(whole[0, 0] + whole[0, 1]), *whole[0, 2:].tolist()]


@TWIN
@given(st.lists(st.integers(0, 5000), min_size=1, max_size=50), st.sampled_from([0.01, 0.25, 0.5, 0.9, 1.0]))
def test_the_true_quantile_lies_in_the_bounds(values: list[int], q: float) -> None:
    column = histogram.empty(1, bins=40)
    histogram.add_column(column, rows=[0] * len(values), values=values)
    got = pick(histogram.quantile(column, q=q, edges=histogram.half_octave_edges(40)), row=0)
    truth = sorted(values)[max(int(np.ceil(q * len(values))), 1) - 1]
    assert got.lower <= truth <= got.upper
    assert got.lower <= got.value <= got.upper <= max(1.5 * got.lower, 3.0)


def test_a_quantile_of_nothing_is_unknown_and_the_last_bin_is_open() -> None:
    column = histogram.empty(2, bins=4)
    histogram.add_column(column, rows=[1], values=[99])
    median = histogram.quantile(column, q=0.5, edges=histogram.half_octave_edges(4))
    assert pick(median, row=0) == Estimate(0.0, 0.0, np.inf)
    assert pick(median, row=1) == Estimate(3.0, 3.0, np.inf)


@TWIN
@given(VALUES)
def test_log2_fixed_is_the_exact_floor(value: int) -> None:
    got = int(histogram.log2_fixed(value))
    # 2**(got/256) <= value < 2**((got + 1)/256), in whole numbers
    assert 2**got <= max(value, 1) ** 256 < 2 ** (got + 1)


def test_log2_fixed_is_exact_at_every_threshold() -> None:
    for exponent in (9, 20, 40, 62):
        for part in range(256):
            # The least whole number at or above 2**(exponent + part/256), and the one below.
            low, high = 2**exponent, 2 ** (exponent + 1)
            target = 2 ** (256 * exponent + part)
            least = bisect.bisect_left(range(low, high), target, key=lambda v: v**256) + low
            logs = histogram.log2_column([least, least - 1])
            assert logs[0] >= 256 * exponent + part > logs[1]
            assert least**256 < 2 ** (int(logs[0]) + 1)


def test_moments_agree_with_floating_point() -> None:
    values = np.random.default_rng(7).integers(1, 20_000, 1000)
    logs = histogram.log2_column(values)
    sums, squares = logs.sum(keepdims=True), (logs**2).sum(keepdims=True)
    got = histogram.moments(counts=np.array([1000]), sums=sums, squares=squares)
    assert got.mean[0] == pytest.approx(np.log2(values).mean(), abs=1 / 256)
    assert got.deviation[0] == pytest.approx(np.log2(values).std(), abs=1 / 256)
    nothing = np.zeros(1, np.int64)
    assert [x[0] for x in histogram.moments(counts=nothing, sums=nothing, squares=nothing)] == [0.0, 0.0]


# Space-Saving


@TWIN
@given(ITEMS, st.sampled_from([1, 3, 16]))
def test_space_saving_equals_its_twin(items: Items, k: int) -> None:
    expected: list[dict[int, tuple[int, int]]] = [{}, {}, {}]
    for row, digest, weight in items:
        held = expected[row]
        if digest in held:
            held[digest] = (min(held[digest][0] + weight, COUNT_MAX), held[digest][1])
        elif digest:
            floor = 0
            if len(held) == k:
                least = min(held, key=lambda d: (held[d][0], d))
                floor = held.pop(least)[0]
            held[digest] = (min(floor + weight, COUNT_MAX), floor)
    column = space_saving.empty(3, k=k)
    rows, digests, weights = columns_of(items)
    space_saving.add_column(column, rows=rows, digests=digests, weights=weights)
    for row in range(3):
        triples = zip(*(array[row].tolist() for array in column), strict=True)
        assert {key: (count, error) for key, count, error in triples if key} == expected[row]


def test_space_saving_queries_held_and_unheld_items() -> None:
    column = space_saving.empty(1, k=2)
    assert space_saving.query(column, row=0, digest=9) == Estimate(0.0, 0.0, 0.0)
    space_saving.add_column(column, rows=[0] * 4, digests=[1, 1, 2, 3])
    assert space_saving.query(column, row=0, digest=3) == Estimate(2.0, 1.0, 2.0)
    assert space_saving.query(column, row=0, digest=2) == Estimate(0.0, 0.0, 2.0)
    assert space_saving.estimate(column).lower.tolist() == [[2.0, 1.0]]


# Argument columns


def test_a_row_outside_the_column_is_a_bug() -> None:
    with pytest.raises(AssertionError, match=r"rows 0\.\.3 outside 0\.\.2"):
        hyperloglog.add_column(hyperloglog.empty(3, registers=16), rows=[0, 3], digests=[1, 2])


def test_columns_of_unequal_length_are_a_bug() -> None:
    with pytest.raises(AssertionError, match="1 digests for 2 rows"):
        bottom_k.add_column(bottom_k.empty(3, k=4), rows=[0, 1], digests=[1])
    with pytest.raises(AssertionError, match="1 weights for 2 items"):
        count_min.add_column(count_min.empty(depth=1, width=4), digests=[1, 2], weights=[1])


def test_a_negative_weight_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="weight -1 is negative"):
        space_saving.add_column(space_saving.empty(1, k=4), rows=[0], digests=[1], weights=[-1])


def test_read_only_columns_are_accepted() -> None:
    digests = np.frombuffer(np.arange(1, 4, dtype=np.uint64).tobytes(), np.uint64)
    cells = count_min.empty(depth=1, width=64)
    count_min.add_column(cells, digests=digests)
    assert cells.sum() == 3
