"""Admission: a gate that lets a link in when a second account shows it.

Purpose: most attributes are seen by one account only; they must not fill the link table.
Invariants: a bucket is one cache line of 16 tags, eight of each of two generations; the
outcome depends on the order of rows alone, which is canonical.
Limits: tags of 16 bits of the key and 15 of the account make it admit a stranger with
16 / 2**16 and overlook a second account with 1 / 2**15; a full bucket forgets a tag.
Source: bucketed tags as in cuckoo filters, Fan, Andersen, Kaminsky and Mitzenmacher 2014.
"""

import numba
import numpy as np

from detector.frames import ID
from detector.index import find
from detector.sketches.columns import kernel
from detector.sketches.prefetch import prefetch

GENERATION_TAGS = 8
AHEAD = 1  # rows whose keys' places are asked for early
_I_ACCOUNT = int(ID.ACCOUNT)


@kernel
def seen_by_another(gate, load, generation, key, account):  # type: ignore[no-untyped-def]
    """Note that `account` showed `key`; say whether another account showed it before.

    `gate` is uint32[buckets, 16]: a bucket is one cache line, its halves the two
    generations. A tag is 16 bits of the key above 16 bits of the account.
    """
    bucket = gate[(key >> np.uint64(20)) & np.uint64(gate.shape[0] - 1)]
    key_tag = np.uint32(key & np.uint64(0xFFFF))
    account_tag = np.uint32(account & np.uint64(0xFFFF))
    tag = (key_tag << np.uint32(16)) | account_tag | np.uint32(1)
    empty = -1
    known = False
    for side in range(2):
        base = GENERATION_TAGS * (generation ^ side)
        for i in range(GENERATION_TAGS):
            held = bucket[base + i]
            if held == 0:
                if side == 0:
                    empty = base + i
                break
            if held >> np.uint32(16) == key_tag:
                if held != tag:
                    return True
                known = known or side == 0
    if not known:
        if empty < 0:
            empty = GENERATION_TAGS * generation + np.int64((key >> np.uint64(16)) & np.uint64(GENERATION_TAGS - 1))
        else:
            load[0] += 1
        bucket[empty] = tag
    return False


@numba.njit(cache=True)
def knock(slot_keys, slot_rows, ids, columns, gate, load, generation, rows_out, keys_out, at_out):  # type: ignore[no-untyped-def]
    """Map every (row, link column) to its link row (-1 absent), and list the keys that the gate admits.

    Returns how many.
    """
    n = 0
    slots, buckets = np.uint64(slot_keys.size - 1), np.uint64(gate.shape[0] - 1)
    for i in range(ids.shape[0]):
        account = ids[i, _I_ACCOUNT]
        # Nearly every key is a miss in two big tables: those of the next row are asked for while this one is looked up.
        ahead = min(i + AHEAD, ids.shape[0] - 1)
        for j in range(columns.size):
            key = ids[ahead, columns[j]]
            prefetch(slot_keys, np.int64(key & slots), 0)
            prefetch(gate, np.int64((key >> np.uint64(20)) & buckets), 0)
        for j in range(columns.size):
            key = ids[i, columns[j]]
            if key == 0:
                rows_out[i, j] = -1
                continue
            row = find(slot_keys, slot_rows, key)
            rows_out[i, j] = row
            if row < 0 and seen_by_another(gate, load, generation, key, account):
                keys_out[n] = key
                at_out[n] = i * columns.size + j
                n += 1
    return n
