"""A3: conversations continued that other organisations began.

Purpose: a reasoning signature vouches for reasoning in one conversation. Who presents another
organisation's, or sends the next turn after another's, continues that organisation's conversations:
a relay that spreads its users over seats, or reasoning replayed to have it explained.
Misses: sessions pinned to a seat; reasoning and conversation ids stripped before they are sent on.
Confuses: customers who move to a new organisation in the middle of conversations, and
gateways that retry elsewhere: their rate is the base rate.
Limits: shares of the requests that go on with an earlier answer, by the lower bound, from four on; what was
issued long ago is forgotten and counts as the account's own. Who goes on with none in `REQUESTS_MIN`
requests is quiet: it hands nothing over, and the base rate is that of all customers.
Source: reported replay of thinking signatures in other sessions, in two campaigns.
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, ratio, wilson_lower

ECHOED_MIN = 4.0
HANDED_SHARE_MIN = 0.2
REQUESTS_MIN = 12.0


def judge(view: AccountView) -> Answer:
    """Fire where a fifth of what is gone on with was surely answered to others."""
    handed = wilson_lower(view.handed, view.echoed)
    share = ratio(view.handed, view.echoed)
    facts = {"handed_share": FactColumn(share, "share of continued conversations", HANDED_SHARE_MIN, lower=handed)}
    judged = (view.echoed >= ECHOED_MIN) | ((view.echoed == 0) & (view.requests >= REQUESTS_MIN))
    return Answer(fires_or_quiet(handed >= HANDED_SHARE_MIN, judged=judged), facts)


SIGNATURE = Signature(
    id="a3_signature_replay",
    title="Conversations continued that other organisations began",
    family="identity",
    unit="account",
    needs=(),
    needs_any=("reasoning_signature_echo_fp", "conversation_id"),
    maturity="enforce",
    version=3,
    cross_account=True,
    judge=judge,
    log_odds_max=5.0,
)
