"""The account table: one row per account, what one customer does.

Purpose: pooled statistics of an account's requests: volume, prompt diversity,
output extraction, pacing, spread.
Invariants: integers and fixed point only; rows are folded in canonical order, so
order-dependent cells (gaps, majority votes, the dominant template) are functions of
the pane's content.
Limits: `accounts_max` rows; when room is short the least interesting rows leave in
bulk (unpinned, fewest requests, longest idle, ties by key), and are counted.
Source: HyperLogLog, Flajolet et al. 2007; Space-Saving, Metwally et al. 2005;
majority vote, Boyer and Moore 1981.
"""

from collections.abc import Callable
from enum import IntEnum

import numba
import numpy as np
import numpy.typing as npt

from detector import volume
from detector.frames import ID, NUM, TIER_SHIFT, Flag
from detector.index import KeyIndex, NamesOf, Pinned, find
from detector.sketches import histogram, hyperloglog, space_saving
from detector.sketches.columns import kernel
from detector.sketches.prefetch import LINE_BYTES, prefetch

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

PROMPT_REGISTERS = 64
TEMPLATES_KEPT = 4
HOUR_MS = 3_600_000
SESSION_GAP_MS = 1_800_000
# An eviction frees a sixteenth of the table at once: the rebuild of the index then
# costs a newcomer well under a microsecond.
EVICT_SHARE = 16
# Rows ahead that their memory is asked for: what one event takes, times this, is longer than memory takes.
AHEAD = 6


class A(IntEnum):
    """Columns of `AccountTable.stats` (int64). Log columns are in 1/256 octaves."""

    ORG = 0
    TIER = 1
    CREATED = 2
    FIRST = 3
    LAST = 4
    REQUESTS = 5
    LOG_IN = 6
    LOG_IN_SQ = 7
    LOG_OUT = 8
    LOG_GAP = 9
    LOG_GAP_SQ = 10
    TURN_KNOWN = 11
    SINGLE = 12
    ELICITATION_KNOWN = 13
    ELICITED = 14
    STYLE_KNOWN = 15
    LOWER = 16
    TOOLS_KNOWN = 17
    TOOLS = 18
    FINISH_KNOWN = 19
    CAPPED = 20
    HOURS = 21
    HOUR = 22
    HOUR_COUNT = 23
    HOUR_PEAK = 24
    PROGRAM = 25
    PROGRAM_VOTES = 26
    PAYMENT = 27
    FIRED = 28
    MODEL_SCORE = 29
    FIRST_HOUR_COUNT = 30
    TEXTS = 31
    CAMPAIGN = 32
    TOUCHED = 33
    SHARED = 34  # requests whose user text a pool of accounts shares
    SESSIONS = 35
    HITS = 36  # requests that fit the campaign `HIT_OF`
    HIT_FIRST = 37
    HIT_OF = 38
    RENEW_MS = 39  # of a member: when its lease is due for renewal
    RUN_GAPS = 40  # gaps within a session
    LOG_RUN = 41
    LOG_RUN_SQ = 42
    LOG_OUT_SQ = 43
    MARKED = 44  # prompts that begin lower-case, ask, greet, thank or say "I": marks of people
    VERB_FIRST = 45
    REFUSED = 46
    LOGPROBS = 47
    TINY = 48  # answers of one token at most, of requests that did not fail
    SYSTEM = 49  # majority vote over system prompts, 0 for none
    SYSTEM_VOTES = 50
    SYSTEMS = 51  # a bit for each of the system prompts it has sent, 64 in all
    SUBNET = 52  # of the newest request, 0 unknown
    ECHOED = 53  # requests that go on with an earlier answer
    HANDED = 54  # of them, with one that another organisation got
    AFAR = 55  # of those, last answered on another network
    RETURNED = 56  # requests whose text was answered to another organisation
    OPENED = 57  # conversations that open with user text which a pool of accounts shares
    MAIL = 58  # the domain of the mail address that the account was signed up with, 0 unknown
    TOKENS = 59  # in and out, of about a day, as of `HOUR`


ACCOUNT_COLUMNS = len(A)
# Numba reads plain integers, not enum members.
(
    _ORG, _TIER, _CREATED, _FIRST, _LAST, _REQUESTS, _LOG_IN, _LOG_IN_SQ, _LOG_OUT, _LOG_GAP, _LOG_GAP_SQ,
    _TURN_KNOWN, _SINGLE, _ELICITATION_KNOWN, _ELICITED, _STYLE_KNOWN, _LOWER, _TOOLS_KNOWN, _TOOLS, _FINISH_KNOWN,
    _CAPPED, _HOURS, _HOUR, _HOUR_COUNT, _HOUR_PEAK, _PROGRAM, _PROGRAM_VOTES, _PAYMENT, _FIRED, _MODEL_SCORE,
    _FIRST_HOUR_COUNT, _TEXTS, _CAMPAIGN, _TOUCHED, _SHARED, _SESSIONS, _HITS, _HIT_FIRST, _HIT_OF, _RENEW_MS,
    _RUN_GAPS, _LOG_RUN, _LOG_RUN_SQ, _LOG_OUT_SQ, _MARKED, _VERB_FIRST, _REFUSED, _LOGPROBS, _TINY, _SYSTEM,
    _SYSTEM_VOTES, _SYSTEMS, _SUBNET, _ECHOED, _HANDED, _AFAR, _RETURNED, _OPENED, _MAIL, _TOKENS,
) = (int(a) for a in A)  # fmt: skip
(_TIME, _INGEST, _N_CREATED, _N_INPUT, _N_OUTPUT, _N_REASONING, _MAX_TOKENS, _TURN, _CHARS, _OUT_CHARS, _N_COST, _FLAGS,
 _FIELDS) = (int(n) for n in NUM)  # fmt: skip
_I_ACCOUNT, _I_ORG, _I_PROMPT = int(ID.ACCOUNT), int(ID.ORG), int(ID.PROMPT)
_I_PAYMENT, _I_TEMPLATE, _I_PROGRAM, _I_SYSTEM, _I_SUBNET, _I_RETURN, _I_MAIL = (
    int(ID.PAYMENT), int(ID.TEMPLATE), int(ID.PROGRAM), int(ID.SYSTEM), int(ID.SUBNET),
    int(ID.RETURN), int(ID.EMAIL_DOMAIN),
)  # fmt: skip
_ERROR = int(Flag.ERROR)
_TIER_SHIFT = TIER_SHIFT
_COUNTED = np.array(
    [
        [int(Flag.ELICITATION_KNOWN), _ELICITATION_KNOWN],
        [int(Flag.ELICITED), _ELICITED],
        [int(Flag.STYLE_KNOWN), _STYLE_KNOWN],
        [int(Flag.LOWER_START), _LOWER],
        [int(Flag.TOOLS_KNOWN), _TOOLS_KNOWN],
        [int(Flag.TOOLS), _TOOLS],
        [int(Flag.FINISH_KNOWN), _FINISH_KNOWN],
        [int(Flag.CAPPED), _CAPPED],
        [int(Flag.LOWER_START | Flag.QUESTION | Flag.CONVERSATIONAL), _MARKED],
        [int(Flag.VERB_FIRST), _VERB_FIRST],
        [int(Flag.REFUSED), _REFUSED],
        [int(Flag.LOGPROBS), _LOGPROBS],
        [int(Flag.CONTINUED), _ECHOED],
        [int(Flag.HANDED), _HANDED],
        [int(Flag.AFAR), _AFAR],
    ],
    np.int64,
)


@numba.njit(cache=True)
def resolve(slot_keys, slot_rows, keys, out, fresh):  # type: ignore[no-untyped-def]
    """Map pane rows to table rows; -1 and the pane row listed in `fresh` where absent. Returns how many."""
    n = 0
    mask = np.uint64(slot_keys.size - 1)
    for i in range(keys.size):
        at = np.int64(keys[min(i + AHEAD, keys.size - 1)] & mask)
        prefetch(slot_keys, at, 0)
        prefetch(slot_rows, at, 0)
        row = find(slot_keys, slot_rows, keys[i])
        out[i] = row
        if row < 0:
            fresh[n] = i
            n += 1
    return n


@kernel
def _pace(s, time):  # type: ignore[no-untyped-def]
    """When: gaps, sessions, hours, the first hour and the busiest."""
    if s[_REQUESTS] == 0:
        s[_FIRST] = time
        s[_HOUR] = -1
        s[_CREATED] = -1
        s[_SESSIONS] = 1
    else:
        gap_ms = max(time - s[_LAST], 1)
        gap = histogram.log2_fixed(gap_ms)
        s[_LOG_GAP] += gap
        s[_LOG_GAP_SQ] += gap * gap
        if gap_ms > SESSION_GAP_MS:
            s[_SESSIONS] += 1
        else:
            s[_RUN_GAPS] += 1
            s[_LOG_RUN] += gap
            s[_LOG_RUN_SQ] += gap * gap
    s[_LAST] = time
    s[_REQUESTS] += 1
    hour = time // HOUR_MS
    s[_HOURS] |= np.int64(1) << (hour % 24)
    if hour != s[_HOUR]:
        s[_TOKENS] = volume.fade(s[_TOKENS], hour - s[_HOUR])
        s[_HOUR] = hour
        s[_HOUR_COUNT] = 0
    s[_HOUR_COUNT] += 1
    s[_HOUR_PEAK] = max(s[_HOUR_PEAK], s[_HOUR_COUNT])
    s[_FIRST_HOUR_COUNT] += time - s[_FIRST] < HOUR_MS


@kernel
def _measure(s, row, counted):  # type: ignore[no-untyped-def]
    """How much: tokens, lengths, cost, and the yes/no facts. `row` is one row of a frame's numbers."""
    flags = row[_FLAGS]
    if (flags >> _TIER_SHIFT) & 7 != 0:
        s[_TIER] = (flags >> _TIER_SHIFT) & 7
    if row[_N_CREATED] >= 0:
        s[_CREATED] = row[_N_CREATED]
    log_in = histogram.log2_fixed(max(row[_CHARS] if row[_CHARS] >= 0 else 4 * row[_N_INPUT], 1))
    log_out = histogram.log2_fixed(max(row[_N_OUTPUT], 1))
    s[_LOG_IN] += log_in
    s[_LOG_IN_SQ] += log_in * log_in
    s[_LOG_OUT] += log_out
    s[_LOG_OUT_SQ] += log_out * log_out
    s[_TOKENS] = volume.add(volume.add(s[_TOKENS], row[_N_INPUT]), row[_N_OUTPUT])
    s[_TINY] += 0 <= row[_N_OUTPUT] <= 1 and flags & _ERROR == 0
    if row[_TURN] >= 0:
        s[_TURN_KNOWN] += 1
        s[_SINGLE] += row[_TURN] == 0
    for f in range(counted.shape[0]):
        s[counted[f, 1]] += (flags & counted[f, 0]) != 0


@kernel
def _settle(s, value, held, votes):  # type: ignore[no-untyped-def]
    """Let an event vote for its value: what more than half of an account's events show ends up in `held`."""
    if s[votes] == 0:
        s[held] = value
    s[votes] += 1 if value == s[held] else -1


@kernel
def _ask_for(row, stats, prompts, t_keys, t_counts, t_errors):  # type: ignore[no-untyped-def]
    for byte in range(0, stats.shape[1] * 8, LINE_BYTES):
        prefetch(stats, row, byte)
    for byte in range(0, prompts.shape[1], LINE_BYTES):
        prefetch(prompts, row, byte)
    prefetch(t_keys, row, 0)
    prefetch(t_counts, row, 0)
    prefetch(t_errors, row, 0)


@numba.njit(cache=True)
def fold(rows, ids, numbers, counted, stats, prompts, t_keys, t_counts, t_errors, touched):  # type: ignore[no-untyped-def]
    """Merge a pane's rows into the account columns, in canonical order. Returns the number of touched rows."""
    n_touched = 0
    for i in range(rows.size):
        _ask_for(rows[min(i + AHEAD, rows.size - 1)], stats, prompts, t_keys, t_counts, t_errors)
        r = rows[i]
        if r < 0:
            continue
        s = stats[r]
        if s[_TOUCHED] == 0:
            s[_TOUCHED] = 1
            touched[n_touched] = r
            n_touched += 1
        _pace(s, numbers[i, _TIME])
        _measure(s, numbers[i], counted)
        org = ids[i, _I_ORG]
        s[_ORG] = np.int64(org if org != 0 else ids[i, _I_ACCOUNT])
        _settle(s, np.int64(ids[i, _I_PROGRAM]), _PROGRAM, _PROGRAM_VOTES)
        _settle(s, np.int64(ids[i, _I_SYSTEM]), _SYSTEM, _SYSTEM_VOTES)
        s[_SUBNET] = np.int64(ids[i, _I_SUBNET])
        if ids[i, _I_SYSTEM] != 0:
            s[_SYSTEMS] |= np.int64(1) << np.int64(ids[i, _I_SYSTEM] >> np.uint64(58))
        s[_RETURNED] += ids[i, _I_RETURN] != 0
        if ids[i, _I_PAYMENT] != 0:
            s[_PAYMENT] = np.int64(ids[i, _I_PAYMENT])
        if ids[i, _I_MAIL] != 0:
            s[_MAIL] = np.int64(ids[i, _I_MAIL])
        if ids[i, _I_PROMPT] != 0:
            s[_TEXTS] += 1
            hyperloglog.add(prompts, r, ids[i, _I_PROMPT])
        if ids[i, _I_TEMPLATE] != 0:
            space_saving.add(t_keys, t_counts, t_errors, r, ids[i, _I_TEMPLATE], 1)
    return n_touched


class AccountTable:
    """Rows of accounts as columns, with bounds."""

    def __init__(self, rows_max: int) -> None:
        """Reserve (not touch) memory for `rows_max` rows."""
        self.index = KeyIndex(rows_max)
        self.stats: I64 = np.zeros((rows_max, ACCOUNT_COLUMNS), np.int64)
        self.prompts = np.zeros((rows_max, PROMPT_REGISTERS), np.uint8)
        self.template_keys = np.zeros((rows_max, TEMPLATES_KEPT), np.uint64)
        self.template_counts = np.zeros((rows_max, TEMPLATES_KEPT), np.uint32)
        self.template_errors = np.zeros((rows_max, TEMPLATES_KEPT), np.uint32)
        self.touched = np.zeros(rows_max, np.int64)
        self.n_touched = 0
        self.evicted = 0
        self.dropped = 0  # events whose account found no row

    def admit(self, keys: U64, name_of: NamesOf, *, pinned: Pinned, leaving: Callable[[I64], None]) -> I64:
        """Map a pane's account digests to rows, giving rows to new accounts.

        `name_of(keys, rows)` lists their strings, `rows` being pane rows that show them; the
        rows that `pinned()` lists may not leave; `leaving`
        is told of rows before they are cleared.
        """
        rows, fresh = np.empty(keys.size, np.int64), np.empty(keys.size, np.int64)
        n = resolve(self.index.slot_keys, self.index.slot_rows, keys, rows, fresh)
        if n == 0:
            return rows
        new, first = np.unique(keys[fresh[:n]], return_index=True)
        in_order = np.argsort(first, kind="stable")
        new, first = new[in_order], first[in_order]
        if new.size > self.index.room():
            self._evict(new.size, pinned, leaving)
            new, first = new[: self.index.room()], first[: self.index.room()]
        if new.size:
            self.index.add(new, name_of(new, fresh[first]))
        self.dropped += resolve(self.index.slot_keys, self.index.slot_rows, keys, rows, fresh)
        return rows

    def _evict(self, wanted: int, pinned: Pinned, leaving: Callable[[I64], None]) -> None:
        used = self.index.used
        gone = min(self.index.live(), max(wanted, self.index.rows_max // EVICT_SHARE))
        live = self.index.keys[:used] != 0
        live[pinned()] = False
        candidates = np.flatnonzero(live)
        stats = self.stats[candidates]
        newcomer = stats[:, A.REQUESTS] > 1
        order = np.lexsort((self.index.keys[candidates], stats[:, A.LAST], newcomer))
        rows = candidates[order[:gone]]
        leaving(rows)
        self.clear(rows)
        self.evicted += rows.size

    def clear(self, rows: I64) -> None:
        """Empty rows and free them."""
        for column in (
            self.stats,
            self.prompts,
            self.template_keys,
            self.template_counts,
            self.template_errors,
        ):
            column[rows] = 0
        self.index.remove(rows)
        if self.n_touched:
            kept = self.touched[: self.n_touched]
            kept = kept[self.index.keys[kept] != 0]
            self.touched[: kept.size] = kept
            self.n_touched = kept.size

    def fold(self, rows: I64, ids: U64, numbers: I64) -> None:
        """Merge a pane (its rows already mapped by `admit`)."""
        self.n_touched += fold(
            rows,
            ids,
            numbers,
            _COUNTED,
            self.stats,
            self.prompts,
            self.template_keys,
            self.template_counts,
            self.template_errors,
            self.touched[self.n_touched :],
        )

    def tokens(self, rows: I64, *, now_ms: int) -> I64:
        """What each of `rows` used in about the day before a time (int64, tokens)."""
        left: I64 = volume.faded(self.stats[rows, A.TOKENS], self.stats[rows, A.HOUR], now_ms // HOUR_MS)
        return left

    def take_touched(self) -> I64:
        """Hand over the rows touched since the last call, in ascending order of key."""
        rows = self.touched[: self.n_touched].copy()
        self.stats[rows, A.TOUCHED] = 0
        self.n_touched = 0
        return rows[np.argsort(self.index.keys[rows], kind="stable")]
