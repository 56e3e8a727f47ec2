"""Views: what signatures see of the tables, as columns.

Purpose: turn rows touched since the last discovery into an `AccountView` and a
`LinkView`. Members of a pool are its sampled accounts; of each organisation one counts.
Invariants: pure functions of the tables; rows in the order given; base rates leave
the pool's own members out.
Limits: a pool's members are the at most 128 accounts of its bottom-k sample.
Source: definitions stand beside each field in `signatures.contract`.
"""

import numba
import numpy as np
import numpy.typing as npt

from detector.accounts import A, AccountTable
from detector.index import find
from detector.likeness import DAY_MS, LOAD_COLUMNS, evenness, likeness, load
from detector.link_columns import KINDS, ONE_PROGRAM_KINDS, POOL_K, TEXT_KINDS, P
from detector.links import LinkTable
from detector.population import JUDGED_BIT, MATURE_REQUESTS, SIGNATURE_BITS, STRATA, Population
from detector.registrations import Registrations
from detector.signatures.contract import REGULAR_SESSIONS, AccountView, LinkView, ratio, wilson_upper
from detector.signatures.registry import ACCOUNT_SIGNATURES
from detector.sketches import bottom_k, hyperloglog
from detector.sketches.columns import floor_log2, kernel
from detector.sketches.prefetch import LINE_BYTES, prefetch
from detector.tails import OUTPUT, Tails

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

_TEXT_KINDS = np.array([KINDS.index(k) for k in TEXT_KINDS])
_PROGRAM_KINDS = np.array([KINDS.index(k) for k in ONE_PROGRAM_KINDS])
_OCTAVE = 256.0
LONG_SHARE = 0.1
TAKES_OVER = "a3_signature_replay"

# Columns of the member summary that the kernel fills.
(_MEMBERS, _UNITS, _PROGRAM, _PURITY, _LOADED, _SPREAD, _NOISE, _YOUNG, _AGED, _ALIVE, _GONE, _BORN, _COLLIDE,
 _PAYING, _PROGRAMMED, _RUN_GAPS, _RUN_SQ) = range(17)  # fmt: skip
_SUMMARY = 17
(_ORG, _CREATED, _FIRST, _LAST, _REQUESTS, _PROGRAM_OF, _FIRED, _SHARED, _SESSIONS, _PAYMENT) = (
    int(a) for a in (A.ORG, A.CREATED, A.FIRST, A.LAST, A.REQUESTS, A.PROGRAM, A.FIRED, A.SHARED, A.SESSIONS, A.PAYMENT)
)
_A_RUN_GAPS, _A_LOG_RUN, _A_LOG_RUN_SQ = int(A.RUN_GAPS), int(A.LOG_RUN), int(A.LOG_RUN_SQ)
_OPENED, _SINGLE = int(A.OPENED), int(A.SINGLE)
_WEEK_MS = 7 * DAY_MS
# Where user text that pools share is less of what members send, a text is one that they met by chance.
CHANCE_PURITY_MAX = 0.6
# From here on a pool is one client program; of fewer behind many programs nobody asks whether they work off one queue.
ONE_PROGRAM_SHARE = 0.9
CROWD_MIN = 12
# So that no account speaks for a pool.
RUN_GAPS_MAX = 50.0
SEEN_SLOTS = 2 * POOL_K


def _spread(total: F64, squares: F64, count: F64) -> F64:
    n = np.maximum(count, 1.0)
    return np.sqrt(np.maximum(squares / n - (total / n) ** 2, 0.0)) / _OCTAVE


def account_view(table: AccountTable, rows: I64, population: Population, tails: Tails) -> AccountView:
    """Columns of the given account rows."""
    s = table.stats[rows].astype(np.float64)
    requests = s[:, A.REQUESTS]
    best = table.template_counts[rows].astype(np.int64) - table.template_errors[rows].astype(np.int64)
    age = np.where(s[:, A.CREATED] >= 0, s[:, A.FIRST] - s[:, A.CREATED], np.nan)
    score = s[:, A.MODEL_SCORE]
    known = max(population.elicitation_known, 1)
    return AccountView(
        requests=requests,
        span_ms=s[:, A.LAST] - s[:, A.FIRST],
        age_ms=age,
        input_log_mean=s[:, A.LOG_IN] / requests / _OCTAVE,
        input_log_sd=_spread(s[:, A.LOG_IN], s[:, A.LOG_IN_SQ], requests),
        output_log_mean=s[:, A.LOG_OUT] / requests / _OCTAVE,
        gap_log_sd=_spread(s[:, A.LOG_GAP], s[:, A.LOG_GAP_SQ], requests - 1),
        single_share=ratio(s[:, A.SINGLE], s[:, A.TURN_KNOWN]),
        elicited=s[:, A.ELICITED],
        elicitation_known=s[:, A.ELICITATION_KNOWN],
        capped_share=ratio(s[:, A.CAPPED], s[:, A.FINISH_KNOWN]),
        finish_known=s[:, A.FINISH_KNOWN],
        template_share_lower=np.maximum(best.sum(axis=1), s[:, A.SHARED]) / requests,
        prompts_distinct_lower=hyperloglog.estimate(table.prompts[rows]).lower,
        texts=s[:, A.TEXTS],
        hours=np.bitwise_count(table.stats[rows, A.HOURS]).astype(np.float64),
        hour_peak=s[:, A.HOUR_PEAK],
        first_hour=s[:, A.FIRST_HOUR_COUNT],
        output_log_tail=tails.limit_of(OUTPUT, table.stats[rows, A.REQUESTS], share=LONG_SHARE),
        elicited_base=population.elicited / known,
        model_score=np.where(score > 0, score / 65_536.0, np.nan),
        refused=s[:, A.REFUSED],
        echoed=s[:, A.ECHOED],
        handed=s[:, A.HANDED],
        afar=s[:, A.AFAR],
        returned=s[:, A.RETURNED],
        logprobs=s[:, A.LOGPROBS],
        tiny=s[:, A.TINY],
        systems=np.bitwise_count(table.stats[rows, A.SYSTEMS]).astype(np.float64),
    )


@kernel
def _count(value, keys, counts):  # type: ignore[no-untyped-def]
    """Count a digest (int64, not 0); returns its count so far.

    `keys` and `counts` (int64, open addressing) are at most half full; where a key is 0 the count means nothing.
    """
    at = value & (SEEN_SLOTS - 1)
    while keys[at] != 0 and keys[at] != value:
        at = (at + 1) & (SEEN_SLOTS - 1)
    counts[at] = counts[at] + 1 if keys[at] == value else 1
    keys[at] = value
    return counts[at]


@kernel
def _life(s, now_ms, out):  # type: ignore[no-untyped-def]
    """Count an account as alive, gone or born; the rules stand beside these columns of the link view."""
    span, silent = s[_LAST] - s[_FIRST], now_ms - s[_LAST]
    regular = span >= DAY_MS and (s[_SESSIONS] - 1) * DAY_MS >= REGULAR_SESSIONS * span
    recent = s[_CREATED] < 0 or s[_FIRST] - s[_CREATED] < _WEEK_MS
    out[_ALIVE] += silent <= 2 * DAY_MS
    out[_GONE] += regular and DAY_MS < silent <= 2 * DAY_MS
    out[_BORN] += recent and now_ms - s[_FIRST] < DAY_MS


@kernel
def _purity(s, count):  # type: ignore[no-untyped-def]
    """The share of a member's requests, or of its conversations by how they open, whose text a pool shares."""
    share = max(count, s[_SHARED]) / max(s[_REQUESTS], 1)
    # One opening is why the account is looked at, and says nothing of its habit.
    opened = max(s[_OPENED] - 1, 0) / max(s[_SINGLE] - 1, 1)
    return min(1.0, max(share, opened))


@kernel
def _rows_of(hashes, pool, size, slot_keys, slot_rows, stats, t_keys, t_counts, rows):  # type: ignore[no-untyped-def]
    """Find the account rows of a pool's sample, -1 where absent, and ask for what they hold: they lie far apart."""
    mask = np.uint64(slot_keys.size - 1)
    for k in range(size):
        prefetch(slot_keys, np.int64(hashes[pool, k] & mask), 0)
        prefetch(slot_rows, np.int64(hashes[pool, k] & mask), 0)
    for k in range(size):
        row = find(slot_keys, slot_rows, hashes[pool, k])
        rows[k] = row
        for column in range(0, stats.shape[1], LINE_BYTES // 8):
            prefetch(stats, row, column * 8)
        prefetch(t_keys, row, 0)
        prefetch(t_counts, row, 0)


@kernel
def _work(s, count, out):  # type: ignore[no-untyped-def]
    """Add what an account's requests say: how pure, how steady."""
    out[_PURITY] += _purity(s, count)
    if s[_A_RUN_GAPS] >= 2:
        gaps = np.float64(s[_A_RUN_GAPS])
        weight = min(1.0, RUN_GAPS_MAX / gaps)
        out[_RUN_GAPS] += weight * (gaps - 1)
        out[_RUN_SQ] += weight * (s[_A_LOG_RUN_SQ] - s[_A_LOG_RUN] * (s[_A_LOG_RUN] / gaps))


@kernel
def _main_template(row, t_keys, t_counts):  # type: ignore[no-untyped-def]
    top = 0
    for t in range(1, t_keys.shape[1]):
        if t_counts[row, t] > t_counts[row, top]:
            top = t
    return np.int64(t_keys[row, top])


@numba.njit(cache=True)
def _summarise(  # type: ignore[no-untyped-def]
    pools, sizes, hashes, counts, slot_keys, slot_rows, stats, t_keys, t_counts, now_ms, summary, fired, strata
):
    """Summarise each pool's sampled members; see `_SUMMARY`'s names.

    `fired` (float64[pools, bits]) counts units by bit, `strata` (float64[pools, STRATA]) those counted there.
    """
    rows = np.empty(hashes.shape[1], np.int64)
    seen, times = np.empty(SEEN_SLOTS, np.int64), np.empty(SEEN_SLOTS, np.int64)
    programs, program_counts = np.empty(SEEN_SLOTS, np.int64), np.empty(SEEN_SLOTS, np.int64)
    templates, template_counts = np.empty(SEEN_SLOTS, np.int64), np.empty(SEEN_SLOTS, np.int64)
    loads = np.empty((POOL_K, LOAD_COLUMNS))
    for i in range(pools.size):
        pool = pools[i]
        out = summary[i]
        size = np.int64(sizes[pool])
        _rows_of(hashes, pool, size, slot_keys, slot_rows, stats, t_keys, t_counts, rows)
        seen[:] = 0
        programs[:] = 0
        templates[:] = 0
        units = best = agree = loaded = 0
        for k in range(size):
            row = rows[k]
            if row < 0:
                continue
            s = stats[row]
            out[_MEMBERS] += 1
            _life(s, now_ms, out)
            _work(s, np.float64(counts[pool, k]), out)
            loaded += load(s, now_ms, loads[loaded])
            if _count(s[_ORG], seen, times) > 1:
                continue
            units += 1
            # The units behind the commonest known program, and the ordered pairs whose main templates agree.
            if s[_PROGRAM_OF] != 0:
                best = max(best, _count(s[_PROGRAM_OF], programs, program_counts))
            template = _main_template(row, t_keys, t_counts)
            if template != 0:
                agree += 2 * (_count(template, templates, template_counts) - 1)
            out[_PAYING] += s[_PAYMENT] != 0
            out[_PROGRAMMED] += s[_PROGRAM_OF] != 0
            if s[_CREATED] >= 0:
                out[_AGED] += 1
                out[_YOUNG] += s[_LAST] - s[_CREATED] < _WEEK_MS
            if s[_REQUESTS] >= MATURE_REQUESTS:
                strata[i, min(floor_log2(s[_REQUESTS]), STRATA - 1)] += 1
                for b in range(fired.shape[1]):
                    fired[i, b] += (s[_FIRED] >> b) & 1
        out[_UNITS] = units
        out[_PROGRAM] = best
        out[_COLLIDE] = agree / max(units * (units - 1), 1)
        out[_LOADED], out[_SPREAD], out[_NOISE] = evenness(loads[:loaded])


def _firing(
    population: Population, tails: Tails, fired: F64, based: F64, scale: F64
) -> dict[str, tuple[F64, F64, F64]]:
    """Firing and judged units of each account signature, and at most what share of accounts outside the pool fire."""
    firing = {}
    for bit, signature in enumerate(ACCOUNT_SIGNATURES):
        judged = fired[:, JUDGED_BIT + bit]
        if signature.by_reference:
            fires, judges = (np.full(judged.shape, float(tails.fired[b])) for b in (bit, JUDGED_BIT + bit))
            firing[signature.id] = (fired[:, bit], judged, wilson_upper(fires, judges))
            continue
        expected = based[:, bit] / np.maximum(based[:, JUDGED_BIT + bit], 1e-9)
        # Leave the pool out: its members, scaled to the whole pool, are taken from both counts.
        everyone = float(population.fired[:, JUDGED_BIT + bit].sum())
        rest = np.maximum(everyone - judged * scale, 1.0)
        without = np.clip((expected * everyone - fired[:, bit] * scale) / rest, 0.0, 1.0)
        few = rest < 0.2 * everyone
        rate, size = np.where(few, expected, np.minimum(expected, without)), np.where(few, everyone, rest)
        firing[signature.id] = (fired[:, bit], judged, wilson_upper(rate * size, size))
    return firing


def _alike(
    links: LinkTable, pools: I64, accounts: AccountTable, tails: Tails, *, purity: F64, scattered: npt.NDArray[np.bool_]
) -> dict[str, F64]:
    """Measure the likeness of members where it is no text that makes them alike.

    A crowd of many programs (`scattered`) that shares a text is only asked whether each has tasks of his own.
    """
    kinds = links.pools[pools, P.KIND]
    text = np.isin(kinds, _TEXT_KINDS)
    unshared = np.isin(kinds, _PROGRAM_KINDS) | (text & (purity < CHANCE_PURITY_MAX))
    asked = np.flatnonzero(unshared | (text & scattered))
    columns = likeness(links, pools[asked], accounts, tails)._asdict()
    counts = {"compared", "taking", "taking_known"}
    whole = {name: np.full(pools.size, 0.0 if name in counts else np.nan) for name in columns}
    for name, column in columns.items():
        to = slice(None) if name == "between_upper" else unshared[asked]
        whole[name][asked[to]] = column[to]
    return whole


def _members(
    links: LinkTable, pools: I64, accounts: AccountTable, population: Population, *, now_ms: int
) -> tuple[F64, F64, F64]:
    """Summarise the pools' members: see `_SUMMARY`'s names, firings by bit, and what the population would fire."""
    n, column = pools.size, links.large.columns
    summary, fired, strata = (np.zeros((n, columns)) for columns in (_SUMMARY, SIGNATURE_BITS, STRATA))
    live = population.accounts.astype(np.float64)
    whole = population.fired.sum(axis=0) / max(live.sum(), 1.0)
    base = np.where(live[:, None] >= 50, population.fired / np.maximum(live[:, None], 1.0), whole[None, :])
    _summarise(
        pools, column.sizes, column.hashes, column.counts,
        accounts.index.slot_keys, accounts.index.slot_rows, accounts.stats, accounts.template_keys,
        accounts.template_counts, now_ms, summary, fired, strata,
    )  # fmt: skip
    return summary, fired, strata @ base


def link_view(
    links: LinkTable,
    pools: I64,
    accounts: AccountTable,
    population: Population,
    tails: Tails,
    registrations: Registrations,
    *,
    now_ms: int,
) -> LinkView:
    """Columns of the given pools, judged at `now_ms` (event time, a pane end)."""
    p = links.pools[pools].astype(np.float64)
    column = links.large.columns
    summary, fired, based = _members(links, pools, accounts, population, now_ms=now_ms)
    crowd = bottom_k.estimate(sizes=column.sizes[pools], thetas=column.thetas[pools])
    orgs, subnets, payments, prompts = (hyperloglog.estimate(r[pools]) for r in links.sketches.values())
    units = np.maximum(summary[:, _UNITS], 1.0)
    purity = summary[:, _PURITY] / np.maximum(summary[:, _MEMBERS], 1.0)
    program_share = summary[:, _PROGRAM] / units
    scattered = (program_share < ONE_PROGRAM_SHARE) & (summary[:, _LOADED] >= CROWD_MIN)
    # Leave the pool out here too; with nobody left the bound is 1, and youth says nothing.
    young_rest = np.maximum(population.aged - summary[:, _AGED] * crowd.value / units, 0.0)
    young_rest_young = np.clip(population.young - summary[:, _YOUNG] * crowd.value / units, 0.0, young_rest)
    firing = _firing(population, tails, fired, based, crowd.value / units)
    taken_over, judged, _ = firing[TAKES_OVER]
    # The sampled organisations are all different: there are at least as many, whatever the estimate's error.
    orgs_lower = np.maximum(np.minimum(orgs.lower, crowd.upper), summary[:, _UNITS])
    return LinkView(
        kind=links.pools[pools, P.KIND],
        is_text=np.isin(links.pools[pools, P.KIND], _TEXT_KINDS),
        is_program=np.isin(links.pools[pools, P.KIND], _PROGRAM_KINDS),
        requests=p[:, P.REQUESTS],
        span_ms=p[:, P.LAST] - p[:, P.FIRST],
        age_ms=now_ms - links.stats[links.pools[pools, P.LINK], 1].astype(np.float64),
        accounts=crowd.value,
        orgs_lower=orgs_lower,
        orgs=np.maximum(orgs.value, orgs_lower),
        subnets=subnets.value,
        subnets_lower=subnets.lower,
        subnets_upper=subnets.upper,
        payments_upper=payments.upper,
        prompts_lower=prompts.lower,
        prompts=prompts.value,
        texts=p[:, P.TEXTS],
        units=summary[:, _UNITS],
        paying=summary[:, _PAYING],
        programmed=summary[:, _PROGRAMMED],
        **registrations.alike(accounts, column.sizes[pools], column.hashes[pools], crowds=crowd.value)._asdict(),
        program_share=program_share,
        run_gaps=summary[:, _RUN_GAPS],
        run_log_sd=ratio(summary[:, _RUN_SQ], summary[:, _RUN_GAPS]) ** 0.5 / _OCTAVE * np.log(2.0),
        young=summary[:, _YOUNG],
        age_known=summary[:, _AGED],
        young_base=wilson_upper(young_rest_young, young_rest),
        alive=summary[:, _ALIVE],
        gone=summary[:, _GONE],
        born=summary[:, _BORN],
        single_share=ratio(p[:, P.SINGLE], p[:, P.TURN_KNOWN]),
        output_log_mean=p[:, P.LOG_OUT] / np.maximum(p[:, P.REQUESTS], 1.0) / _OCTAVE,
        purity=purity,
        rate_members=summary[:, _LOADED],
        rate_log_sd=np.sqrt(summary[:, _SPREAD]),
        rate_noise=summary[:, _NOISE],
        **_alike(links, pools, accounts, tails, purity=purity, scattered=scattered),
        template_collision=summary[:, _COLLIDE],
        watched=np.zeros(pools.size),  # whoever knows what is watched puts it in
        population=max(float(population.accounts.sum()), 1.0),
        fired=firing,
        taking_over=ratio(taken_over, judged),
    )
