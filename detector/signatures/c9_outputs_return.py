"""C9: what other organisations were answered comes back in prompts.

Purpose: generate here, judge there: a pipeline feeds what one account generated to others
for grading, cleaning and filtering, be it through another program. The template that all the
judges share is C1's; this is what flows between accounts, another family.
Misses: grading on another vendor's model; outputs rewritten before they are judged.
Confuses: evaluation vendors and self-review, which are one organisation; its own outputs do
not count.
Limits: two runs of eight words must match; shares count by the lower bound, from 8 prompts
on; what was answered long ago is forgotten.
Source: outputs that reappear as inputs of the same program found the cleaner in our trials.
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, ratio, wilson_lower

PROMPTS_MIN = 8.0
RETURNED_SHARE_MIN = 0.2


def judge(view: AccountView) -> Answer:
    """Fire where a fifth of the prompts surely hold what others were answered."""
    returned = wilson_lower(view.returned, view.texts)
    share = ratio(view.returned, view.texts)
    facts = {"returned_share": FactColumn(share, "share of prompts", RETURNED_SHARE_MIN, lower=returned)}
    return Answer(fires_or_quiet(returned >= RETURNED_SHARE_MIN, judged=view.texts >= PROMPTS_MIN), facts)


SIGNATURE = Signature(
    id="c9_outputs_return",
    title="What others were answered comes back in prompts",
    family="behaviour",
    unit="account",
    needs=("output_run_fps", "run_fps"),
    maturity="enforce",
    version=2,
    cross_account=True,
    judge=judge,
    log_odds_max=4.0,
)
