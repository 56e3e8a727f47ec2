"""A2: requests demand reasoning, grading, rewriting or data sets in far more than the usual share.

Purpose: output extraction seen from one account: what is asked for is training data.
Misses: plain harvesting without such demands; trace inversion.
Confuses: explainability logs of one regulated organisation, tutors.
Limits: judged on the gateway's scores; a Wilson bound, cannot judge under 6 scored requests. One account that
fires shows little, a person may ask for steps; what counts is how many of a pool's do, against everybody's rate.
Source: published incidents name demands to articulate the reasoning behind an answer.
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, ratio, wilson_lower

SCORED_MIN = 6.0
# A pool sends several fixed texts, and it is enough for it that one in four makes the demand: 15 of 60 requests.
ELICITED_SHARE_MIN = 0.15
BASE_MULTIPLE_MIN = 2.0


def judge(view: AccountView) -> Answer:
    """Fire where the lower bound of the elicited share exceeds both the floor and twice the population's share."""
    lower = wilson_lower(view.elicited, view.elicitation_known)
    floor = max(ELICITED_SHARE_MIN, min(0.6, BASE_MULTIPLE_MIN * view.elicited_base))
    share = ratio(view.elicited, view.elicitation_known)
    facts = {"elicited_share": FactColumn(share, "share", floor, lower=lower, baseline=view.elicited_base)}
    return Answer(fires_or_quiet(lower >= floor, judged=view.elicitation_known >= SCORED_MIN), facts)


SIGNATURE = Signature(
    id="a2_elicitation",
    title="Most requests demand reasoning or training data",
    family="behaviour",
    unit="account",
    needs=("elicitation",),
    maturity="enforce",
    version=3,
    cross_account=False,
    judge=judge,
    log_odds_max=3.0,
)
