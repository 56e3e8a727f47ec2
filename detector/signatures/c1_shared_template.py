"""C1: one text on many unrelated organisations, above all through one client program.

Purpose: the pool itself. Text that many accounts share is common (harnesses, viral
prompts, benchmarks); text that nearly fills unrelated accounts, all of them behind
one client program and on many prefixes, is not. Through as many programs as accounts it is
weaker evidence, `SCATTERED_MAX` at most: settings can be copied, but public texts come so too.
Misses: paraphrase per account or per request; bare replay.
Confuses: a coding harness, a bring-your-own-key application, a course: each is one
program with one text, and each is told apart by other families.
Limits: distinct counts enter by their lower bounds; organisations count, not accounts.
Without any prefix in the log it cannot see that a class or an office sits together, and
counts `BLIND_COST` less; without client settings it takes the least share of one
program that it asks for. Where a part of the log lacks them, that part counts against.
Source: text and one client program on unrelated organisations decided in our trials.
"""

import numpy as np

from detector.signatures.contract import Answer, FactColumn, LinkView, Signature, ramp

ORGS_MIN = 8.0
ORGS_FULL = 40.0
SUBNETS_MIN = 4.0
# ln 2: if rooms full of people are as common among innocent pools as all the rest, the odds halve.
BLIND_COST = 0.7
REQUESTS_MIN = 40.0
PROGRAM_SHARE_MIN = 0.5
PURITY_MIN = 0.3
# Known to the log for a month and on a tenth of all accounts: public property.
OLD_MS = 30 * 86_400_000
POPULAR_SHARE = 0.1
# ln 2: builders around one published pipeline and a class with one exercise show the same, so the odds double.
SCATTERED_MAX = 0.7
SCATTERED_PURITY_MIN = 0.6


def judge(view: LinkView) -> Answer:
    """Weigh unrelated organisations by how much of their traffic the text is, and by one program."""
    blind = ~(view.subnets > 0)
    share = np.where(view.programmed > 0, view.program_share, PROGRAM_SHARE_MIN)
    unrelated = (
        view.is_text
        & (view.orgs_lower >= ORGS_MIN)
        & (blind | (view.subnets_lower >= SUBNETS_MIN))
        & (view.requests >= REQUESTS_MIN)
    )
    eligible = unrelated & (share >= PROGRAM_SHARE_MIN) & (view.purity >= PURITY_MIN)
    spread = ramp(np.log2(np.maximum(view.orgs_lower, 1.0)), low=np.log2(ORGS_MIN / 2), high=np.log2(ORGS_FULL))
    fill = ramp(view.purity, low=PURITY_MIN / 2, high=0.9)
    program = ramp(share, low=PROGRAM_SHARE_MIN / 2, high=0.9)
    popular = (view.age_ms >= OLD_MS) & (view.orgs_lower >= POPULAR_SHARE * view.population)
    weight = np.where(eligible, SIGNATURE_MAX * (0.5 + 0.5 * spread) * np.sqrt(fill * program), 0.0)
    scattered = SCATTERED_MAX * spread * ramp(view.purity, low=SCATTERED_PURITY_MIN, high=0.9)
    weight = np.maximum(weight, scattered)
    weight = np.where(blind, np.maximum(weight - BLIND_COST, 0.0), weight)
    facts = {
        "organisations": FactColumn(view.orgs, "organisations", ORGS_MIN, lower=view.orgs_lower),
        "subnets": FactColumn(np.where(blind, np.nan, view.subnets), "prefixes", SUBNETS_MIN, lower=view.subnets_lower),
        "program_share": FactColumn(
            np.where(view.programmed > 0, view.program_share, np.nan), "share of organisations", PROGRAM_SHARE_MIN
        ),
        "purity": FactColumn(view.purity, "share of a member's requests or openings", PURITY_MIN),
    }
    return Answer(np.where(unrelated & ~popular, weight, 0.0).round(6), facts)


SIGNATURE_MAX = 5.0
SIGNATURE = Signature(
    id="c1_shared_template",
    title="One text on many unrelated accounts",
    family="content",
    unit="link",
    needs=(),
    needs_any=("template_fp", "anchor_fps", "run_fps", "system_prompt_fp"),
    maturity="enforce",
    version=4,
    cross_account=True,
    judge=judge,
    log_odds_max=SIGNATURE_MAX,
)
