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

from enum import IntEnum

import numba
import numpy as np
import numpy.typing as npt

from detector.admission import GENERATION_TAGS, knock
from detector.config import TableSettings
from detector.frames import ID, IDS, LINKS_FIRST, NUM, Flag
from detector.index import KeyIndex, NamesOf, Pinned
from detector.sketches import bottom_k, histogram, hyperloglog
from detector.sketches.columns import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

SMALL_K = 8
POOL_K = 128
POOL_REGISTERS = 256
EVICT_SHARE = 16
YOUNG_MS = 7 * 86_400_000
HOUR_MS = 3_600_000

KINDS = (
    "subnet",
    "payment_fp",
    "device_fp",
    "signup_ip_fp",
    "signup_email_domain_fp",
    "org",
    "system_prompt_fp",
    "template_fp",
    "ja4",
    "program",
    "cohort",
    "anchor_fp",
    "run_fp",
)
TEXT_KINDS = ("system_prompt_fp", "template_fp", "anchor_fp", "run_fp")
KIND_OF_COLUMN = np.array([min(c - LINKS_FIRST, 11) if c < ID.RUN else 12 for c in range(LINKS_FIRST, IDS)], np.int64)


class L(IntEnum):
    """Columns of `LinkTable.stats` (int64)."""

    KIND = 0
    FIRST = 1
    LAST = 2
    REQUESTS = 3
    POOL = 4  # pool row + 1


class P(IntEnum):
    """Columns of `LinkTable.pools` (int64). Log columns are in 1/256 octaves."""

    LINK = 0
    FIRST = 1
    LAST = 2
    REQUESTS = 3
    INPUT = 4
    OUTPUT = 5
    REASONING = 6
    COST_MICRO_USD = 7
    LOG_IN = 8
    LOG_IN_SQ = 9
    LOG_OUT = 10
    LOG_OUT_SQ = 11
    TURN_KNOWN = 12
    SINGLE = 13
    ELICITATION_KNOWN = 14
    ELICITED = 15
    TOOLS_KNOWN = 16
    TOOLS = 17
    FINISH_KNOWN = 18
    CAPPED = 19
    CONTAINED = 20
    VERIFIED = 21
    DATACENTER = 22
    AGE_KNOWN = 23
    YOUNG = 24
    PROGRAM = 25
    PROGRAM_VOTES = 26
    TEXTS = 27
    JUDGED = 28
    TOUCHED = 29
    KIND = 30
    CAMPAIGN = 31  # campaign number + 1


LINK_COLUMNS, POOL_COLUMNS = 5, 32
(_KIND, _FIRST, _LAST, _REQUESTS, _POOL) = (int(c) for c in L)
(
    _P_LINK, _P_FIRST, _P_LAST, _P_REQUESTS, _P_INPUT, _P_OUTPUT, _P_REASONING, _P_COST, _P_LOG_IN, _P_LOG_IN_SQ,
    _P_LOG_OUT, _P_LOG_OUT_SQ, _P_TURN_KNOWN, _P_SINGLE, _P_ELICITATION_KNOWN, _P_ELICITED, _P_TOOLS_KNOWN, _P_TOOLS,
    _P_FINISH_KNOWN, _P_CAPPED, _P_CONTAINED, _P_VERIFIED, _P_DATACENTER, _P_AGE_KNOWN, _P_YOUNG, _P_PROGRAM,
    _P_PROGRAM_VOTES, _P_TEXTS, _P_JUDGED, _P_TOUCHED, _P_KIND, _P_CAMPAIGN,
) = (int(c) for c in P)  # fmt: skip
_POOL_COUNTED = np.array(
    [
        [int(Flag.ELICITATION_KNOWN), _P_ELICITATION_KNOWN],
        [int(Flag.ELICITED), _P_ELICITED],
        [int(Flag.TOOLS_KNOWN), _P_TOOLS_KNOWN],
        [int(Flag.TOOLS), _P_TOOLS],
        [int(Flag.FINISH_KNOWN), _P_FINISH_KNOWN],
        [int(Flag.CAPPED), _P_CAPPED],
        [int(Flag.CONTAINED), _P_CONTAINED],
        [int(Flag.VERIFIED), _P_VERIFIED],
        [int(Flag.DATACENTER), _P_DATACENTER],
    ],
    np.int64,
)
_TIME, _CREATED, _INPUT, _OUTPUT, _REASONING, _TURN, _CHARS, _COST, _FLAGS = (
    int(NUM.TIME), int(NUM.CREATED), int(NUM.INPUT), int(NUM.OUTPUT), int(NUM.REASONING), int(NUM.TURN),
    int(NUM.PROMPT_CHARS), int(NUM.COST_MICRO_USD), int(NUM.FLAGS),
)  # fmt: skip
_I_ACCOUNT, _I_ORG, _I_PROMPT, _I_SUBNET, _I_PAYMENT, _I_PROGRAM = (
    int(ID.ACCOUNT), int(ID.ORG), int(ID.PROMPT), int(ID.SUBNET), int(ID.PAYMENT), int(ID.PROGRAM),
)  # fmt: skip
_FIRST_LINK = LINKS_FIRST


@kernel
def _pool_event(pool, ids, numbers, i, time, counted, pools, hours, orgs, subnets, payments, prompts):  # type: ignore[no-untyped-def]
    p = pools[pool]
    if p[_P_REQUESTS] == 0:
        p[_P_FIRST] = time
    p[_P_LAST] = max(p[_P_LAST], time)
    p[_P_REQUESTS] += 1
    p[_P_INPUT] += max(numbers[i, _INPUT], 0)
    p[_P_OUTPUT] += max(numbers[i, _OUTPUT], 0)
    p[_P_REASONING] += max(numbers[i, _REASONING], 0)
    p[_P_COST] += max(numbers[i, _COST], 0)
    length = numbers[i, _CHARS] if numbers[i, _CHARS] >= 0 else 4 * numbers[i, _INPUT]
    log_in = histogram.log2_fixed(max(length, 1))
    log_out = histogram.log2_fixed(max(numbers[i, _OUTPUT], 1))
    p[_P_LOG_IN] += log_in
    p[_P_LOG_IN_SQ] += log_in * log_in
    p[_P_LOG_OUT] += log_out
    p[_P_LOG_OUT_SQ] += log_out * log_out
    if numbers[i, _TURN] >= 0:
        p[_P_TURN_KNOWN] += 1
        p[_P_SINGLE] += numbers[i, _TURN] == 0
    flags = numbers[i, _FLAGS]
    for f in range(counted.shape[0]):
        p[counted[f, 1]] += (flags & counted[f, 0]) != 0
    if numbers[i, _CREATED] >= 0:
        p[_P_AGE_KNOWN] += 1
        p[_P_YOUNG] += time - numbers[i, _CREATED] < YOUNG_MS
    program = np.int64(ids[i, _I_PROGRAM])
    if p[_P_PROGRAM_VOTES] == 0:
        p[_P_PROGRAM] = program
    p[_P_PROGRAM_VOTES] += 1 if program == p[_P_PROGRAM] else -1
    hours[pool, (time // HOUR_MS) % 24] += 1
    hyperloglog.add(orgs, pool, ids[i, _I_ORG] if ids[i, _I_ORG] != 0 else ids[i, _I_ACCOUNT])
    if ids[i, _I_SUBNET] != 0:
        hyperloglog.add(subnets, pool, ids[i, _I_SUBNET])
    if ids[i, _I_PAYMENT] != 0:
        hyperloglog.add(payments, pool, ids[i, _I_PAYMENT])
    if ids[i, _I_PROMPT] != 0:
        p[_P_TEXTS] += 1
        hyperloglog.add(prompts, pool, ids[i, _I_PROMPT])


@kernel
def _sample(hashes, counts, sizes, thetas, firsts, lasts, row, account, time):  # type: ignore[no-untyped-def]
    slot = np.int64(bottom_k.add(hashes, counts, sizes, thetas, row, account, 1))
    if slot >= 0:
        lasts[row, slot] = time
    elif slot < -1:
        firsts[row, -slot - 2] = time
        lasts[row, -slot - 2] = time


@numba.njit(cache=True)
def fold(  # type: ignore[no-untyped-def]
    rows, ids, numbers, counted, stats, small, pools, large, hours, orgs, subnets, payments, prompts, free, touched
):
    """Merge a pane into links and pools, promoting links that reach `SMALL_K` accounts.

    `small` and `large` are (hashes, counts, sizes, thetas, firsts, lasts). `free[0]`
    counts the free pool rows listed behind it. Returns how many pools were touched first.
    """
    n_touched = 0
    for i in range(rows.shape[0]):
        time = numbers[i, _TIME]
        account = ids[i, _I_ACCOUNT]
        for j in range(rows.shape[1]):
            r = rows[i, j]
            if r < 0:
                continue
            s = stats[r]
            if s[_REQUESTS] == 0:
                s[_FIRST] = time
            s[_LAST] = time
            s[_REQUESTS] += 1
            if s[_POOL] == 0:
                _sample(small[0], small[1], small[2], small[3], small[4], small[5], r, account, time)
                if small[2][r] == SMALL_K and free[0] > 0:
                    pool = free[free[0]]
                    free[0] -= 1
                    s[_POOL] = pool + 1
                    pools[pool, _P_LINK] = r
                    pools[pool, _P_KIND] = s[_KIND]
                    large[3][pool] = small[3][r]
                    large[2][pool] = SMALL_K
                    for k in range(SMALL_K):
                        large[0][pool, k] = small[0][r, k]
                        large[1][pool, k] = small[1][r, k]
                        large[4][pool, k] = small[4][r, k]
                        large[5][pool, k] = small[5][r, k]
            else:
                _sample(large[0], large[1], large[2], large[3], large[4], large[5], s[_POOL] - 1, account, time)
            if s[_POOL] > 0:
                pool = s[_POOL] - 1
                if pools[pool, _P_TOUCHED] == 0:
                    pools[pool, _P_TOUCHED] = 1
                    touched[n_touched] = pool
                    n_touched += 1
                _pool_event(pool, ids, numbers, i, time, counted, pools, hours, orgs, subnets, payments, prompts)
    return n_touched


class Sample:
    """Columns of bottom-k samples of accounts, with first and last time per sampled account."""

    def __init__(self, rows: int, k: int) -> None:
        """Reserve `rows` samples of `k` accounts."""
        self.columns = bottom_k.empty(rows, k=k)
        self.firsts: I64 = np.zeros((rows, k), np.int64)
        self.lasts: I64 = np.zeros((rows, k), np.int64)
        self.arrays = (*self.columns, self.firsts, self.lasts)

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
        self.hours: I64 = np.zeros((pools, 24), np.int64)
        self.sketches = {
            name: np.zeros((pools, POOL_REGISTERS), np.uint8) for name in ("orgs", "subnets", "payments", "prompts")
        }
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

        `columns` are the link columns of `ids` that the pane fills; `name_of(keys)`
        lists the strings; the link rows that `pinned()` lists may not leave.
        """
        rows = np.empty((len(ids), columns.size), np.int64)
        keys, at = np.empty(rows.size, np.uint64), np.empty(rows.size, np.int64)
        n, _ = knock(
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
        added = self.index.add(new, name_of(new))
        self.stats[added, L.KIND] = KIND_OF_COLUMN[columns[at[first] % columns.size] - LINKS_FIRST]
        rows.reshape(-1)[at[:n]] = self.index.find(keys[:n])
        return rows

    def fold(self, rows: I64, ids: U64, numbers: I64) -> None:
        """Merge a pane (its links already mapped by `admit`)."""
        self.n_touched += fold(
            rows,
            ids,
            numbers,
            _POOL_COUNTED,
            self.stats,
            self.small.arrays,
            self.pools,
            self.large.arrays,
            self.hours,
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
        self.hours[pools] = 0
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
