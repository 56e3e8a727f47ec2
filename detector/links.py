"""The link table and its pools: one row per attribute that accounts share.

Purpose: pool the events that carry a subnet, a payment, a template, an anchor ...
so that a campaign of ordinary-looking accounts becomes one visible row.
Invariants: most links are seen by one account only, so an admission gate lets a
link in when a second account shows it. A small row samples its accounts; at
`SMALL_K` accounts it is promoted to a *pool*: a larger coordinated sample with exact
counts per sampled account, distinct counts, and sums. Only pools are ever judged.
Everything is folded in canonical order and is a function of the panes alone.
Limits: `links_max` rows and `promoted_max` pools; unpinned rows with the fewest
accounts, longest idle, leave in bulk and are counted. The gate holds 8 tags of each
of two generations per bucket; tags of 16 bits of the key and 15 of the account make
it admit a stranger with 16 / 2**16 and overlook a second account with 1 / 2**15.
Source: bottom-k samples, Cohen and Kaplan 2007 (theta sketches); bucketed tags as in
cuckoo filters, Fan et al. 2014.
"""

import numpy as np
import numpy.typing as npt

from detector.admission import GENERATION_TAGS, knock
from detector.config import TableSettings
from detector.frames import LINKS_FIRST
from detector.index import KeyIndex, NamesOf, Pinned
from detector.link_columns import KIND_OF_COLUMN, LINK_COLUMNS, POOL_COLUMNS, POOL_K, POOL_REGISTERS, SMALL_K, L, P
from detector.pooling import POOL_COUNTED, fold
from detector.sketches import bottom_k

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

EVICT_SHARE = 16


class Sample:
    """Columns of bottom-k samples of accounts, with first and last time per sampled account."""

    def __init__(self, rows: int, k: int) -> None:
        """Reserve `rows` samples of `k` accounts."""
        self.columns = bottom_k.empty(rows, k=k)
        self.firsts: I64 = np.zeros((rows, k), np.int64)
        self.arrays = (*self.columns, self.firsts)

    def clear(self, rows: I64) -> None:
        """Empty rows."""
        for array in self.arrays:
            array[rows] = 0
        self.columns.thetas[rows] = bottom_k.THETA_MAX


class LinkTable:
    """Rows of links, the pools of the promoted ones, and the admission gate."""

    def __init__(self, settings: TableSettings) -> None:
        """Reserve (not touch) memory for the configured bounds."""
        rows, pools = settings.links_max, settings.promoted_max
        self.index = KeyIndex(rows)
        self.stats: I64 = np.zeros((rows, LINK_COLUMNS), np.int64)
        self.small = Sample(rows, SMALL_K)
        self.pools: I64 = np.zeros((pools, POOL_COLUMNS), np.int64)
        self.large = Sample(pools, POOL_K)
        # One block, so that it is large enough for huge pages.
        registers = np.zeros((4, pools, POOL_REGISTERS), np.uint8)
        self.sketches = dict(zip(("orgs", "subnets", "payments", "prompts"), registers, strict=True))
        self.free: I64 = np.concatenate([[pools], np.arange(pools - 1, -1, -1)]).astype(np.int64)
        self.touched: I64 = np.zeros(pools, np.int64)
        self.n_touched = 0
        buckets = settings.admission_cells // (2 * GENERATION_TAGS)
        self.gate = np.zeros((buckets, 2 * GENERATION_TAGS), np.uint32)
        self.gate_load: I64 = np.zeros(1, np.int64)
        self.generation = 0
        self.generation_ms = settings.admission_generation_ms
        self.generation_start_ms = 0
        self.evicted = 0
        self.dropped = 0  # links that the gate admitted and that found no row

    def rotate(self, end_ms: int) -> None:
        """Start a new gate generation when the old one is full by half, or old."""
        full = int(self.gate_load[0]) * 4 > self.gate.size
        if not full and end_ms - self.generation_start_ms < self.generation_ms:
            return
        self.generation ^= 1
        side = GENERATION_TAGS * self.generation
        self.gate[:, side : side + GENERATION_TAGS] = 0
        self.gate_load[0] = 0
        self.generation_start_ms = end_ms

    def admit(self, ids: U64, columns: I64, name_of: NamesOf, *, pinned: Pinned) -> I64:
        """Map a pane to link rows: int64 (rows, columns), -1 where the gate holds a link back.

        `columns` are the link columns of `ids` that the pane fills; `name_of(keys, rows)`
        lists the strings, `rows` being pane rows that show them; the link rows that `pinned()` lists may not leave.
        """
        rows = np.empty((len(ids), columns.size), np.int64)
        keys, at = np.empty(rows.size, np.uint64), np.empty(rows.size, np.int64)
        n = knock(
            self.index.slot_keys,
            self.index.slot_rows,
            ids,
            columns,
            self.gate,
            self.gate_load,
            self.generation,
            rows,
            keys,
            at,
        )
        if n == 0:
            return rows
        new, first = np.unique(keys[:n], return_index=True)
        in_order = np.argsort(first, kind="stable")
        new, first = new[in_order], first[in_order]
        if new.size > self.index.room():
            self._evict(new.size, pinned)
            room = self.index.room()
            self.dropped += max(0, new.size - room)
            new, first = new[:room], first[:room]
            rows[rows >= 0] = self.index.find(ids[:, columns][rows >= 0])
        added = self.index.add(new, name_of(new, at[first] // columns.size))
        self.stats[added, L.KIND] = KIND_OF_COLUMN[columns[at[first] % columns.size] - LINKS_FIRST]
        rows.reshape(-1)[at[:n]] = self.index.find(keys[:n])
        return rows

    def fold(self, rows: I64, ids: U64, numbers: I64) -> None:
        """Merge a pane (its links already mapped by `admit`)."""
        self.n_touched += fold(
            rows,
            ids,
            numbers,
            POOL_COUNTED,
            self.stats,
            self.small.arrays,
            self.pools,
            self.large.arrays,
            *self.sketches.values(),
            self.free,
            self.touched[self.n_touched :],
        )

    def _evict(self, wanted: int, pinned: Pinned) -> None:
        used = self.index.used
        gone = min(self.index.live(), max(wanted, self.index.rows_max // EVICT_SHARE))
        live = self.index.keys[:used] != 0
        live[pinned()] = False
        rows = np.flatnonzero(live)
        crowd = np.minimum(self.small.columns.sizes[rows], SMALL_K)
        order = np.lexsort((self.index.keys[rows], self.stats[rows, L.LAST], crowd, self.stats[rows, L.POOL] > 0))
        rows = rows[order[:gone]]
        self.release(rows[self.stats[rows, L.POOL] > 0])
        self.stats[rows] = 0
        self.small.clear(rows)
        self.index.remove(rows)
        self.evicted += rows.size

    def release(self, links: I64) -> None:
        """Take the pools of links away; their small samples stay."""
        if links.size == 0:
            return
        pools = self.stats[links, L.POOL] - 1
        self.stats[links, L.POOL] = 0
        self.pools[pools] = 0
        for registers in self.sketches.values():
            registers[pools] = 0
        self.large.clear(pools)
        for pool in sorted(pools.tolist(), reverse=True):
            self.free[0] += 1
            self.free[self.free[0]] = pool
        if self.n_touched:
            kept = self.touched[: self.n_touched]
            kept = kept[self.pools[kept, P.TOUCHED] == 1]
            self.touched[: kept.size] = kept
            self.n_touched = kept.size

    def make_room_for_pools(self, pinned: Pinned) -> None:
        """When no pool is free, take a sixteenth back from the longest idle links."""
        if self.free[0] > 0:
            return
        pools = np.flatnonzero(self.pools[:, P.REQUESTS] > 0)
        links = self.pools[pools, P.LINK]
        loose = ~np.isin(links, pinned())
        pools, links = pools[loose], links[loose]
        order = np.lexsort((self.index.keys[links], self.pools[pools, P.LAST]))
        self.release(links[order[: max(1, self.pools.shape[0] // EVICT_SHARE)]])

    def take_touched(self) -> I64:
        """Hand over the pools touched since the last call, in ascending order of their key."""
        pools = self.touched[: self.n_touched].copy()
        self.pools[pools, P.TOUCHED] = 0
        self.n_touched = 0
        return pools[np.argsort(self.index.keys[self.pools[pools, P.LINK]], kind="stable")]
