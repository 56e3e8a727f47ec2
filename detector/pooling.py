"""Pooling: the compiled loop that merges a pane into links and pools.

Purpose: every event is added to every link that it carries; a link that `SMALL_K`
accounts have shown is promoted to a pool, which goes on from its small sample.
Invariants: what is the same for every pool of an event is computed once; rows come in
canonical order, so order-dependent cells (first times) are functions of the pane's
content.
Limits: a link is promoted while a pool is free.
Source: bottom-k samples, Cohen and Kaplan 2007.
"""

import numba
import numpy as np

from detector.frames import ID, NUM, Flag
from detector.link_columns import POOL_COLUMNS, POOL_REGISTERS, SMALL_K, L, P
from detector.sketches import bottom_k, histogram, hyperloglog
from detector.sketches.columns import kernel
from detector.sketches.prefetch import LINE_BYTES, prefetch

(_KIND, _FIRST, _LAST, _REQUESTS, _POOL) = (int(c) for c in L)
(
    _P_LINK, _P_FIRST, _P_LAST, _P_REQUESTS, _P_OUTPUT, _P_REASONING, _P_COST, _P_LOG_OUT, _P_TURN_KNOWN, _P_SINGLE,
    _P_ELICITATION_KNOWN, _P_ELICITED, _P_TOOLS_KNOWN, _P_TOOLS, _P_TEXTS, _P_JUDGED, _P_TOUCHED, _P_KIND, _P_CAMPAIGN,
) = (int(c) for c in P)  # fmt: skip
# Rows ahead that links' rows are asked for, and their pools, which the links' rows name.
LINKS_AHEAD, POOLS_AHEAD = 4, 2
POOL_COUNTED = np.array(
    [
        [int(Flag.ELICITATION_KNOWN), _P_ELICITATION_KNOWN],
        [int(Flag.ELICITED), _P_ELICITED],
        [int(Flag.TOOLS_KNOWN), _P_TOOLS_KNOWN],
        [int(Flag.TOOLS), _P_TOOLS],
    ],
    np.int64,
)
_TIME, _OUTPUT, _REASONING, _TURN, _COST, _FLAGS = (
    int(NUM.TIME), int(NUM.OUTPUT), int(NUM.REASONING), int(NUM.TURN), int(NUM.COST_MICRO_USD), int(NUM.FLAGS),
)  # fmt: skip
_I_ACCOUNT, _I_ORG, _I_PROMPT, _I_SUBNET, _I_PAYMENT = (
    int(ID.ACCOUNT), int(ID.ORG), int(ID.PROMPT), int(ID.SUBNET), int(ID.PAYMENT),
)  # fmt: skip


@kernel
def _amounts(ids, numbers, i, counted, out):  # type: ignore[no-untyped-def]
    """What an event adds to columns REQUESTS to TEXTS of every pool that it belongs to."""
    out[_P_REQUESTS] = 1
    out[_P_OUTPUT] = max(numbers[i, _OUTPUT], 0)
    out[_P_REASONING] = max(numbers[i, _REASONING], 0)
    out[_P_COST] = max(numbers[i, _COST], 0)
    out[_P_LOG_OUT] = histogram.log2_fixed(max(numbers[i, _OUTPUT], 1))
    out[_P_TURN_KNOWN] = numbers[i, _TURN] >= 0
    out[_P_SINGLE] = numbers[i, _TURN] == 0
    flags = numbers[i, _FLAGS]
    for f in range(counted.shape[0]):
        out[counted[f, 1]] = (flags & counted[f, 0]) != 0
    out[_P_TEXTS] = ids[i, _I_PROMPT] != 0


@kernel
def _sample(hashes, counts, sizes, thetas, firsts, row, account, time):  # type: ignore[no-untyped-def]
    slot = np.int64(bottom_k.add(hashes, counts, sizes, thetas, row, account, 1))
    if slot < -1:
        firsts[row, -slot - 2] = time


@kernel
def _promote(r, s, time, small, pools, large, free):  # type: ignore[no-untyped-def]
    """Give link row `r` the next free pool, which goes on from the small sample."""
    pool = free[free[0]]
    free[0] -= 1
    s[_POOL] = pool + 1
    pools[pool, _P_LINK] = r
    pools[pool, _P_KIND] = s[_KIND]
    pools[pool, _P_FIRST] = time
    large[3][pool] = small[3][r]
    large[2][pool] = SMALL_K
    for k in range(SMALL_K):
        large[0][pool, k] = small[0][r, k]
        large[1][pool, k] = small[1][r, k]
        large[4][pool, k] = small[4][r, k]


@kernel
def _ask_for_pool(pool, ids, i, pools, large, orgs, subnets, payments, prompts):  # type: ignore[no-untyped-def]
    for byte in range(0, POOL_COLUMNS * 8, LINE_BYTES):
        prefetch(pools, pool, byte)
    prefetch(large[0], pool, 0)
    prefetch(large[2], pool, 0)
    prefetch(large[3], pool, 0)
    register = np.uint64(POOL_REGISTERS - 1)
    prefetch(orgs, pool, np.int64((ids[i, _I_ORG] if ids[i, _I_ORG] != 0 else ids[i, _I_ACCOUNT]) & register))
    prefetch(subnets, pool, np.int64(ids[i, _I_SUBNET] & register))
    prefetch(payments, pool, np.int64(ids[i, _I_PAYMENT] & register))
    prefetch(prompts, pool, np.int64(ids[i, _I_PROMPT] & register))


@kernel
def _ask_for(rows, ids, i, stats, small, pools, large, orgs, subnets, payments, prompts):  # type: ignore[no-untyped-def]
    """Ask for what the next events need: first the links' rows, then what these lead to."""
    links = min(i + LINKS_AHEAD, rows.shape[0] - 1)
    near = min(i + POOLS_AHEAD, rows.shape[0] - 1)
    for j in range(rows.shape[1]):
        if rows[links, j] >= 0:
            prefetch(stats, rows[links, j], 0)
        r = rows[near, j]
        if r < 0:
            continue
        if stats[r, _POOL] > 0:
            _ask_for_pool(stats[r, _POOL] - 1, ids, near, pools, large, orgs, subnets, payments, prompts)
        else:
            prefetch(small[0], r, 0)
            prefetch(small[2], r, 0)
            prefetch(small[3], r, 0)


@numba.njit(cache=True)
def fold(  # type: ignore[no-untyped-def]
    rows, ids, numbers, counted, stats, small, pools, large, orgs, subnets, payments, prompts, free, touched
):
    """Merge a pane into links and pools, promoting links that reach `SMALL_K` accounts.

    `small` and `large` are (hashes, counts, sizes, thetas, firsts). `free[0]`
    counts the free pool rows listed behind it. Returns how many pools were touched first.
    """
    n_touched = 0
    amounts = np.zeros(POOL_COLUMNS, np.int64)
    for i in range(rows.shape[0]):
        time = numbers[i, _TIME]
        account = ids[i, _I_ACCOUNT]
        _ask_for(rows, ids, i, stats, small, pools, large, orgs, subnets, payments, prompts)
        # All that is the same for every pool of the event.
        _amounts(ids, numbers, i, counted, amounts)
        org_at, org_rank = hyperloglog.place(ids[i, _I_ORG] if ids[i, _I_ORG] != 0 else account, POOL_REGISTERS)
        subnet_at, subnet_rank = hyperloglog.place(ids[i, _I_SUBNET], POOL_REGISTERS)
        payment_at, payment_rank = hyperloglog.place(ids[i, _I_PAYMENT], POOL_REGISTERS)
        prompt_at, prompt_rank = hyperloglog.place(ids[i, _I_PROMPT], POOL_REGISTERS)
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
                _sample(small[0], small[1], small[2], small[3], small[4], r, account, time)
                if small[2][r] < SMALL_K or free[0] == 0:
                    continue
                _promote(r, s, time, small, pools, large, free)
            else:
                _sample(large[0], large[1], large[2], large[3], large[4], s[_POOL] - 1, account, time)
            pool = s[_POOL] - 1
            p = pools[pool]
            if p[_P_TOUCHED] == 0:
                p[_P_TOUCHED] = 1
                touched[n_touched] = pool
                n_touched += 1
            p[_P_LAST] = time
            for c in range(_P_REQUESTS, _P_TEXTS + 1):
                p[c] += amounts[c]
            hyperloglog.raise_to(orgs, pool, org_at, org_rank)
            hyperloglog.raise_to(subnets, pool, subnet_at, subnet_rank)
            hyperloglog.raise_to(payments, pool, payment_at, payment_rank)
            hyperloglog.raise_to(prompts, pool, prompt_at, prompt_rank)
    return n_touched
