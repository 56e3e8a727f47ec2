"""Cases: rows that each signature must accuse, and rows that it must leave in peace.

Purpose: what `stillwatch test` runs. Of each signature an attack that it is made for, the nearest innocents, and an
evasion that is known: it stays quiet there, and when that changes its page has to say so.
Invariants: a case is a row of plain numbers. What it does not name is unknown (NaN), so it shows all that the signature
rests on; a signature's later cases are its first one, an attack, with what they name changed. Numbers are what such
customers look like and do not follow the thresholds: a threshold that moves past one of them fails here.
Limits: single rows. What holds for all rows (bounds, monotony, batches) is asked by the tests of the signatures; what
is found in traffic by `generate` and `evaluate`.
Source: positive, negative and evading examples beside a rule, as Panther and Elastic keep them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from detector.link_columns import KINDS, ONE_PROGRAM_KINDS, TEXT_KINDS
from detector.signatures.contract import AccountView, Answer, LinkView, Signature
from detector.signatures.registry import BY_ID

Role = Literal["attack", "innocent", "evasion"]
Row = Mapping[str, float | str]

HOUR_MS: Final = 3_600_000.0
DAY_MS: Final = 24 * HOUR_MS
NAN: Final = float("nan")
POPULATION: Final = 20_000.0
ELICITED_BASE: Final = 0.05
KIND: Final = "template_fp"


class Case(NamedTuple):
    """One row, what it is, and so what is expected: an answer above 0 of an attack, of the others none."""

    signature: str
    role: Role
    said: str
    row: Row

    @property
    def fires(self) -> bool:
        """Whether the signature is to speak against it."""
        return self.role == "attack"


class Result(NamedTuple):
    """A case with its answer: log-odds of a pool; of an account 1 fires, -1 quiet, 0 cannot say."""

    case: Case
    log_odds: float
    answer: Answer

    @property
    def passed(self) -> bool:
        """Whether it is as expected."""
        return (self.log_odds > 0) == self.case.fires


def _view(signature: Signature, row: Row) -> AccountView | LinkView:
    """A view of one row."""
    kind = str(row.get("kind", KIND))
    whole: dict[str, Any] = {
        "kind": np.array([KINDS.index(kind)]),
        "is_text": np.array([kind in TEXT_KINDS]),
        "is_program": np.array([kind in ONE_PROGRAM_KINDS]),
        "population": float(row.get("population", POPULATION)),
        "elicited_base": float(row.get("elicited_base", ELICITED_BASE)),
        "fired": {},
    }
    view = AccountView if signature.unit == "account" else LinkView
    unknown = sorted(set(row) - set(view._fields))
    if unknown:
        raise TypeError(f"a case of {signature.id} names {', '.join(unknown)}, which its view does not have")
    columns: dict[str, Any] = {n: np.array([float(row.get(n, NAN))]) for n in view._fields if n not in whole}
    return view(**columns, **{name: value for name, value in whole.items() if name in view._fields})


def cases_of(signature: str) -> Iterator[Case]:
    """A signature's own cases."""
    first: Row = {}
    for role, said, row in CASES[signature]:
        first = first or row
        yield Case(signature, role, said, {**first, **row})


def run(signature: str) -> list[Result]:
    """Judge a signature's own cases, each row by itself."""
    judged = BY_ID[signature]
    made = ((case, judged.judge(_view(judged, case.row))) for case in cases_of(signature))
    return [Result(case, float(answer.log_odds[0]), answer) for case, answer in made]


_PIPELINE: Final[Row] = {
    "requests": 300, "texts": 300, "template_share_lower": 0.95, "prompts_distinct_lower": 290,
}  # fmt: skip
_POOL: Final[Row] = {
    "requests": 4_000, "orgs": 120, "orgs_lower": 100, "subnets": 90, "subnets_lower": 80, "subnets_upper": 100,
    "programmed": 90, "program_share": 0.97, "purity": 0.95, "age_ms": 3 * DAY_MS,
}  # fmt: skip
_QUEUE: Final[Row] = {
    "rate_members": 120, "orgs_lower": 120, "rate_log_sd": 0.2, "rate_noise": 0.05,
    "texts": 10_000, "prompts": 9_900, "prompts_lower": 9_500, "between_upper": 0.01, "program_share": 0.95,
}  # fmt: skip
_WORKERS: Final[Row] = {
    "run_gaps": 6_000, "run_log_sd": 0.3, "orgs_lower": 40, "rate_members": 40, "rate_log_sd": 0.3, "rate_noise": 0.05,
    "programmed": 40, "program_share": 0.95,
}  # fmt: skip
_FARM: Final[Row] = {"kind": "subnet", "orgs_lower": 40, "units": 40, "template_collision": 1.0}
_CROWD: Final[Row] = {"orgs": 100, "orgs_lower": 80, "subnets": 4, "subnets_lower": 4, "subnets_upper": 4}
_CARD: Final[Row] = {"kind": "payment_fp", "orgs": 120, "orgs_lower": 80, "units": 80, "paying": 80}
_REPLAY: Final[Row] = {
    "kind": "program", "compared": 60, "between_share": 0.02, "between_upper": 0.05, "bare_share": 1.0,
    "shared_share": 0.15, "texts": 9_000, "prompts": 9_000, "prompts_lower": 8_800,
}  # fmt: skip
_TAKERS: Final[Row] = {"kind": "program", "taking": 78, "taking_known": 80, "single_share": 1.0}
_BATCH: Final[Row] = {"units": 120, "mailed": 120, "mail_alike": 0.45, "mail_error": 0.07}
_YOUNG: Final[Row] = {
    "units": 100, "age_known": 100, "young": 95, "young_base": 0.1, "alive": 100, "gone": 0, "born": 0,
    "span_ms": 5 * DAY_MS,
}  # fmt: skip
_BOUGHT: Final[Row] = {"requests": 200, "hour_peak": 60, "first_hour": 58, "age_ms": HOUR_MS}
_WATCHED: Final[Row] = {"kind": "program", "watched": 1, "accounts": 100, "population": 10_000}

CASES: Final[dict[str, tuple[tuple[Role, str, Row], ...]]] = {
    "a1_template_dominance": (
        ("attack", "a pipeline sends one skeleton over new items", _PIPELINE),
        ("innocent", "a person mixes tasks", {"template_share_lower": 0.2}),
        ("innocent", "a nightly evaluation repeats its items", {"prompts_distinct_lower": 40}),
        ("evasion", "a paraphrase for each request", {"template_share_lower": 0.02}),
    ),
    "a2_elicitation": (
        ("attack", "nearly every request demands the reasoning", {"elicited": 115, "elicitation_known": 120}),
        ("innocent", "a person asks for steps now and then", {"elicited": 12}),
        ("innocent", "a tutor where everybody asks for steps", {"elicited": 48, "elicited_base": 0.4}),
        ("evasion", "plain harvesting demands nothing", {"elicited": 0}),
    ),
    "a3_signature_replay": (
        ("attack", "a seat continues the conversations of others", {"requests": 120, "echoed": 80, "handed": 50}),
        ("innocent", "a customer moved to a new organisation in mid-conversation", {"echoed": 200, "handed": 5}),
        ("evasion", "sessions pinned to a seat", {"handed": 0}),
    ),
    "a6_long_outputs": (
        (
            "attack", "answers lie in the population's tail",
            {"requests": 200, "output_log_mean": 11, "output_log_tail": 10, "capped_share": 0.02, "finish_known": 200},
        ),
        ("innocent", "a reasoning model whose answers are long for everybody", {"output_log_tail": 12}),
        ("evasion", "short labels are asked for", {"output_log_mean": 1, "capped_share": 0}),
    ),
    "a7_machine_pace": (
        ("attack", "workers take the next item when the last is done", _WORKERS),
        ("innocent", "people read and think", {"run_log_sd": 2.0}),
        ("innocent", "an application whose customers differ by orders of magnitude", {"rate_log_sd": 2.9}),
        ("innocent", "builders who run a published pipeline", {"program_share": 0.3}),
        ("evasion", "gaps drawn at random", {"run_log_sd": 1.28}),
    ),
    "a9_instant_maximum": (
        ("attack", "an account is bought to be used", _BOUGHT),
        ("innocent", "a newcomer tries first", {"first_hour": 12}),
        ("innocent", "an old account that the log sees for the first time", {"age_ms": 90 * DAY_MS}),
        ("evasion", "accounts are warmed up", {"age_ms": 5 * DAY_MS}),
    ),
    "a12_logit_probe": (
        ("attack", "answers of one token, with their probabilities", {"requests": 200, "logprobs": 190, "tiny": 190}),
        ("innocent", "a classifier wants no probabilities", {"logprobs": 0}),
        ("innocent", "confidence scores of whole answers", {"tiny": 0}),
        ("evasion", "probes among answers of ordinary length", {"tiny": 40}),
    ),
    "a14_refused_variants": (
        (
            "attack", "a search for what gets through",
            {"requests": 200, "refused": 140, "texts": 200, "prompts_distinct_lower": 180},
        ),
        ("innocent", "a stuck script repeats one refused text", {"prompts_distinct_lower": 3}),
        ("innocent", "an author of crime fiction", {"refused": 12}),
        ("evasion", "variants spread over ordinary use", {"refused": 20}),
    ),
    "a15_many_systems": (
        ("attack", "a seat serves the products of many", {"requests": 120, "systems": 14}),
        ("innocent", "a person with a client and a script", {"systems": 2}),
        ("evasion", "the proxy puts one prompt of its own in front", {"systems": 1}),
    ),
    "c1_shared_template": (
        ("attack", "one text fills a hundred organisations, through one program", _POOL),
        ("innocent", "a retrieval service of one organisation", {"orgs": 1, "orgs_lower": 1}),
        ("innocent", "a coding harness of a tenth of all accounts", {"age_ms": 40 * DAY_MS, "population": 900}),
        ("innocent", "a class behind one prefix", {"subnets": 1, "subnets_lower": 1, "subnets_upper": 1}),
        ("innocent", "a viral prompt in people's own clients", {"program_share": 0.2, "purity": 0.4}),
        ("evasion", "a paraphrase for each account", {"orgs": 1, "orgs_lower": 1, "subnets": 1, "subnets_lower": 1}),
    ),
    "c3_work_queue": (
        ("attack", "a dispatcher deals out new items evenly", _QUEUE),
        ("innocent", "customers whose rates differ by orders of magnitude", {"rate_log_sd": 2.9}),
        ("innocent", "a sharded job of one payer", {"orgs_lower": 1}),
        ("innocent", "evaluators who all run the same items", {"prompts": 130, "prompts_lower": 120}),
        ("innocent", "builders who each have tasks of their own", {"program_share": 0.1, "between_upper": 0.2}),
        ("evasion", "skewed dispatch", {"rate_log_sd": 1.2}),
    ),
    "c9_outputs_return": (
        ("attack", "a judge of what others generated", {"texts": 200, "returned": 140}),
        ("innocent", "a quotation now and then", {"returned": 10}),
        ("evasion", "outputs are rewritten before they are judged", {"returned": 0}),
    ),
    "c10_short_lived": (
        ("attack", "a pool of week-old accounts", _YOUNG),
        (
            "attack", "the dead are replaced at constant size",
            {"age_known": 0, "young": 0, "gone": 15, "born": 15, "span_ms": 20 * DAY_MS},
        ),
        ("innocent", "a settled pool", {"young": 2, "gone": 1, "born": 1}),
        ("innocent", "a young platform where everybody is young", {"young": 50, "young_base": 0.5}),
        ("evasion", "aged accounts", {"young": 0}),
    ),
    "i1_shared_indicator": (
        ("attack", "another lab named the program", _WATCHED),
        ("innocent", "the program of everybody, whoever named it", {"accounts": 4_000}),
        ("evasion", "new settings", {"watched": 0}),
    ),
    "m1_population_outlier": (
        ("attack", "an account unlike the rest", {"requests": 120, "model_score": 0.98}),
        ("innocent", "an ordinary account", {"model_score": 0.5}),
        ("evasion", "attackers who are the majority", {"model_score": 0.45}),
    ),
    "n1_crowded_prefix": (
        ("attack", "a farm behind a handful of prefixes", _CROWD),
        ("innocent", "customers at their own addresses", {"subnets": 90, "subnets_lower": 80, "subnets_upper": 100}),
        ("innocent", "a campus behind one translated address", {"kind": "subnet"}),
        (
            "evasion", "a residential address for each account",
            {"subnets": 100, "subnets_lower": 100, "subnets_upper": 100},
        ),
    ),
    "n3_prefix_template": (
        ("attack", "the organisations of a prefix run one template", _FARM),
        ("innocent", "a carrier's prefix with many texts", {"template_collision": 0.05}),
        ("innocent", "one firm behind one address", {"orgs_lower": 1}),
        ("evasion", "a proxy mixes unrelated customers in", {"template_collision": 0.06}),
    ),
    "n7_handed_afar": (
        ("attack", "each seat has a network of its own", {"requests": 120, "echoed": 80, "handed": 50, "afar": 40}),
        ("innocent", "one customer's organisations behind one gateway", {"afar": 0}),
        ("innocent", "who continues only what is its own", {"handed": 0, "afar": 0}),
        ("evasion", "one egress for all seats", {"afar": 1}),
    ),
    "p1_shared_payment": (
        ("attack", "eighty organisations behind one card", _CARD),
        ("innocent", "a family or a small agency", {"orgs": 4, "orgs_lower": 4}),
        ("innocent", "a prefix, which identifies nobody", {"kind": "subnet", "payments_upper": 1}),
        ("evasion", "a virtual card for each account", {"orgs": 1, "orgs_lower": 1}),
    ),
    "p2_alike_registrations": (
        ("attack", "half signed up with throw-away domains", _BATCH),
        ("innocent", "a launch whose people use throw-away mail more often", {"mail_alike": 0.13}),
        ("evasion", "addresses at the large providers", {"mail_alike": -0.1}),
    ),
    "t4_one_source": (
        ("attack", "a prompt set dealt out over many accounts", _REPLAY),
        ("innocent", "accounts differ as people do", {"between_share": 0.5, "between_upper": 0.61}),
        ("innocent", "customers of a translator, whose text stays", {"shared_share": 0.97}),
        ("innocent", "evaluators run the same items", {"prompts": 300, "prompts_lower": 290}),
        ("evasion", "accounts that each have a topic", {"between_share": 0.5, "between_upper": 0.5}),
    ),
    "t5_taken_out": (
        ("attack", "nearly all members take more than three of four innocents", _TAKERS),
        ("innocent", "a program of strangers", {"taking": 20}),
        ("innocent", "a chat application", {"taking": 48, "single_share": 0.4}),
        ("evasion", "brevity is asked for", {"taking": 8}),
    ),
}  # fmt: skip
