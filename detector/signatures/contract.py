"""What a signature is, what it sees and what it answers.

Purpose: a signature is a frozen declaration and a pure function; written once, the
function judges ten thousand rows at a time.
Invariants: a signature reads its view only; its answer has one row per row of the
view; log-odds are natural, rounded to 6 digits, 0 where it abstains.
Limits: an account signature fires or not and is pooled over the members of a link
against the population's own rate; a link signature judges pools directly.
Source: evidence as log-likelihood ratios after Good, "Probability and the Weighing
of Evidence" (1950).
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import msgspec
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
    """One row per judged row. `log_odds` is 0 where the signature abstains."""

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
    lower_share: F64
    tool_share: F64
    template_share_lower: F64  # of its four commonest templates, or of text that a pool shares
    prompts_distinct_lower: F64
    texts: F64
    hours: F64
    hour_peak: F64
    first_hour: F64
    output_log_tail: F64  # the population's long-output limit in the account's stratum
    elicited_base: float  # the population's share of elicited requests
    model_score: F64  # population model, 0..1, NaN where not scored


class LinkView(NamedTuple):
    """Pools touched since the last discovery. Members are the sampled accounts, one per organisation."""

    kind: I64
    is_text: Bools
    requests: F64
    span_ms: F64
    age_ms: F64  # since the log first showed the link
    accounts: F64
    accounts_lower: F64
    orgs_lower: F64
    orgs: F64
    subnets: F64
    subnets_lower: F64
    payments: F64
    payments_upper: F64
    prompts_lower: F64
    prompts: F64
    texts: F64
    members: F64  # sampled accounts with a row
    units: F64  # sampled organisations
    program_share: F64
    purity: F64  # mean share of a member's requests whose user text a pool shares, this link's at least
    rate_members: F64
    rate_log_sd: F64  # of ln(requests per day), counting noise removed
    young: F64  # units under seven days old
    age_known: F64
    young_base: F64
    gone: F64  # members silent for a day
    born: F64  # members first seen in the last day
    single_share: F64
    tool_share: F64
    elicited_share: F64
    output_log_mean: F64
    template_collision: F64  # chance that two members' main templates agree
    population: float  # accounts live in the table
    fired: dict[str, tuple[F64, F64, F64]]  # account signature -> (fired, mature units, base rate)


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

    def missing(self, present: frozenset[str]) -> tuple[str, ...]:
        """List the fields that a log lacks for this signature; empty when it is on."""
        missing = tuple(f for f in self.needs if f not in present)
        if self.needs_any and not any(f in present for f in self.needs_any):
            missing += (" or ".join(self.needs_any),)
        return missing


def ramp(x: F64, *, low: float, high: float) -> F64:
    """Rise linearly from 0 at `low` to 1 at `high` (or fall, when low > high); NaN gives 0.

    >>> ramp(np.array([1.0, 2.0, 9.0, np.nan]), low=1.0, high=3.0).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """
    return np.nan_to_num(np.clip((x - low) / (high - low), 0.0, 1.0), nan=0.0)


def wilson_lower(hits: F64, trials: F64, *, z: float = 2.0) -> F64:
    """Bound a share from below (Wilson 1927); 0 where nothing was tried.

    >>> round(float(wilson_lower(np.array([8.0]), np.array([8.0]))[0]), 3)
    0.667
    """
    n = np.maximum(trials, 1e-9)
    p = hits / n
    centre = p + z * z / (2 * n)
    spread = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.where(trials > 0, np.maximum((centre - spread) / (1 + z * z / n), 0.0), 0.0)


# If a pool is a campaign, four of five members do what the signature looks for; the
# fifth is young, or mixes in cover traffic.
CAMPAIGN_RATE = 0.8
BASE_RATE_MIN = 0.02
UNITS_MIN = 6.0


def pooled(signature: Signature, view: LinkView) -> Answer:
    """Turn an account signature's firings over a pool's members into evidence about the pool.

    The log-likelihood ratio of `k` of `m` members firing under `CAMPAIGN_RATE`
    against the population's own rate (the pool's members left out), capped: members
    of one program are not independent, so no count of them may outvote a family.
    """
    k, m, base = view.fired[signature.id]
    p0 = np.clip(base, BASE_RATE_MIN, 0.95)
    p1 = np.maximum(CAMPAIGN_RATE, p0)
    ratio = k * np.log(p1 / p0) + (m - k) * np.log((1 - p1 + 1e-9) / (1 - p0))
    log_odds = np.where(m >= UNITS_MIN, np.clip(ratio, -signature.log_odds_max / 2, signature.log_odds_max), 0.0)
    share = np.divide(k, m, out=np.zeros_like(k), where=m > 0)
    facts = {
        "members_firing_share": FactColumn(
            value=share, unit="share", threshold=BASE_RATE_MIN, lower=wilson_lower(k, m), baseline=p0
        ),
        "members_judged": FactColumn(value=m, unit="organisations", threshold=UNITS_MIN),
    }
    return Answer(np.round(log_odds, 6), facts)
