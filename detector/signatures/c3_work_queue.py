"""C3: a work queue: no item twice, and an even load on every account.

Purpose: how work is dealt out. A dispatcher gives each account about the same rate
and each item once; customers of one program differ by orders of magnitude.
Misses: skewed dispatch, repeated items, accounts of very different plans; behind many programs also
a topic of its own for each account.
Confuses: a sharded job of one payer (which one organisation pays for); builders who run the same
published exercise, which is why a small group of many programs counts half, and one whose members
have tasks of their own not at all.
Limits: the spread of members' loads after their first hour with the noise of runs removed,
bounded from above by the error of both, a twentieth set aside; items by the lower bound of
their distinct count, a prompt under another logit bias being another item. Needs eight members
seen for three hours, twelve behind many programs, and prompt fingerprints.
Source: measured customer rates span a factor of 40 between median and ninth decile. Of 8,805
looks at texts of innocents (two worlds, at eight to seventy hours) one in a thousand comes to `FULL_SD`;
of four more worlds, looked at all along, 3 of 184 texts behind one program and 7 of 1,306 behind many.
"""

import numpy as np

from detector.signatures.contract import (
    F64,
    Answer,
    FactColumn,
    LinkView,
    Signature,
    dealt_turns,
    ramp,
    rate_bounds,
    ratio,
)

MEMBERS_MIN = 8.0
EVEN_SD = 0.85
UNEVEN_SD = 1.1
# exp(0.7): two thirds of the members within a factor of two of each other.
FULL_SD = 0.7
DISTINCT_SHARE_MIN = 0.85
DISTINCT_SHARE_MARGIN = 0.15
UNEVEN_AGAINST = 2.0
SIGMAS = 3.0
LOG_ODDS_MAX = 3.5
# One crowd shows through many of its texts, each with some of it: among so many small groups one is even by chance.
FEW_LEFT = 0.5
MEMBERS_FEW = 12.0
MEMBERS_MANY = 50.0
MEMBERS_FULL = 100.0
# Of the variance of prompts' lengths between accounts, by the upper bound: what a queue leaves, and what none would.
BETWEEN_MAX = 0.03
BETWEEN_NONE = 0.08
PROGRAM_SHARE_MIN = 0.5
PROGRAM_SHARE_FULL = 0.9


def _one_queue(view: LinkView) -> F64:
    """What is left of evenness: all of it behind one client program, else by their number, and if nobody has his own.

    A queue deals the same mix to everybody; of builders each has tasks of his own, whatever pipeline they run. Of
    fewer than `MEMBERS_FEW` behind many programs that is not known, and what is not known does not accuse.
    """
    program = ramp(view.program_share, low=PROGRAM_SHARE_MIN, high=PROGRAM_SHARE_FULL)
    many = ramp(view.rate_members, low=MEMBERS_MANY, high=MEMBERS_FULL)
    same = ramp(view.between_upper, low=BETWEEN_NONE, high=BETWEEN_MAX)
    crowd = np.where(view.rate_members >= MEMBERS_FEW, FEW_LEFT + (1.0 - FEW_LEFT) * many, 0.0)
    return np.maximum(program, crowd * same)


def judge(view: LinkView) -> Answer:
    """Accuse on the upper bound of the spread of rates; acquit on its lower bound."""
    lower, upper = rate_bounds(view, sigmas=SIGMAS)
    known = view.texts > 0
    distinct = ratio(view.prompts, view.texts)
    distinct_lower = ratio(view.prompts_lower, view.texts)
    enough = (view.rate_members >= MEMBERS_MIN) & (view.orgs_lower >= MEMBERS_MIN / 2) & known
    even = ramp(upper, low=EVEN_SD, high=FULL_SD) * ramp(
        distinct_lower, low=DISTINCT_SHARE_MIN - DISTINCT_SHARE_MARGIN, high=DISTINCT_SHARE_MIN
    )
    even = even * dealt_turns(view) * _one_queue(view)
    uneven = ramp(lower, low=EVEN_SD, high=UNEVEN_SD)
    log_odds = np.where(enough & (view.is_text | view.is_program), LOG_ODDS_MAX * even - UNEVEN_AGAINST * uneven, 0.0)
    facts = {
        "rate_spread": FactColumn(view.rate_log_sd, "sd of ln(requests/day)", EVEN_SD, lower=lower, upper=upper),
        "distinct_item_share": FactColumn(
            np.minimum(distinct, 1.0), "share", DISTINCT_SHARE_MIN, lower=np.minimum(distinct_lower, 1.0)
        ),
        "members_compared": FactColumn(view.rate_members, "accounts", MEMBERS_MIN),
    }
    return Answer(log_odds.round(6), facts)


SIGNATURE = Signature(
    id="c3_work_queue",
    title="Items dealt out once, evenly over the accounts",
    family="timing",
    unit="link",
    needs=("prompt_fp",),
    needs_any=("template_fp", "anchor_fps", "run_fps", "system_prompt_fp"),
    maturity="enforce",
    version=7,
    cross_account=True,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)
