"""A15: one account carries the system prompts of many.

Purpose: the relay shape. Who resells access brings what its users' products say of themselves: one
seat serves many system prompts, where a person has one or two and an application its own.
Misses: users who bring none; a proxy that puts one of its own in front.
Confuses: gateways, aggregators, resellers' customers and agencies, which do the same with leave; so it is
pooled, and what pools accounts must say that they belong together.
Limits: distinct prompts are counted in 64 bits, so that some are overlooked and none invented. Who sends
no system prompts is quiet; under eight requests it cannot judge.
Source: reported relaying of a campaign's own users; the handbook's relay signature.
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet

SYSTEMS_MIN = 4.0
REQUESTS_MIN = 8.0


def judge(view: AccountView) -> Answer:
    """Fire where an account has sent `SYSTEMS_MIN` different system prompts."""
    facts = {"system_prompts": FactColumn(view.systems, "distinct system prompts", SYSTEMS_MIN)}
    return Answer(fires_or_quiet(view.systems >= SYSTEMS_MIN, judged=view.requests >= REQUESTS_MIN), facts)


SIGNATURE = Signature(
    id="a15_many_systems",
    title="One account carries the system prompts of many",
    family="behaviour",
    unit="account",
    needs=("system_prompt_fp",),
    maturity="enforce",
    version=1,
    cross_account=False,
    judge=judge,
    log_odds_max=3.5,
)
