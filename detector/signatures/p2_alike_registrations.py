"""P2: organisations that signed up more alike than the population did.

Purpose: bulk subscriptions show in what accounts were registered with. A member of a pool
counts by how much commoner the domain of its mail address is among the other members than
among everybody; which domains that are, the log itself says.
Misses: addresses at the large providers, domains bought one per account; aged accounts that
were bought singly.
Confuses: launches, courses and trials, whose people use throw-away mail more often as well, and
clubs with mail of their own: so members of a pool count as at most eight strangers.
Limits: one account per organisation, from twelve of known domain on, by the mean's lower
bound; a batch may hold no more than half of a campaign. Unlike addresses acquit nobody.
Source: similar registrations and disposable mail are published indicators of coordinated accounts.
"""

import numpy as np

from detector.signatures.contract import ALIKE_JOINT, Answer, FactColumn, LinkView, Signature

UNITS_MIN = 12.0
SIGMAS = 3.0
LOG_ODDS_MAX = 2.5


def judge(view: LinkView) -> Answer:
    """Let the members' mean excess count for as many strangers as customers of one application are."""
    strangers = view.mailed / (1.0 + np.maximum(view.mailed - 1.0, 0.0) * ALIKE_JOINT)
    judged = (view.is_text | view.is_program) & (view.mailed >= UNITS_MIN)
    lower = view.mail_alike - SIGMAS * view.mail_error
    weight = np.clip(strangers * np.nan_to_num(lower), 0.0, LOG_ODDS_MAX)
    facts = {
        "mail_domains_alike": FactColumn(view.mail_alike, "log-odds per organisation", 0.0, lower=lower),
        "organisations_of_known_domain": FactColumn(view.mailed, "organisations", UNITS_MIN),
    }
    return Answer(np.where(judged, weight, 0.0).round(6), facts)


SIGNATURE = Signature(
    id="p2_alike_registrations",
    title="Organisations that signed up more alike than the population did",
    family="identity",
    unit="link",
    needs=("signup_email_domain_fp",),
    maturity="enforce",
    version=1,
    cross_account=True,
    judge=judge,
    log_odds_max=LOG_ODDS_MAX,
)
