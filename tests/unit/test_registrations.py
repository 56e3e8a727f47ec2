"""How much more alike a pool signed up than the population did."""

import numpy as np
import pytest

from detector.accounts import A, AccountTable
from detector.registrations import REFRESH_MS, Registrations

LARGE, THROWAWAY = 1, 2
PEOPLE = 400


def table(mails: list[int], *, orgs: list[int] | None = None) -> AccountTable:
    """One account for each of these mail domains, each its own organisation unless said otherwise."""
    accounts = AccountTable(2 * len(mails))
    keys = np.arange(1, len(mails) + 1, dtype=np.uint64) << np.uint64(32)
    rows = accounts.index.add(keys, [b"a%d" % at for at in range(len(mails))])
    accounts.stats[rows, A.MAIL] = mails
    accounts.stats[rows, A.ORG] = np.arange(1, len(mails) + 1) if orgs is None else orgs
    accounts.stats[rows, A.REQUESTS] = 5
    return accounts


def alike(accounts: AccountTable, at: slice) -> tuple[float, float]:
    held = Registrations()
    held.refresh(accounts, now_ms=REFRESH_MS)
    keys = np.sort(accounts.index.keys[: accounts.index.used])[at][None, :].copy()
    known, gain, _ = held.alike(accounts, np.array([keys.size], np.uint16), keys, crowds=np.array([float(keys.size)]))
    return float(known[0]), float(gain[0])


def ordinary(count: int) -> list[int]:
    """Mostly one large provider, one in twenty throw-away mail, the others their own domain."""
    return [LARGE if n % 2 else THROWAWAY if n % 20 == 0 else 1_000 + n for n in range(count)]


def test_a_batch_with_throw_away_mail_stands_out() -> None:
    batch = [THROWAWAY if n % 2 else LARGE for n in range(40)]
    known, gain = alike(table(ordinary(PEOPLE) + batch), slice(PEOPLE, None))
    assert known == 40
    assert gain > 0.3


@pytest.mark.parametrize("members", [20, 60, 200])
def test_a_sample_of_everybody_does_not(members: int) -> None:
    _, gain = alike(table(ordinary(PEOPLE)), slice(0, members))
    assert gain < 0.05


def test_customers_with_domains_of_their_own_do_not() -> None:
    _, gain = alike(table(ordinary(PEOPLE) + [9_000 + n for n in range(40)]), slice(PEOPLE, None))
    assert gain < 0.0


def test_colleagues_count_once() -> None:
    batch = [THROWAWAY] * 40
    orgs = [*range(1, PEOPLE + 1), *([7_777] * 40)]
    known, gain = alike(table(ordinary(PEOPLE) + batch, orgs=orgs), slice(PEOPLE, None))
    assert known == 1
    assert np.isnan(gain)


def test_without_a_reference_nothing_is_known() -> None:
    known, gain, error = Registrations().alike(
        table([LARGE] * 20), np.array([3], np.uint16), np.zeros((1, 4), np.uint64), crowds=np.ones(1)
    )
    assert known[0] == 0
    assert np.isnan(gain[0])
    assert np.isnan(error[0])


def test_it_is_renewed_when_due_and_leaves_members_of_campaigns_out() -> None:
    accounts, held = table(ordinary(PEOPLE)), Registrations()
    held.refresh(accounts, now_ms=REFRESH_MS)
    assert held.total == PEOPLE
    accounts.stats[:100, A.CAMPAIGN] = 1
    held.refresh(accounts, now_ms=REFRESH_MS + 1)
    assert held.total == PEOPLE
    held.refresh(accounts, now_ms=2 * REFRESH_MS)
    assert held.total == PEOPLE - 100
