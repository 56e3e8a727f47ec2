"""A1: a few templates fill an account, and their slots never repeat.

Purpose: prompt diversity seen from one account: a few fixed skeletons, or text that a
pool of accounts shares, over ever new items.
Misses: prompts paraphrased per request; text without a shared head.
Confuses: retrieval services and evaluations, which do the same for one organisation;
so it is pooled, and never decides alone.
Limits: lower bounds from Space-Saving and HyperLogLog; cannot judge under 8 requests
whose exact prompt is known.
Source: self-instruct and evol-instruct pipelines share an 8-word prefix throughout.
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, ratio

REQUESTS_MIN = 8.0
# A pipeline sends little besides its skeletons; people mix tasks even in one application.
TEMPLATES_SHARE_MIN = 0.8
# Work items are dealt out once; retries and greetings repeat.
DISTINCT_SHARE_MIN = 0.8


def judge(view: AccountView) -> Answer:
    """Fire where four templates, or shared text, hold most requests and prompts hardly repeat."""
    distinct = ratio(view.prompts_distinct_lower, view.texts)
    fires = (view.template_share_lower >= TEMPLATES_SHARE_MIN) & (distinct >= DISTINCT_SHARE_MIN)
    facts = {
        "fixed_text_share": FactColumn(
            view.template_share_lower, "share", TEMPLATES_SHARE_MIN, lower=view.template_share_lower
        ),
        "distinct_prompt_share": FactColumn(distinct, "share", DISTINCT_SHARE_MIN, lower=distinct),
    }
    judged = (view.requests >= REQUESTS_MIN) & (view.texts >= REQUESTS_MIN)
    return Answer(fires_or_quiet(fires, judged=judged), facts)


SIGNATURE = Signature(
    id="a1_template_dominance",
    title="A few templates with ever new items fill the account",
    family="content",
    unit="account",
    needs=("prompt_fp",),
    needs_any=("template_fp", "anchor_fps", "run_fps"),
    maturity="enforce",
    version=2,
    cross_account=False,
    judge=judge,
    log_odds_max=1.5,
)
