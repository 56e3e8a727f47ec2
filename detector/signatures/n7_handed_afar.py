"""N7: conversations change networks as they change hands.

Purpose: tell a relay from one customer with several organisations. His gateway hands conversations over
behind the same addresses; seats that strangers opened each have their own, and a user's next turn,
minutes later, comes from another network and in another name.
Misses: a relay whose seats all leave by one prefix, which crowds it.
Confuses: people who move house and organisation in mid conversation, and agents of partners who share one:
so it is pooled, and says nothing of who hands over within one organisation.
Limits: shares of the requests that go on with what another organisation was answered, by the lower bound, from
three on; who takes over nothing in `REQUESTS_MIN` requests is quiet. A conversation paused for half an
hour counts as new. Unknown addresses are not far.
Source: seats of a relay behind residential proxies, each its own; section 1 and A13 of the handbook.
"""

from detector.signatures.contract import AccountView, Answer, FactColumn, Signature, fires_or_quiet, ratio, wilson_lower

HANDED_MIN = 3.0
AFAR_SHARE_MIN = 0.4
REQUESTS_MIN = 12.0


def judge(view: AccountView) -> Answer:
    """Fire where much of what an account takes over was last answered on another network."""
    lower = wilson_lower(view.afar, view.handed)
    share = ratio(view.afar, view.handed)
    facts = {"afar_share": FactColumn(share, "share of what is taken over", AFAR_SHARE_MIN, lower=lower)}
    judged = (view.handed >= HANDED_MIN) | ((view.handed == 0) & (view.requests >= REQUESTS_MIN))
    return Answer(fires_or_quiet(lower >= AFAR_SHARE_MIN, judged=judged), facts)


SIGNATURE = Signature(
    id="n7_handed_afar",
    title="Conversations change networks as they change hands",
    family="network",
    unit="account",
    needs=("client_ip",),
    needs_any=("reasoning_signature_echo_fp", "conversation_id"),
    maturity="enforce",
    version=1,
    cross_account=True,
    judge=judge,
    log_odds_max=3.5,
)
