"""A7: the accounts of a pool keep a machine's pace.

Purpose: how long each account waits between one request and the next within a run. A
worker takes the next item when the last is done; people read, think and are called away.
Misses: gaps drawn at random (Poisson pacing), many requests in parallel, one per session.
Confuses: an application that works through its customers' items in bulk (its customers'
rates differ by orders of magnitude, which is why uneven rates take the evidence away); builders
who run a published pipeline, which is why one client program is asked for.
Limits: gaps under half an hour, each account about its own mean, at most 50 of one
account; sixty gaps of eight organisations. The spread accuses by its upper bound and
acquits by its lower one. CV and spread are those of log-normal gaps.
Source: measured clients: gaps' CV under 0.8 in 4.8 %, under 0.5 in 1.6 %, median 1.25;
published pipelines' own logs: CV 0.15 to 0.33, or one steady pace for hours.
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp, rate_bounds

ORGS_MIN = 8.0
GAPS_MIN = 60.0
# sd of ln(gap) is sqrt(ln(1 + CV^2)): CV 0.5, 0.8 and 1.25.
STEADY_SD = 0.47
REGULAR_SD = 0.70
USUAL_SD = 0.97
# Three campaigns of four pace their workers so: ln(0.75 / 0.016) and ln(0.75 / 0.048); at the median nothing is left.
STEADY_ODDS = 3.5
REGULAR_ODDS = 2.75
HUMAN_SD = 1.3
HUMAN_AGAINST = 1.0
UNEVEN_SD = 1.1
PROGRAM_SHARE_MIN = 0.5
PROGRAM_SHARE_FULL = 0.9
PROGRAM_SHARE_BLIND = 0.7
SIGMAS = 2.0


def judge(view: LinkView) -> Answer:
    """Accuse on the upper bound of the spread of gaps within runs, unless the members' rates are known to differ."""
    error = SIGMAS / np.sqrt(2.0 * np.maximum(view.run_gaps, 1.0))
    upper, lower = view.run_log_sd * (1.0 + error), view.run_log_sd * np.maximum(1.0 - error, 0.0)
    enough = (view.is_text | view.is_program) & (view.run_gaps >= GAPS_MIN) & (view.orgs_lower >= ORGS_MIN)
    steady = np.interp(
        np.nan_to_num(upper, nan=USUAL_SD), [STEADY_SD, REGULAR_SD, USUAL_SD], [STEADY_ODDS, REGULAR_ODDS, 0.0]
    )
    even = 1.0 - ramp(rate_bounds(view, sigmas=SIGMAS)[0], low=REGULAR_SD, high=UNEVEN_SD)
    share = np.where(view.programmed > 0, view.program_share, PROGRAM_SHARE_BLIND)
    one = ramp(share, low=PROGRAM_SHARE_MIN, high=PROGRAM_SHARE_FULL)
    human = HUMAN_AGAINST * ramp(lower, low=USUAL_SD, high=HUMAN_SD)
    facts = {
        "gap_spread": FactColumn(view.run_log_sd, "sd of ln(gap) in a run", USUAL_SD, lower=lower, upper=upper),
        "gaps": FactColumn(view.run_gaps, "gaps", GAPS_MIN),
    }
    return Answer(np.where(enough, steady * even * one - human, 0.0).round(6), facts)


SIGNATURE = Signature(
    id="a7_machine_pace",
    title="Accounts keep a machine's pace",
    family="timing",
    unit="link",
    needs=(),
    needs_any=("template_fp", "anchor_fps", "run_fps", "system_prompt_fp"),
    maturity="enforce",
    version=3,
    cross_account=False,
    judge=judge,
    log_odds_max=STEADY_ODDS,
)
