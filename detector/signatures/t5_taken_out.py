"""T5: nearly all accounts of a pool take far more out than they put in.

Purpose: output to input of bare replay and of whoever harvests long answers to short orders: the unit is the pool,
because what the customers of a program send and get is largely its doing.
Misses: harvesters who ask for brevity or send long prompts.
Confuses: chat applications, whose conversations go on; report writing from short orders.
Limits: client programs, and texts that members met by chance; eight organisations with six requests, of each one
account. Conversations, and logs that do not say which requests are single turns, cost a part of the odds.
Source: output per input is 1.4 to 7 for replayed prompts, 0 to 0.3 for benchmarks, judges and agents. Of 386 client
programs in three innocent worlds six have a part of the weight, two of them without conversations; none has all of it.
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp, ratio, wilson_lower

ORGS_MIN = 8.0
TAKING_MIN = 0.6
TAKING_FULL = 0.75
SINGLE_MIN = 0.8
SINGLE_FULL = 0.95
BLIND_COST = 0.7
TALK_COST = 1.1


def judge(view: LinkView) -> Answer:
    """Accuse on the lower bound of the share of members that lie beyond three of four innocents."""
    lower = wilson_lower(view.taking, view.taking_known)
    blind = ~np.isfinite(view.single_share)
    talk = TALK_COST * ramp(view.single_share, low=SINGLE_FULL, high=SINGLE_MIN)
    weight = LOG_ODDS_MAX * ramp(lower, low=TAKING_MIN, high=TAKING_FULL) - np.where(blind, BLIND_COST, talk)
    weight = np.maximum(weight, 0.0)
    share = ratio(view.taking, view.taking_known)
    facts = {
        "members_taking_share": FactColumn(share, "share of organisations", TAKING_MIN, lower=lower, baseline=0.25),
        "single_turn_share": FactColumn(view.single_share, "share of requests", SINGLE_MIN),
        "members_judged": FactColumn(view.taking_known, "organisations", ORGS_MIN),
    }
    return Answer(
        np.where((view.is_program | view.is_text) & (view.taking_known >= ORGS_MIN), weight, 0.0).round(6), facts
    )


LOG_ODDS_MAX = 3.5
SIGNATURE = Signature(
    id="t5_taken_out",
    title="The accounts of a pool take far more out than they put in",
    family="behaviour",
    unit="link",
    needs=("output_tokens",),
    maturity="enforce",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)
