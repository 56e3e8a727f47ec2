"""The catalogue of attacks: one row each, and the functions that it composes.

Purpose: `SCENARIOS` names every family with its reason; `attack` lays one over a world.
`disguised` gives any of them client settings copied from ordinary customers, sessions like
people's, or both; cover traffic, number of accounts and requests a day are arguments.
Invariants: every value is drawn from the catalogues that innocent accounts draw from; the
free parameters (gaps, lengths of runs, number of templates, ages, addresses) come from
the part's intervals in `parts`.
Source: threat handbook, sections 1, 3, 5b, 6 and 9 (rates, lives, fingerprints, signatures,
acceptance scenarios).
"""

from collections.abc import Callable
from typing import NamedTuple

from detector.tuning.generate import lives, network, says
from detector.tuning.generate.accounts import CAP_WEIGHTS, Habit
from detector.tuning.generate.benign_people import DEVELOPER
from detector.tuning.generate.cast import Cast, Life, Say, Scene, StartsOf, build, from_tutorials
from detector.tuning.generate.population import Setting, brought_systems
from detector.tuning.generate.rates import ARENA_OUT, CHAT_OUT, LONG_OUT, SUMMARY_OUT
from detector.tuning.generate.sessions import Exchange, Population
from detector.tuning.generate.wording import split_slot

DISGUISES = ("none", "settings", "sessions", "both")

HARVESTER = Habit(
    tiers=(6, 10, 8, 76, 0),  # what one can sign up for: an enterprise contract is sold by people
    models=(0, 4, 24, 40, 24, 8),
    programs=network.SCRIPT_WEIGHTS,
    networks={"residential": 0.82, "mobile": 0.08, "datacenter": 0.05, "vpn": 0.05},
    age_days_max=400.0,
    disposable=0.45,
    company_mail=0.05,
    team=0.03,
    tools=0.05,
    structured=0.1,
    streams=0.4,
    caps=(34, 0, 0, 0, 0, 11, 20, 20, 8, 0),
    one_program=True,
    verified=0.03,
)
THINKERS = HARVESTER._replace(models=(0, 0, 0, 60, 40, 0))
SHARP = HARVESTER._replace(
    caps=(0, 0, 0, 0, 0, 0, 0, 0, 0, 1), logprobs=1.0, biased=(0.0, 1.0), models=(4, 4, 2, 0, 0, 1)
)


def fixed_texts(scene: Scene) -> list[says.Template]:
    """The pool's fixed texts around the slot: this part's own wordings and the published ones."""
    own = [split_slot(text) for text in scene.setting.words.harvest]
    published = scene.side.templates
    chosen = scene.rng.permutation(len(own) + len(published))[: scene.setting.free.templates]
    return [(own + published)[at] for at in sorted(chosen.tolist())]


def _cleaning(scene: Scene) -> list[says.Template]:
    return [split_slot(scene.setting.words.cleaning)]


def _nothing(_setting: Setting) -> Exchange:
    return Exchange()


def _returns(setting: Setting) -> Exchange:
    return Exchange(writes=setting.board("cleaner"), reads=setting.board("cleaner"), reads_share=0.8)


def _generates(setting: Setting) -> Exchange:
    return Exchange(writes=setting.board("judged"))


def _judges(setting: Setting) -> Exchange:
    return Exchange(reads=setting.board("judged"), reads_share=0.9)


def _replays(setting: Setting) -> Exchange:
    return Exchange(writes=setting.board("replayed"), replays=setting.board("replayed"), replays_share=0.5)


def _relays(setting: Setting, *, spreads: bool) -> Exchange:
    return Exchange(spreads=spreads, systems=brought_systems(setting, first=700_000))


class Pool(NamedTuple):
    """Accounts of one kind within an attack."""

    say: Say
    habit: Habit = HARVESTER
    share: float = 1.0  # of the attack's accounts
    name: str = ""
    output: int = LONG_OUT
    life: Callable[[float], Life] = lives.slots  # by the days that an account lasts
    exchange: Callable[[Setting], Exchange] = _nothing
    starts: StartsOf | None = None
    people: bool = False  # sessions of people: turns, pauses, hours of the day


class Scenario(NamedTuple):
    """A family of attacks: the default cell, and what it is made of."""

    name: str
    why: str
    pools: tuple[Pool, ...]
    accounts: int = 100  # alive at a time
    per_day: float = 60.0  # requests per account and day
    disguise: str = "none"


_TEMPLATED = Pool(says.templated(fixed_texts))
_BARE = Pool(says.bare("mixed"))
_USERS = Pool(
    says.chatting(), DEVELOPER._replace(young=0.4, disposable=0.3), output=CHAT_OUT, people=True,
    exchange=lambda s: _relays(s, spreads=True),
)  # fmt: skip

_ROWS = (
    Scenario(
        "templated", "the letter's pool: one fixed demand around a slot, an account a week (1, S1)", (_TEMPLATED,)
    ),
    Scenario(
        "wrapped",
        "the fixed demand in the middle of what a user might write (4, S7)",
        (Pool(says.wrapped(fixed_texts)),),
    ),
    Scenario(
        "reworded_account",
        "the demand in other words on every account (C1's evasion, S7)",
        (Pool(says.reworded(per_request=False)),),
    ),
    Scenario(
        "reworded_request",
        "the demand in other words in every request (C2's evasion, S7)",
        (Pool(says.reworded(per_request=True)),),
    ),
    Scenario("bare_replay", "a published prompt set sent bare: no template at all (5b.1)", (_BARE,), 150),
    Scenario(
        "synchronised",
        "shared on and off edges, one card (DeepSeek in 1, S4, C4, P1)",
        (Pool(says.templated(fixed_texts), HARVESTER._replace(one_card=True), starts=lives.on_the_hour(0.3)),),
    ),
    Scenario(
        "relay",
        "unrelated users behind few seats, turns dealt out over them (Moonshot in 1, S2, A15)",
        (_USERS,),
        150,
        14,
    ),
    Scenario(
        "relay_pinned",
        "the same, each session kept on its seat (9: only heterogeneity is left)",
        (_USERS._replace(exchange=lambda s: _relays(s, spreads=False)),),
        150,
        14,
    ),
    Scenario(
        "cleaner",
        "outputs come back as inputs to be cleaned and sorted (Zhipu in 1, S3, A4)",
        (Pool(says.templated(_cleaning, kind="published"), HARVESTER._replace(structured=0.9), exchange=_returns),),
    ),
    Scenario(
        "pivot",
        "nearly everything moves to a new model within a day (MiniMax in 1, S5, C6)",
        (Pool(says.templated(fixed_texts), HARVESTER._replace(adopts=1.0, adopts_h=6.0)),),
    ),
    Scenario(
        "failover",
        "a pool is banned, a second takes over its templates (Alibaba in 1, S6, C5)",
        (Pool(says.templated(fixed_texts), life=lambda _days: lives.banned_and_replaced),),
    ),
    Scenario("slow", "a few requests a day per account (S8)", (_BARE,), 150, 6),
    Scenario("heavy", "few accounts near their limits (Zhipu in 1, A7)", (_BARE,), 20, 900),
    Scenario(
        "subnet_farm",
        "the whole pool in one hosting prefix (N1, N3)",
        (Pool(says.bare("mixed"), HARVESTER._replace(dense=True, networks={"datacenter": 1.0})),),
    ),
    Scenario(
        "logit_probe",
        "one token, log probabilities, a changing bias (3, A12)",
        (Pool(says.few_items("people", count=3), SHARP, output=CHAT_OUT),),
        10,
        900,
    ),
    Scenario(
        "signature_replay",
        "reasoning signatures presented in other sessions (SEP in 1, A3)",
        (Pool(says.bare("mixed"), THINKERS, exchange=_replays),),
    ),
    Scenario(
        "refused",
        "each request another technique, most of them refused (SEP in 1, A14)",
        (Pool(says.reworded(per_request=True), HARVESTER._replace(refused=0.7)),),
    ),
    Scenario(
        "generate_judge",
        "three accounts in four generate, the fourth judges (C9)",
        (
            Pool(says.bare("mixed"), share=0.75, name="generate", exchange=_generates),
            Pool(
                says.templated(_cleaning, kind="published"),
                HARVESTER._replace(structured=0.9),
                share=0.25,
                name="judge",
                output=SUMMARY_OUT,
                exchange=_judges,
            ),
        ),
    ),
    Scenario(
        "templated_settings",
        "the letter's pool with settings copied from customers (9)",
        (_TEMPLATED,),
        disguise="settings",
    ),
    Scenario(
        "templated_sessions", "the letter's pool in sessions like people's (9)", (_TEMPLATED,), disguise="sessions"
    ),
    Scenario(
        "replay_settings", "bare replay with settings copied from customers (9)", (_BARE,), 150, disguise="settings"
    ),
    Scenario("replay_sessions", "bare replay in sessions like people's (9)", (_BARE,), 150, disguise="sessions"),
    Scenario("replay_both", "bare replay with both: the next move to be expected (9)", (_BARE,), 150, disguise="both"),
)
SCENARIOS: dict[str, Scenario] = {row.name: row for row in _ROWS}


def disguised(pool: Pool, *, disguise: str) -> Pool:
    """The pool with copied settings, people's sessions, or both."""
    if disguise in {"settings", "both"}:
        copied = {name: getattr(DEVELOPER, name) for name in ("models", "programs", "tools", "structured", "streams")}
        pool = pool._replace(habit=pool.habit._replace(**copied, caps=CAP_WEIGHTS, one_program=False))
    if disguise in {"sessions", "both"} and not pool.people:
        pool = pool._replace(say=says.chatting(first=pool.say), people=True, output=ARENA_OUT)
    return pool


def _cast(setting: Setting, *, scenario: Scenario, pool: Pool, per_day: float, life_days: float, cover: float) -> Cast:
    free = setting.free
    run = min(free.run_requests, max(per_day / 2, 1.0))
    row = Cast(
        "_".join(filter(None, ("harvest", scenario.name, pool.name))),
        scenario.why,
        pool.habit._replace(young=free.young, places=free.places),
        says.covered(pool.say, share=cover),
        per_day=per_day,
        spread=0.0,
        held=True,
        turns=run,
        gap_s=free.gap_s,
        gap_spread=0.3,
        gap_sigma=0.6,
        output=pool.output,
        awake=0.33,  # a third keeps the hours of the operators, the rest runs whenever there is work
        day_shape=6.0,
        home=1.0,
        reuses=0.0,
        life=pool.life(life_days),
        starts=pool.starts,
        exchange=pool.exchange,
        adjust=from_tutorials,
    )
    if not pool.people:
        return row
    return row._replace(
        turns=4.0, gap_s=45.0, gap_spread=0.6, gap_sigma=1.0, awake=1.0, day_shape=3.0, spread=0.5, home=3.0,
        single=False, reuses=0.08,
    )  # fmt: skip


def attack(
    setting: Setting,
    scenario: Scenario,
    *,
    accounts: int,
    per_day: float,
    life_days: float,
    cover: float,
    disguise: str,
) -> list[Population]:
    """The populations of one campaign, named after its scenario."""
    made = []
    for pool in scenario.pools:
        shown = disguised(pool, disguise=disguise)
        row = _cast(setting, scenario=scenario, pool=shown, per_day=per_day, life_days=life_days, cover=cover)
        count = max(round(accounts * pool.share), 1)
        made.append(build(setting, cast=row, side=setting.corpus.attack, count=count, campaign=scenario.name))
    return made
