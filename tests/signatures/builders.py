"""Views of a few rows, from plain values: what a signature's test wants to say and nothing else.

Every column has an ordinary default. The ordinary account is one person who tries things over
three weeks; the ordinary pool is the text of an application that thirty settled organisations
use beside other work. A column is a number, or a list with one number per row; numbers are
repeated to the longest list, and `requests=[]` makes a view without rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from detector.link_columns import KINDS, ONE_PROGRAM_KINDS, TEXT_KINDS
from detector.signatures.contract import AccountView, Answer, LinkView, Signature, pooled
from detector.signatures.registry import ACCOUNT_SIGNATURES

Values = float | bool | Sequence[float] | Sequence[bool]

HOUR_MS = 3_600_000.0
DAY_MS = 24 * HOUR_MS
NAN = float("nan")
SCALARS = frozenset({"elicited_base", "population"})

ORDINARY_ACCOUNT: Mapping[str, float] = {
    "requests": 120.0,
    "span_ms": 21 * DAY_MS,
    "age_ms": 90 * DAY_MS,
    "input_log_mean": 7.0,
    "input_log_sd": 1.4,
    "output_log_mean": 7.5,
    "gap_log_sd": 4.0,
    "single_share": 0.4,
    "elicited": 6.0,
    "elicitation_known": 120.0,
    "capped_share": 0.02,
    "finish_known": 120.0,
    "template_share_lower": 0.1,
    "prompts_distinct_lower": 110.0,
    "texts": 120.0,
    "hours": 11.0,
    "hour_peak": 14.0,
    "first_hour": 3.0,
    "output_log_tail": 10.0,
    "elicited_base": 0.05,
    "model_score": 0.5,
    "echoed": 20.0,
    "handed": 0.0,
    "afar": 0.0,
    "returned": 0.0,
    "refused": 1.0,
    "logprobs": 0.0,
    "tiny": 1.0,
    "systems": 1.0,
}
ORDINARY_POOL: Mapping[str, float] = {
    "requests": 4_000.0,
    "span_ms": 30 * DAY_MS,
    "age_ms": 30 * DAY_MS,
    "accounts": 40.0,
    "orgs": 30.0,
    "orgs_lower": 26.0,
    "subnets": 30.0,
    "subnets_lower": 26.0,
    "subnets_upper": 34.0,
    "payments_upper": 34.0,
    "prompts": 3_600.0,
    "prompts_lower": 3_400.0,
    "texts": 4_000.0,
    "units": 30.0,
    "paying": 30.0,
    "programmed": 30.0,
    "mailed": 30.0,
    "mail_alike": -0.2,
    "mail_error": 0.1,
    "program_share": 0.2,
    "purity": 0.2,
    "rate_members": 30.0,
    "rate_log_sd": 1.8,
    "run_gaps": 900.0,
    "run_log_sd": 1.1,
    "rate_noise": 0.1,
    "young": 2.0,
    "age_known": 30.0,
    "young_base": 0.1,
    "alive": 36.0,
    "gone": 2.0,
    "born": 1.0,
    "single_share": 0.4,
    "output_log_mean": 7.5,
    "compared": 27.0,
    "between_share": 0.5,
    "between_upper": 0.65,
    "shared_share": 0.3,
    "bare_share": 0.5,
    "taking": 7.0,
    "taking_known": 30.0,
    "taking_over": 0.0,
    "template_collision": 0.02,
    "watched": 0.0,
    "population": 20_000.0,
}


def _columns(ordinary: Mapping[str, float], given: Mapping[str, Values]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(ordinary))
    if unknown:
        raise TypeError(f"a view has no column {unknown}")
    whole = {name: given.get(name, value) for name, value in ordinary.items()}
    columns = {n: np.atleast_1d(np.asarray(v, np.float64)) for n, v in whole.items() if n not in SCALARS}
    sizes = {column.size for column in columns.values()}
    rows = 0 if 0 in sizes else max(sizes)
    built: dict[str, Any] = {n: np.broadcast_to(c, (rows,)).copy() for n, c in columns.items()}
    return built | {n: v for n, v in whole.items() if n in SCALARS}


def account_view(**given: Values) -> AccountView:
    """Account rows; what is not given is ordinary."""
    return AccountView(**_columns(ORDINARY_ACCOUNT, given))


def link_view(
    *, kind: str = "template_fp", fired: Mapping[str, tuple[float, float, float]] | None = None, **given: Values
) -> LinkView:
    """Pools of one kind; `fired` maps an account signature to (firing, judged organisations, base rate)."""
    columns = _columns(ORDINARY_POOL, given)
    rows = columns["requests"].size
    counts = {s.id: (1.0, 20.0, 0.05) for s in ACCOUNT_SIGNATURES} | dict(fired or {})
    return LinkView(
        kind=np.full(rows, KINDS.index(kind)),
        is_text=np.full(rows, kind in TEXT_KINDS),
        is_program=np.full(rows, kind in ONE_PROGRAM_KINDS),
        fired={
            sid: (np.full(rows, float(k)), np.full(rows, float(m)), np.full(rows, float(base)))
            for sid, (k, m, base) in counts.items()
        },
        **columns,
    )


def judge(signature: Signature, **given: Any) -> float:
    """The signature's answer about one row."""
    view = account_view(**given) if signature.unit == "account" else link_view(**given)
    return float(_first(signature.judge(view)))


def judge_pool(signature: Signature, *, firing: float, judged: float, base: float) -> float:
    """What an account signature says of a pool where `firing` of `judged` organisations fire."""
    return float(_first(pooled((signature,), link_view(fired={signature.id: (firing, judged, base)}))[0]))


def _first(answer: Answer) -> float:
    assert answer.log_odds.shape == (1,)
    return answer.log_odds[0]
