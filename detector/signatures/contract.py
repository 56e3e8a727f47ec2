"""What a signature is, what it sees and what it answers.

Purpose: a signature is a frozen declaration and a pure function; written once, the
function judges ten thousand rows at a time.
Invariants: a signature reads its view only; its answer has one row per row of the
view; log-odds are natural, rounded to 6 digits, 0 where it abstains.
Limits: an account signature fires (1), is quiet (-1) or cannot say (0), and is pooled
over the members of a link against the population's own rate; a link signature judges
pools directly. What a log does not hold is NaN or a count of zero, and neither accuses
nor acquits.
Source: evidence as log-likelihood ratios after Good, "Probability and the Weighing
of Evidence" (1950); the design effect after Kish, "Survey Sampling" (1965).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
import numba
import numpy as np
import numpy.typing as npt

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

Family = Literal["content", "timing", "network", "identity", "lifecycle", "behaviour"]
Maturity = Literal["shadow", "alert", "enforce", "retired"]


class FactColumn(NamedTuple):
    """A named number per row, with its bounds and what it was held against."""

    value: F64
    unit: str
    threshold: float | F64 | None = None
    lower: F64 | None = None
    upper: F64 | None = None
    baseline: float | F64 | None = None


class Answer(NamedTuple):
    """One row per judged row. `log_odds` is 0 where the signature abstains; of an account signature -1, 0 or 1."""

    log_odds: F64
    facts: dict[str, FactColumn]


class AccountView(NamedTuple):
    """Accounts touched since the last discovery. Shares are in [0, 1], NaN where unknown; logs are base 2."""

    requests: F64
    span_ms: F64
    age_ms: F64  # at first request, NaN unknown
    input_log_mean: F64
    input_log_sd: F64
    output_log_mean: F64
    gap_log_sd: F64
    single_share: F64
    elicited: F64  # count
    elicitation_known: F64
    capped_share: F64
    finish_known: F64  # requests whose reason to finish is known
    template_share_lower: F64  # of its four commonest templates, or of text that a pool shares
    prompts_distinct_lower: F64
    texts: F64
    hours: F64
    hour_peak: F64
    first_hour: F64
    output_log_tail: F64  # the population's long-output limit in the account's stratum
    elicited_base: float  # the population's share of elicited requests
    model_score: F64  # population model, 0..1, NaN where not scored
    echoed: F64  # requests that go on with an earlier answer: present its reasoning, or are the next turn
    handed: F64  # of them, with one that another organisation got
    afar: F64  # of these, last answered on another network
    returned: F64  # requests with text that was answered to another organisation
    refused: F64  # requests that the model or its filter refused
    logprobs: F64  # requests that asked for token probabilities
    tiny: F64  # answers of one token at most
    systems: F64  # different system prompts, at least


class LinkView(NamedTuple):
    """Pools touched since the last discovery. Members are the sampled accounts, one per organisation."""

    kind: I64
    is_text: Bools
    is_program: Bools  # of one client program: all, or those that show what others were answered
    requests: F64
    span_ms: F64
    age_ms: F64  # since the log first showed the link
    accounts: F64
    orgs_lower: F64
    orgs: F64
    subnets: F64
    subnets_lower: F64
    subnets_upper: F64
    payments_upper: F64
    prompts_lower: F64
    prompts: F64
    texts: F64
    units: F64  # sampled organisations
    paying: F64  # units whose payment is known
    programmed: F64  # units whose client program is known
    mailed: F64  # units of known mail domain, however many the sample names
    mail_alike: F64  # mean log-odds that they signed up as a batch and not as everybody, NaN unknown
    mail_error: F64  # its standard error
    program_share: F64  # of the units: behind the commonest known program
    purity: F64  # mean share of a member's requests, or of its openings, whose user text a pool shares
    rate_members: F64  # accounts whose loads were compared, the twentieth furthest out aside
    rate_log_sd: F64  # of ln(requests per day), that of a log-normal load of the same CV, counting noise removed
    run_gaps: F64  # gaps within runs, at most fifty of one member
    run_log_sd: F64  # of ln(gap) within runs about each member's own mean, NaN where no member has two
    rate_noise: F64  # the variance that was removed as counting noise
    young: F64  # units under seven days old
    age_known: F64
    young_base: F64  # upper bound of the young accounts' share of the population, the pool left out; NaN unknown
    alive: F64  # members that acted in the last two days
    gone: F64  # of them, silent for a day after a day or more at `REGULAR_SESSIONS` a day
    born: F64  # of them, first seen in the last day and, where its age is known, under seven days old
    single_share: F64
    output_log_mean: F64
    # Of client programs, and of texts that are a lesser part of what members send; of each organisation one
    # account; else 0 or NaN.
    compared: F64  # organisations whose mean prompt lengths were compared, the tenth furthest out aside
    between_share: F64  # of the variance of ln(prompt length): between accounts, not within
    between_upper: F64  # known as well of texts that fill accounts of many client programs
    shared_share: F64  # mean share of a member's requests whose user text a pool shares
    bare_share: F64  # of the organisations: send no system prompt
    taking: F64  # organisations that take more output to their input than three innocents of four
    taking_known: F64
    taking_over: F64  # share of the organisations that go on with what others were answered
    template_collision: F64  # chance that two members' main templates agree
    watched: F64  # 1: others named this link in a campaign of theirs, and the watch has not expired
    population: float  # accounts live in the table
    # Account signature -> (units that fire, units that it could judge, upper bound of the others' share that fires).
    fired: dict[str, tuple[F64, F64, F64]]


# Where a campaign shows a habit, seven of ten members do: between nearly all of a pure pool and the half that
# is left when half of the traffic is cover.
CAMPAIGN_RATE = 0.7
BASE_RATE_MIN = 0.02
BASE_RATE_MAX = 0.95
UNITS_MIN = 6.0
# A third of what tells accounts apart is their application: m customers of one count as 3 m / (m + 2) strangers,
# never as more than three.
ALIKE = 1 / 3
# A crowd that one occasion brought (a course, a launch) is alike for that reason: an eighth of what tells such accounts
# apart is the occasion, so they never count as more than eight strangers.
OCCASION = 1 / 8


class Signature(msgspec.Struct, frozen=True, kw_only=True):
    """The declaration of one signature; its function is `judge`."""

    id: str
    title: str
    family: Family
    unit: Literal["account", "link"]
    needs: tuple[str, ...]
    maturity: Maturity
    version: int
    cross_account: bool
    judge: Callable[..., Answer]
    log_odds_max: float = 3.0
    needs_any: tuple[str, ...] = ()
    # Account signatures: the share of campaigns that show the habit at all; only at 1.0 does its absence acquit.
    habit_share: float = 0.5
    # Held against the reference of innocents, in which no program counts twice, and not against the whole population.
    by_reference: bool = False

    def missing(self, present: frozenset[str]) -> tuple[str, ...]:
        """List the fields that a log lacks for this signature; empty when it is on."""
        missing = tuple(f for f in self.needs if f not in present)
        if self.needs_any and not any(f in present for f in self.needs_any):
            missing += (" or ".join(self.needs_any),)
        return missing


# An account at this pace that falls silent for a day has missed what comes by chance once in twenty (exp(-3)).
REGULAR_SESSIONS = 3


def ramp(x: F64, *, low: float, high: float) -> F64:
    """Rise linearly from 0 at `low` to 1 at `high` (or fall, when low > high); NaN gives 0.

    >>> ramp(np.array([1.0, 2.0, 9.0, np.nan]), low=1.0, high=3.0).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """
    return np.nan_to_num(np.clip((x - low) / (high - low), 0.0, 1.0), nan=0.0)


def ratio(part: F64, whole: F64) -> F64:
    """Divide; NaN where there is nothing of the whole.

    >>> ratio(np.array([1.0, 0.0]), np.array([4.0, 0.0])).tolist()
    [0.25, nan]
    """
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def dealt_turns(view: LinkView) -> F64:
    """Say what is left of evidence that dealing conversations out would explain: it falls with those who take over.

    Their prompts are alike and their loads even, whoever deals.
    """
    return 1.0 - np.nan_to_num(view.taking_over)


def rate_bounds(view: LinkView, *, sigmas: float) -> tuple[F64, F64]:
    """Bound how far members' rates lie apart, as the sd of their logarithm; NaN where it is unknown.

    What was measured is spread and noise together: its error stays when the noise is taken off, even
    where nothing is left. A variance of n values is known to 1 in sqrt(n / 2).
    """
    spread = view.rate_log_sd**2
    error = sigmas * np.sqrt(2.0 / np.maximum(view.rate_members - 1.0, 1.0)) * (spread + view.rate_noise)
    return np.sqrt(np.maximum(spread - error, 0.0)), np.sqrt(spread + error)


@numba.njit(cache=True)
def _wilson_lower(hits, trials, z, out):  # type: ignore[no-untyped-def]
    for i in range(out.size):
        if not trials[i] > 0.0:
            out[i] = 0.0
            continue
        n = max(trials[i], 1e-9)
        p = hits[i] / n
        centre = p + z * z / (2.0 * n)
        spread = z * np.sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n))
        out[i] = np.maximum((centre - spread) / (1.0 + z * z / n), 0.0)  # NaN stays, which max() would lose


def wilson_lower(hits: F64, trials: F64, *, z: float = 2.0) -> F64:
    """Bound a share from below (Wilson 1927); 0 where nothing was tried. Arrays of one shape.

    >>> round(float(wilson_lower(np.array([8.0]), np.array([8.0]))[0]), 3)
    0.667
    """
    assert hits.shape == trials.shape, f"{hits.shape} hits of {trials.shape} trials"
    out: F64 = np.empty(hits.size)
    flat = (np.require(counts.reshape(-1), np.float64, ["C", "W"]) for counts in (hits, trials))
    _wilson_lower(*flat, z, out)
    return out.reshape(hits.shape)


def wilson_upper(hits: F64, trials: F64, *, z: float = 2.0) -> F64:
    """Bound a share from above (Wilson 1927); 1 where nothing was tried.

    >>> round(float(wilson_upper(np.array([0.0]), np.array([8.0]))[0]), 3)
    0.333
    """
    return 1.0 - wilson_lower(trials - hits, trials, z=z)


def fires_or_quiet(fires: Bools, *, judged: Bools) -> F64:
    """Write an account signature's answer: 1 fires, -1 quiet, 0 where it could not judge.

    >>> fires_or_quiet(np.array([True, False, True]), judged=np.array([True, True, False])).tolist()
    [1.0, -1.0, 0.0]
    """
    return np.where(judged, np.where(fires, 1.0, -1.0), 0.0)


def pooled(signatures: tuple[Signature, ...], view: LinkView) -> list[Answer]:
    """Turn account signatures' firings over a pool's members into evidence about the pool, an answer for each.

    The log-likelihood ratio of `k` of `m` members firing under `CAMPAIGN_RATE`
    against the population's own rate (by its upper bound, the pool's members left out),
    with two corrections, and capped at the signature's strength.

    Members of one program are not independent: what they send and get is its doing,
    in an honest application as in a campaign. So they count as the strangers that
    `ALIKE` leaves of them, and a middling excess stays a mild one however many share it.

    Absence of one habit is not innocence: there are two kinds of harvest, plain
    harvesting demands no reasoning, judges want short answers, pools are warmed up.
    Of campaigns only the part `habit_share` shows the habit, the rest looks like the
    population, so the evidence is ln(1 - habit_share + habit_share * ratio). Whether to
    show it is the attacker's choice: who knows the detector drops it, and must gain
    nothing by that. So it counts against a pool only where every campaign must show it
    (`habit_share` 1), and is 0 otherwise. A member that the signature could not judge
    (too few requests, a field its gateway does not send) counts neither way; where the
    population's rate is unknown the answer is 0.
    """
    if not signatures:
        return []
    k, m, base = (np.stack([view.fired[s.id][part] for s in signatures]) for part in range(3))
    habit, most = np.array([(s.habit_share, s.log_odds_max) for s in signatures]).T[:, :, None]
    known = (m >= UNITS_MIN) & np.isfinite(base)
    p0 = np.clip(np.where(known, base, 1.0), BASE_RATE_MIN, BASE_RATE_MAX)
    p1 = np.maximum(CAMPAIGN_RATE, p0)
    share = np.divide(k, m, out=np.zeros_like(k), where=m > 0)
    strangers = m / (1.0 + np.maximum(m - 1.0, 0.0) * ALIKE)
    fires, quiet = np.log(p1 / p0), np.log((1.0 - p0) / (1.0 - p1))
    ratio = strangers * (share * fires - (1.0 - share) * quiet)
    # At this share the two hypotheses explain the pool equally well.
    even = np.divide(quiet, fires + quiet, out=np.full(k.shape, np.nan), where=known & (fires > 0))
    shown, hidden = np.log(habit) + ratio, np.log(np.maximum(1.0 - habit, np.finfo(float).tiny))
    evidence = np.clip(np.logaddexp(shown, hidden), np.where(habit >= 1.0, -most, 0.0), most)
    log_odds = np.where(known, evidence, 0.0).round(6)
    value, lower, baseline = np.where(m > 0, share, np.nan), wilson_lower(k, m), np.where(known, p0, np.nan)
    return [
        Answer(
            log_odds[i],
            {
                "members_firing_share": FactColumn(value[i], "share", even[i], lower=lower[i], baseline=baseline[i]),
                "members_judged": FactColumn(m[i], "organisations", UNITS_MIN),
            },
        )
        for i in range(len(signatures))
    ]
