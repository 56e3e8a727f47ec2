"""The innocent twins of every indicator, one row each.

Purpose: beside the ordinary people and machines, populations that look like one trait of an
attack, at a size that tempts: those of many accounts have at least 200 in a world of
reference size, a new harness 1,000.
Source: threat handbook, sections 2, 5 and 6 (ordinary twins, legitimate heavy traffic, false
positives of the catalogue).
"""

import numpy as np
import pyarrow as pa

from detector.tuning.generate import lives, network, says
from detector.tuning.generate.accounts import LONG_CAP_WEIGHTS, Accounts
from detector.tuning.generate.benign_machines import APPLICATION, ONE_FIRM, SYNTHESIS
from detector.tuning.generate.benign_people import CHAT, CUSTOMER, DEVELOPER, EXPLORER, HARNESS, RESEARCHER
from detector.tuning.generate.cast import Adjust, Cast, Scene, build, from_tutorials
from detector.tuning.generate.population import Setting, brought_systems
from detector.tuning.generate.rates import (
    AGENT_OUT,
    ARENA_OUT,
    CHAT_OUT,
    CODE_OUT,
    LONG_OUT,
    SUMMARY_OUT,
    TUTOR_OUT,
)
from detector.tuning.generate.sessions import Exchange, Population
from detector.tuning.generate.wording import split_slot, system_of

PLURAL = 200  # accounts of a twin that stands for many
NEW_HARNESS = 1_000
STUDENT = CHAT._replace(tiers=(20, 5, 65, 10, 0), models=(20, 30, 20, 20, 8, 2), programs=network.SCRIPT_WEIGHTS)
NEWCOMER = DEVELOPER._replace(young=0.95, disposable=0.25, tiers=(30, 40, 10, 20, 0), company_mail=0.05)
EVALUATOR = RESEARCHER._replace(young=0.4, disposable=0.15, caps=LONG_CAP_WEIGHTS, places=3.5)
SHARP_CAP = (1, 0, 0, 0, 0, 0, 0, 0, 0, 2)  # max_tokens 1, or none


def _own_systems(rng: np.random.Generator, setting: Setting, accounts: Accounts) -> Accounts:
    """Every account has the system prompt of another business."""
    numbers = rng.permutation(40_000)[: accounts.size]
    systems = [setting.builder.system(system_of(100_000 + int(n), part=setting.part)) for n in numbers]
    return accounts._replace(system=np.asarray(systems))


def _one_system(text: str, *, tools: bool = False) -> Adjust:
    """All accounts have one system prompt, and with `tools` one set of tools."""

    def adjust(_rng: np.random.Generator, setting: Setting, accounts: Accounts) -> Accounts:
        if tools:
            for name in ("tool_count", "tools_fp"):
                accounts.fields[name] = accounts.fields[name].take(pa.array([0] * accounts.size))
        return accounts._replace(system=np.full(accounts.size, setting.builder.system(text)))

    return adjust


def _same_owner(rng: np.random.Generator, setting: Setting, accounts: Accounts) -> Accounts:
    """The second half of the rows are the first half's new keys: same organisation, payment, set-up, system prompt."""
    half = accounts.size // 2
    at = np.r_[np.arange(half), np.arange(accounts.size - half) % max(half, 1)]
    kept = {"account_id", "api_key_id", "account_created_at"}
    fields = {n: c if n in kept else c.take(pa.array(at)) for n, c in accounts.fields.items()}
    same = _own_systems(rng, setting, accounts)
    return same._replace(
        fields=fields,
        model=accounts.model[at],
        second_model=accounts.second_model[at],
        token_cap=accounts.token_cap[at],
        program=accounts.program[at],
        system=same.system[at],
    )


def _template(name: str) -> says.Templates:
    def templates(scene: Scene) -> list[says.Template]:
        held = getattr(scene.setting.words, name)
        texts = (held,) if isinstance(held, str) else held
        return [split_slot(text) for text in texts]

    return templates


def _published(scene: Scene) -> list[says.Template]:
    """What builders of agents and data sets send: this part's wordings, and published templates of the benign side."""
    return [*_template("pipelines")(scene), *scene.side.templates]


def _controlled(scene: Scene) -> list[says.Template]:
    """Provocations, and the same request without one to compare with."""
    return [*_template("provocations")(scene), ("", "")]


def _fixed(text: str) -> says.Templates:
    return lambda _scene: [split_slot(text)]


_VIRAL = (
    "Pretend you are my future self writing from the year 2060. Based on the facts below, tell me step by step which "
    "three decisions mattered most and why, then sign with my first name.\n\nFacts: {}"
)
_COURSE = (
    "Course exercise, sheet 4. Answer in full sentences, explain the reasoning behind every step, and mark the result."
    "\n\nTask: {}"
)
_TRACK = _COURSE.replace("Course exercise, sheet 4", "Hackathon, track B")
_EXPLAIN = (
    "Decide on the case below. For the audit log, write the complete reasoning behind the decision step by step, cite "
    "the facts used, then give the decision as JSON with the keys decision and grounds.\n\nCase: {}"
)
_LOCAL = "{}\n\nRespond entirely in Brazilian Portuguese, reasoning and answer alike, whatever the language above."
_OFFICE = "Internal helpdesk. Use the company's glossary, explain the steps, keep it short.\n\nTicket: {}"
_LABEL = "Label the message with one of: billing, access, bug, praise, other. Reply with the label alone.\n\n{}"
_WHITE = "You are Nimbus, the assistant of Nimbus Cloud. Never say that another company's model answers."
_NEW_HARNESS = (
    "You are Wren, a programmer's companion in the terminal, release 1.0. Understand the request, list the files that "
    "matter, propose a plan, carry it out with the tools, run the checks, and report. Ask before deleting anything."
)


def _customers(setting: Setting) -> Exchange:
    return Exchange(writes=setting.board("customers"))


def _many_users(setting: Setting) -> Exchange:
    return Exchange(spreads=True, systems=brought_systems(setting, first=720_000))


def _many_prompts(setting: Setting) -> Exchange:
    return Exchange(systems=brought_systems(setting, first=740_000))


TWINS: tuple[Cast, ...] = (
    Cast("new_harness", "a harness released mid-run: one young template on a thousand accounts (C1)",
         HARNESS._replace(one_program=True, young=0.3), says.growing(), 0.3, NEW_HARNESS, per_day=14, turns=9, gap_s=14,
         output=CODE_OUT, single=False, keeps_history=False, reuses=0.6, life=lives.from_release,
         adjust=_one_system(_NEW_HARNESS, tools=True)),
    Cast("hackathon", "new accounts, one task, a day and a half, then gone (course, hackathon; C10, P2)",
         NEWCOMER._replace(models=(10, 20, 25, 25, 10, 10)), says.templated(_fixed(_TRACK)), 0.05,
         PLURAL, per_day=40, gap_s=50, output=TUTOR_OUT, life=lives.within(0.3, 0.8), adjust=from_tutorials),
    Cast("campus", "students behind one prefix, one exercise sheet (N1, N3)",
         STUDENT._replace(dense=True, networks={"residential": 1.0}, young=0.4), says.templated(_fixed(_COURSE)),
         0.06, PLURAL, per_day=9, output=TUTOR_OUT),
    Cast("corporate_nat", "one firm behind one prefix, one internal template (N3)",
         DEVELOPER._replace(dense=True, networks={"datacenter": 1.0}, team=1.0, company_mail=0.9, young=0.1),
         says.templated(_fixed(_OFFICE)), 0.06, PLURAL, per_day=12, output=CHAT_OUT),
    Cast("agency", "an agency pays for its clients' accounts with one card (P1)",
         APPLICATION._replace(one_card=True, young=0.25), says.bare("documents"), 0.05, PLURAL, per_day=15, gap_s=15,
         output=CHAT_OUT, adjust=_own_systems),
    Cast("aggregator", "few keys with many end users and every language, tool and prompt (A15)",
         ONE_FIRM._replace(end_users=1.0, reseller=True, strips=1.0, models=(10, 10, 10, 10, 5, 5)),
         says.chatting(first_kind="mixed"), 0.0, 4, per_day=600, spread=0.3, turns=4, gap_s=40, output=ARENA_OUT,
         single=False, exchange=_many_users),
    Cast("company_gateway", "seats of one firm behind a gateway that deals turns out and strips metadata (A15)",
         DEVELOPER._replace(one_org=True, strips=1.0, young=0.1, company_mail=1.0), says.chatting(first_kind="mixed"),
         0.05, PLURAL, per_day=14, spread=0.2, turns=4, gap_s=40, output=CHAT_OUT, single=False,
         exchange=_many_users),
    Cast("reseller_customers", "customers of a reseller: chat users with all metadata stripped (5, 6)",
         CHAT._replace(strips=1.0, reseller=True), says.chatting(), 0.05, PLURAL, per_day=5, gap_s=45, single=False,
         output=ARENA_OUT, exchange=_many_prompts),
    Cast("viral_prompt", "one prompt that everybody tries for a day (C1)",
         CHAT._replace(young=0.25), says.templated(_fixed(_VIRAL), kind="later"), 0.15, 2 * PLURAL, per_day=4,
         output=LONG_OUT, life=lives.within(0.25, 0.7, drip=0.5)),
    Cast("own_synthesis", "a company's own synthetic data, undeclared: generates, then cleans its outputs (A4)",
         SYNTHESIS._replace(declared=None, batch=False, verified=0.6), says.templated(_template("synthesis")),
         0.0, 6, per_day=500, spread=0.3, turns=60, gap_s=2, output=LONG_OUT, awake=0, home=1,
         exchange=lambda s: Exchange(writes=s.board("own_synthesis"), reads=s.board("own_synthesis"), reads_share=0.4)),
    Cast("eval_vendor", "a vendor that judges what its customers' accounts received (A4, C9)",
         ONE_FIRM._replace(structured=1.0), says.templated(_template("grading"), kind="judge"), 0.0, 4, per_day=400,
         spread=0.3, turns=25, gap_s=3, output=SUMMARY_OUT, awake=0, home=1,
         exchange=lambda s: Exchange(reads=s.board("customers"), reads_share=0.8)),
    Cast("evaluated_customers", "the customers that this vendor judges (C9)", APPLICATION, says.bare("mixed"), 0.05,
         PLURAL, per_day=14, gap_s=20, output=CHAT_OUT, adjust=_own_systems, exchange=_customers),
    Cast("release_benchmark", "public benchmarks against the new model on the day it comes out (C6, 9)",
         EVALUATOR._replace(adopts=1.0, adopts_h=3.0), says.benchmark_run(), 0.05, PLURAL, per_day=60, turns=40,
         gap_s=6, gap_sigma=0.4, output=TUTOR_OUT, life=lives.from_release, adjust=from_tutorials),
    Cast("benchmark_users", "people who evaluate models with public items (hard boundary to replay)",
         EVALUATOR, says.bare("published", popular=0.05), 0.05, PLURAL, per_day=30, turns=16, gap_s=20, awake=0.6,
         output=LONG_OUT, adjust=from_tutorials),
    Cast("migration", "customers move to new keys at full rate (A9, C5, C10, 2)",
         APPLICATION._replace(young=0.0), says.bare("mixed"), 0.12, 2 * PLURAL, per_day=16, gap_s=20, output=CHAT_OUT,
         awake=0.5, life=lives.moved, adjust=_same_owner),
    Cast("constrained_decoding", "labels by one token with log probabilities and a logit bias (A12)",
         APPLICATION._replace(caps=SHARP_CAP, logprobs=0.7, biased=(0.35, 0.5)), says.templated(_fixed(_LABEL)), 0.05,
         PLURAL, per_day=40, spread=1.2, turns=20, gap_s=2, gap_sigma=0.5, output=CHAT_OUT, awake=0.4),
    Cast("red_team", "testers and provokers who are refused in many ways (A14)",
         DEVELOPER._replace(refused=0.5), says.alternating(_controlled), 0.05, PLURAL, per_day=12, turns=8,
         gap_s=25, output=CHAT_OUT),
    Cast("tinkerers", "people who ask for reasoning in words of their own (A2, S7)",
         EXPLORER, says.reworded(per_request=True), 0.05, PLURAL, per_day=14, turns=6, gap_s=30, output=LONG_OUT,
         adjust=from_tutorials),
    Cast("pipeline_builders", "honest builders of agents and data sets: known templates, many accounts (C1, A2)",
         EXPLORER, says.alternating(_published), 0.05, PLURAL, per_day=40, turns=14, gap_s=30, gap_sigma=0.6,
         output=LONG_OUT, awake=0.5, adjust=from_tutorials),
    Cast("explainability", "a regulated organisation logs the reasons for every decision (A2, 7)",
         ONE_FIRM, says.templated(_fixed(_EXPLAIN), kind="documents"), 0.0, 12, per_day=90, spread=0.4, turns=12,
         gap_s=8, output=LONG_OUT, awake=0.5),
    Cast("localisation", "customers of a translator: one fixed demand for a language on any topic (C11)",
         CUSTOMER, says.templated(_fixed(_LOCAL)), 0.05, PLURAL, per_day=6, output=ARENA_OUT),
    Cast("white_label", "an application that tells the model it is another vendor's product (12, A16)",
         CUSTOMER._replace(one_program=False), says.chatting(), 0.05, PLURAL, per_day=6, output=CHAT_OUT, single=False,
         adjust=_one_system(_WHITE)),
    Cast("ci_runners", "team keys used from ever new machines (3, A13)",
         DEVELOPER._replace(places=40.0, networks={"datacenter": 1.0}),
         says.templated(_template("retrieval"), kind="documents"), 0.01, 20, per_day=70, turns=10,
         gap_s=3, output=AGENT_OUT, awake=0.3, home=1),
    Cast("health_checks", "monitors that send the same short prompt day and night (A12, A7, A8)",
         APPLICATION._replace(caps=SHARP_CAP, logprobs=0.1, young=0.2), says.few_items("people", count=2), 0.03, PLURAL,
         per_day=45, spread=1.4, turns=30, gap_s=60, gap_spread=1.0, gap_sigma=0.1, output=CHAT_OUT, awake=0, home=1),
    Cast("heavy_customers", "single customers near their limits: a young product, a long job (5, A7)",
         EXPLORER._replace(tiers=(0, 0, 4, 76, 20), young=0.5, models=(12, 16, 24, 26, 14, 8)),
         says.bare("mixed", popular=0.05), 0.012, 24, per_day=900, spread=0.8, turns=16, gap_s=25, gap_sigma=0.7,
         output=LONG_OUT, awake=0.4, home=1, adjust=from_tutorials),
    Cast("likelihood_evaluators", "a few questions asked again under other biases, scored by one token's odds (A12, 3)",
         EVALUATOR._replace(caps=SHARP_CAP, logprobs=1.0, biased=(0.1, 0.8), models=(4, 4, 2, 0, 0, 1)),
         says.few_items("published", count=2), 0.012, 24, per_day=900, spread=1.0, turns=30, gap_s=8, gap_sigma=0.6,
         output=CHAT_OUT, awake=0.3, home=1, adjust=from_tutorials),
    Cast("scheduled_jobs", "jobs by the clock on many accounts (C4)",
         APPLICATION, says.bare("documents"), 0.05, PLURAL, per_day=12, spread=0.2, turns=4, gap_s=2, output=CHAT_OUT,
         adjust=_own_systems, starts=lives.on_the_hour(0.3)),
    Cast("key_balancers", "routers that send a failed request again through another key (8, A17)",
         APPLICATION._replace(team=1.0), says.bare("mixed"), 0.05, PLURAL, per_day=14, gap_s=10, output=CHAT_OUT,
         exchange=lambda _s: Exchange(elsewhere=True)),
    Cast("trial_users", "trial accounts, each for a day or so (C10, P3)",
         NEWCOMER, says.chatting(first_kind="mixed"), 0.05, PLURAL, per_day=25, spread=0.6, gap_s=25, output=CODE_OUT,
         life=lives.trials, adjust=from_tutorials),
    Cast("team_agents", "agents that hand a conversation with its reasoning signatures to a colleague's key (A3)",
         HARNESS._replace(team=1.0, models=(0, 4, 10, 50, 30, 6)), says.growing(), 0.05, PLURAL, per_day=14, spread=0.3,
         turns=7, gap_s=15, output=AGENT_OUT, single=False, keeps_history=False, reuses=0.5,
         exchange=lambda _s: Exchange(spreads=True)),
)  # fmt: skip


def populations(setting: Setting) -> list[Population]:
    """All twins."""
    side = setting.corpus.benign
    return [
        build(setting, cast=cast, side=side, count=setting.twin(cast.share, at_least=cast.at_least)) for cast in TWINS
    ]
