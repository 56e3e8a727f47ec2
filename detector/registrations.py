"""Registrations: how much more alike the members of a pool signed up than the population did.

Purpose: what accounts were registered with (the domain of the mail address) is no evidence
by itself, and no list says which domains are suspicious: a member counts by how much commoner
its domain is among the *other* members of the pool than among everybody.
Invariants: the reference is a function of the account table alone, one count per organisation,
members of campaigns left out; integers are kept, floats are made on asking.
Limits: the reference samples `REFERENCE_MAX` accounts, those with the smallest keys, and keeps
their `DOMAINS_MAX` commonest domains; a domain that it lacks counts as seen half a time.
Source: similar registrations are a published indicator of coordinated accounts; the mixture is
a two-component likelihood with each member left out of its own estimate.
"""

from typing import NamedTuple

import numba
import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
from detector.index import find
from detector.sketches.columns import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

REFRESH_MS = 600_000
REFERENCE_MAX = 16_384
DOMAINS_MAX = 1_024
# Half of a campaign's accounts come from one batch of sign-ups, the other half from where everybody's do.
BATCH_SHARE = 0.5
# No member says more than ln(1/2 + 8/2) = 1.5: two acquaintances with a small provider are no batch.
RATIO_MAX = 8.0
# The base rate counts for so many members more, so that few of them do not make a rate of their own.
PRIOR_MEMBERS = 4.0
_MAIL, _ORG = int(A.MAIL), int(A.ORG)


class Alike(NamedTuple):
    """Per pool (float64): organisations of known domain, the mean of their natural log-odds and its standard error."""

    mailed: F64
    mail_alike: F64
    mail_error: F64


class Registrations:
    """The population's mail domains: `domains` (int64, ascending, then unused) and `counts` of organisations."""

    def __init__(self) -> None:
        """Start without a reference: nothing is alike."""
        self.refreshed_ms = 0
        self.total = 0  # organisations of known domain
        self.known = 0  # accounts of known domain ...
        self.sampled = 0  # ... of which so many are in the reference
        self.domains: I64 = np.zeros(DOMAINS_MAX, np.int64)
        self.counts: I64 = np.zeros(DOMAINS_MAX, np.int64)

    def refresh(self, accounts: AccountTable, *, now_ms: int) -> None:
        """Renew the reference if it is due at `now_ms`."""
        if now_ms - self.refreshed_ms < REFRESH_MS:
            return
        self.refreshed_ms = now_ms
        stats = accounts.stats[: accounts.index.used]
        rows = np.flatnonzero((stats[:, A.MAIL] != 0) & (stats[:, A.CAMPAIGN] == 0) & (stats[:, A.REQUESTS] > 0))
        self.known = rows.size
        if rows.size > REFERENCE_MAX:
            rows = rows[np.argpartition(accounts.index.keys[rows], REFERENCE_MAX)[:REFERENCE_MAX]]
        self.sampled = rows.size
        pairs = np.unique(stats[rows][:, [A.MAIL, A.ORG]], axis=0)
        domains, counts = np.unique(pairs[:, 0], return_counts=True)
        self.total = int(counts.sum())
        kept = np.sort(np.lexsort((domains, -counts))[:DOMAINS_MAX])
        self.domains[:], self.counts[:] = 0, 0
        self.domains[: kept.size], self.counts[: kept.size] = domains[kept], counts[kept]

    def alike(self, accounts: AccountTable, sizes: npt.NDArray[np.uint16], hashes: U64, *, crowds: F64) -> Alike:
        """Weigh samples (`hashes` (n, k) of which `sizes` (n,) count) of pools with `crowds` (n,) accounts.

        The mean is 0 or less where they signed up as everybody does, and NaN where nothing is known.
        """
        known, gain, error = np.zeros(sizes.size), np.full(sizes.size, np.nan), np.full(sizes.size, np.nan)
        if self.total:
            used = int(np.count_nonzero(self.counts))
            # So many members of each pool are in the reference.
            within = crowds * (self.sampled / self.known)
            _alike(
                sizes, hashes, accounts.index.slot_keys, accounts.index.slot_rows, accounts.stats,
                self.domains[:used], self.counts[:used], float(self.total), within, known, gain, error,
            )  # fmt: skip
        return Alike(known, gain, error)


@kernel
def _among(values, value):  # type: ignore[no-untyped-def]
    n = 0
    for v in values:
        n += v == value
    return n


@numba.njit(cache=True)
def _alike(  # type: ignore[no-untyped-def]
    sizes, hashes, slot_keys, slot_rows, stats, domains, counts, total, within, known, gain, error
):
    mails = np.empty(hashes.shape[1], np.int64)
    orgs = np.empty(hashes.shape[1], np.int64)
    for i in range(sizes.size):
        n = 0
        for k in range(np.int64(sizes[i])):
            row = find(slot_keys, slot_rows, hashes[i, k])
            if row < 0 or stats[row, _MAIL] == 0 or _among(orgs[:n], stats[row, _ORG]) > 0:
                continue
            mails[n] = stats[row, _MAIL]
            orgs[n] = stats[row, _ORG]
            n += 1
        known[i] = n
        if n < 2:
            continue
        gained, squared = 0.0, 0.0
        for m in range(n):
            here = np.float64(_among(mails[:n], mails[m]))
            at = np.searchsorted(domains, mails[m])
            everywhere = 0.5
            if at < domains.size and domains[at] == mails[m]:
                everywhere = np.float64(counts[at])
            # The pool is part of the population: what it adds to the count is taken off.
            own = min(within[i], total - 1.0)
            usual = max(everywhere - here / n * own, 0.5) / (total - own)
            others = (here - 1.0 + PRIOR_MEMBERS * usual) / (n - 1.0 + PRIOR_MEMBERS)
            says = np.log(1.0 - BATCH_SHARE + BATCH_SHARE * min(others / usual, RATIO_MAX))
            gained += says
            squared += says * says
        gain[i] = gained / n
        error[i] = np.sqrt(max(squared / n - gain[i] * gain[i], 0.0) / (n - 1))
