"""The reference of innocents, and ranks against it."""

import numpy as np

from detector.accounts import A
from detector.tails import FEW, ONE, REFRESH_MS, STRATUM_MIN, Tails, reference
from tests.unit.crowds import ODD, ORDINARY, crowd


def test_of_one_program_few_accounts_speak_in_the_reference() -> None:
    table = crowd()
    rows = reference(table)
    assert (table.stats[rows, A.PROGRAM] == 7).sum() == FEW
    assert rows.size == ORDINARY + FEW


def test_the_accused_are_no_reference() -> None:
    table = crowd()
    table.stats[:ORDINARY, A.CAMPAIGN] = 1
    assert reference(table).size == FEW


def test_those_that_lie_out_rank_first_and_nobody_ranks_at_nothing() -> None:
    table, tails = crowd(), Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    ranks, judged = tails.rank(table, np.arange(ORDINARY + ODD))
    assert judged.all()
    assert (ranks[ORDINARY:, 2] < ONE // 8).all()
    assert (ranks[:ORDINARY, 2] < ONE // 8).sum() <= ORDINARY // 8
    assert ranks.min() > 0


def test_nobody_is_judged_against_too_few_or_before_the_first_reference() -> None:
    table, tails = crowd(), Tails()
    rows = np.arange(ORDINARY + ODD)
    assert not tails.rank(table, rows)[1].any()
    table.stats[STRATUM_MIN - 2 :, A.REQUESTS] = 1
    tails.refresh(table, now_ms=REFRESH_MS)
    assert not tails.rank(table, rows)[1].any()


def test_a_reference_lasts_until_it_is_due() -> None:
    table, tails = crowd(), Tails()
    tails.refresh(table, now_ms=REFRESH_MS)
    before = tails.points.copy()
    table.stats[:, A.LOG_OUT] *= 2
    tails.refresh(table, now_ms=2 * REFRESH_MS - 1)
    assert np.array_equal(tails.points, before)
    tails.refresh(table, now_ms=2 * REFRESH_MS)
    assert not np.array_equal(tails.points, before)
