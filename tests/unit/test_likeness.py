"""Likeness: what lies between the accounts of a pool, and what they share."""

import numpy as np
import numpy.typing as npt
import pytest

from detector import likeness
from detector.accounts import HOUR_MS, A, AccountTable
from detector.config import TableSettings
from detector.link_columns import L
from detector.links import LinkTable
from detector.tails import UNKNOWN, Tails

F64 = npt.NDArray[np.float64]
MEMBERS, REQUESTS = 40, 30
NOW_MS = 10 * likeness.DAY_MS


def pool_of(*, between: float, strangers: int = 0, requests: int = REQUESTS) -> tuple[LinkTable, AccountTable]:
    """A pool of accounts whose mean log lengths have the spread `between` and their prompts one of 1 (in octaves)."""
    rng = np.random.default_rng(5)
    table, links = AccountTable(1_024), LinkTable(TableSettings(accounts_max=1_024, links_max=1_024, promoted_max=8))
    keys = rng.integers(1, 1 << 62, MEMBERS).astype(np.uint64)
    rows = table.index.add(keys, [b"account"] * MEMBERS)
    means = 7.0 + between * rng.standard_normal(MEMBERS)
    means[:strangers] += 6.0
    lengths = np.rint(256 * (means[:, None] + rng.standard_normal((MEMBERS, requests)))).astype(np.int64)
    stats = table.stats
    stats[rows, A.ORG], stats[rows, A.REQUESTS] = np.arange(MEMBERS) + 1, requests
    stats[rows, A.LOG_IN], stats[rows, A.LOG_IN_SQ] = lengths.sum(axis=1), (lengths**2).sum(axis=1)
    stats[rows, A.LOG_OUT] = stats[rows, A.LOG_IN] + 256 * requests
    links.large.columns.hashes[1, :MEMBERS], links.large.columns.sizes[1] = keys, MEMBERS
    return links, table


def measure(links: LinkTable, table: AccountTable, tails: Tails | None = None) -> likeness.Likeness:
    return likeness.likeness(links, np.array([1]), table, tails or Tails())


def test_one_source_leaves_nothing_between_accounts() -> None:
    alike = measure(*pool_of(between=0.0))
    assert alike.compared[0] == MEMBERS - int(likeness.TRIMMED * MEMBERS)
    assert alike.between_share[0] < 0.02
    assert alike.between_share[0] <= alike.between_upper[0] < 0.06


def test_the_share_between_accounts_is_that_of_their_variances() -> None:
    # Trimming takes the tenth furthest out of a normal distribution, which holds 0.38 of its variance.
    alike = measure(*pool_of(between=1.0))
    assert alike.between_share[0] == pytest.approx(0.62 / 1.62, abs=0.12)
    assert alike.between_upper[0] > alike.between_share[0]


def test_a_few_strangers_in_the_pool_change_little() -> None:
    assert measure(*pool_of(between=0.0, strangers=4)).between_upper[0] < 0.06
    assert measure(*pool_of(between=0.0, strangers=12)).between_share[0] > 0.5


def test_of_each_organisation_one_account_speaks() -> None:
    links, table = pool_of(between=0.0)
    table.stats[:, A.ORG] = table.stats[:, A.ORG] // 20 + 1
    assert measure(links, table).compared[0] == 3


def test_too_few_members_or_requests_leave_it_unknown() -> None:
    alike = measure(*pool_of(between=0.0, requests=1))
    assert alike.compared[0] == 0
    assert np.isnan(alike.between_upper[0])
    links, table = pool_of(between=0.0)
    links.large.columns.sizes[1] = 0
    assert np.isnan(measure(links, table).bare_share[0])


def test_shared_text_and_system_prompts_are_counted_by_member() -> None:
    links, table = pool_of(between=0.0)
    rows = table.index.find(links.large.columns.hashes[1, :MEMBERS])
    table.stats[rows, A.SHARED] = REQUESTS // 2
    table.stats[rows[: MEMBERS // 4], A.SYSTEM] = 9
    alike = measure(links, table)
    assert (alike.shared_share[0], alike.bare_share[0]) == (0.5, 0.75)


def said_by(links: LinkTable, table: AccountTable, *, strangers: int) -> None:
    """Let all members send the system prompt 9 through program 5, and strangers through programs of their own."""
    members = links.large.columns.hashes[1, :MEMBERS]
    keys = np.arange(1, strangers + 1, dtype=np.uint64)
    others = table.index.add(keys, [b"stranger"] * strangers)
    rows = table.index.find(members)
    table.stats[rows, A.SYSTEM], table.stats[rows, A.PROGRAM] = 9, 5
    table.stats[others, A.ORG] = table.stats[others, A.PROGRAM] = 1_000 + np.arange(strangers)
    (link,) = links.index.add(np.array([9], np.uint64), [b"system"])
    links.stats[link, L.POOL] = 2 + 1
    sample = np.concatenate([members, keys])
    links.large.columns.hashes[2, : sample.size], links.large.columns.sizes[2] = sample, sample.size


def test_a_system_prompt_that_strangers_use_through_other_programs_is_nobodys() -> None:
    links, table = pool_of(between=0.0)
    said_by(links, table, strangers=likeness.PUBLIC_ORGS_MIN)
    assert measure(links, table).bare_share[0] == 1.0


def test_an_applications_own_system_prompt_is_one() -> None:
    links, table = pool_of(between=0.0)
    said_by(links, table, strangers=likeness.PUBLIC_ORGS_MIN - 1)
    assert measure(links, table).bare_share[0] == 0.0


def test_what_is_taken_is_held_against_innocents_with_as_many_requests() -> None:
    links, table = pool_of(between=0.0)
    assert (measure(links, table).taking_known[0], measure(links, table).taking[0]) == (0, 0)
    tails = Tails()
    tails.sizes[:] = 100
    tails.points[:] = 900  # in 1/1024 octaves; the accounts take 1,024
    alike = measure(links, table, tails)
    assert (alike.taking_known[0], alike.taking[0]) == (MEMBERS, MEMBERS)
    tails.points[:] = 1_100
    assert measure(links, table, tails).taking[0] == 0
    assert (Tails().taken_limits(share=0.25) == UNKNOWN).all()


def loads(*, spread: float, mean: float = 40.0, days: float = 4.0, run: int = 10, members: int = 400) -> F64:
    """What `load` writes of accounts whose rates are log-normal and whose requests come in runs of equal length."""
    rng = np.random.default_rng(9)
    runs = rng.poisson(mean * days * np.exp(spread * rng.standard_normal(members)) / run)
    sent = run * runs
    return np.stack([sent, np.full(members, days), sent + 1.0, runs + 1.0], axis=1)


def test_loads_lie_apart_as_their_rates_do_without_the_noise_of_runs() -> None:
    members, even, noise = likeness.evenness(loads(spread=0.0))
    assert members == 400 - int(likeness.LOADS_TRIMMED * 400)
    assert even < 0.02
    assert noise == pytest.approx(10 / 160, rel=0.1)
    assert likeness.evenness(loads(spread=0.4))[1] == pytest.approx(0.16, abs=0.05)
    assert likeness.evenness(loads(spread=1.2))[1] > 0.6


def test_whoever_sends_little_counts_like_everybody() -> None:
    # Over half a day most have sent nothing more; those who have are no evidence of an even queue.
    assert likeness.evenness(loads(spread=1.0, mean=6.0, days=0.5))[1] > 0.5


def test_an_even_queue_stays_even_with_a_few_strangers_in_the_pool() -> None:
    queue = loads(spread=0.2)
    queue[:15, 0] *= 40
    assert likeness.evenness(queue)[1] < 0.1
    queue[:100, 0] *= 40
    assert likeness.evenness(queue)[1] > 1.0


def test_nobody_and_silence_have_no_spread() -> None:
    assert likeness.evenness(np.zeros((0, likeness.LOAD_COLUMNS)))[0] == 0
    assert np.isnan(likeness.evenness(loads(spread=0.0, members=2))[1])
    silent = loads(spread=0.0)
    silent[:, 0] = 0
    assert np.isnan(likeness.evenness(silent)[1])


def test_a_load_is_what_was_sent_after_the_first_hour_until_a_day_of_silence() -> None:
    stats, out = np.zeros(len(A), np.int64), np.empty(likeness.LOAD_COLUMNS)
    stats[[A.REQUESTS, A.FIRST_HOUR_COUNT, A.SESSIONS]] = 30, 12, 3
    stats[A.FIRST], stats[A.LAST] = NOW_MS - 2 * likeness.DAY_MS, NOW_MS - likeness.DAY_MS - HOUR_MS
    for count in (likeness.load, likeness.load.py_func):
        assert count(stats, NOW_MS, out)
        assert out.tolist() == pytest.approx([18, 1 + 22 / 24, 30, 3])
    stats[[A.FIRST, A.LAST]] = NOW_MS - 3 * HOUR_MS + 1
    assert not likeness.load(stats, NOW_MS, out)


def test_the_compiled_evenness_is_the_plain_one() -> None:
    assert np.allclose(likeness.evenness(loads(spread=0.7)), likeness.evenness.py_func(loads(spread=0.7)))


def test_the_compiled_measure_is_the_plain_one() -> None:
    links, table = pool_of(between=0.5, strangers=2)
    compiled, plain = np.zeros((1, likeness._COLUMNS)), np.zeros((1, likeness._COLUMNS))
    systems = np.zeros((2, 1), np.int64)
    table.stats[1:9, A.SYSTEM] = 7
    column = links.large.columns
    given = (
        np.array([1]), column.sizes, column.hashes, table.index.slot_keys, table.index.slot_rows, table.stats,
        Tails().taken_limits(share=0.25),
    )  # fmt: skip
    likeness._measure(*given, compiled, systems[0])
    likeness._measure.py_func(*given, plain, systems[1])
    assert np.allclose(compiled, plain)
    assert systems.tolist() == [[7], [7]]
