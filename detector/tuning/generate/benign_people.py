"""Innocent people: chat users, developers, customers of one application, users of one harness.

Purpose: the populations with a human rhythm. Volumes are log-normal with a heavy tail, hours
follow the time zone, output lengths the published conversation traces.
Source: threat handbook, ordinary twins (individuals, BYOK SaaS, coding harness, CGNAT).
"""

import numpy as np

from detector.tuning.generate import network
from detector.tuning.generate.accounts import LONG_CAP_WEIGHTS, Habit, draw, heavy_tail
from detector.tuning.generate.choosers import conversations, fresh, talk
from detector.tuning.generate.pools import Drawer, Item
from detector.tuning.generate.population import (
    POPULAR_SHARE,
    SLOT_CHARS_MAX,
    Setting,
    conversation_items,
    drawer,
    lives,
    people_drawer,
    pool_size,
    rhythm,
    shuffled,
    single_items,
    with_system,
    zones,
)
from detector.tuning.generate.rates import AGENT_OUT, ARENA_OUT, CHAT_OUT, CODE_OUT, TUTOR_OUT
from detector.tuning.generate.sessions import Population
from detector.tuning.generate.texts import cut
from detector.tuning.generate.wording import ASSISTANT, system_of

HARNESS_WIDTH = 8
POPULAR_QUESTIONS = 120
_CHAT_SYSTEM = (
    "You are ChatDesk, an assistant for everyday questions. Be friendly and clear, ask when something is unclear, "
    "and say so when you do not know."
)
_HOME = {"residential": 0.66, "mobile": 0.2, "datacenter": 0.04, "vpn": 0.08, "tor": 0.02}
_WORK = {"residential": 0.45, "mobile": 0.07, "datacenter": 0.38, "vpn": 0.08, "tor": 0.02}

CHAT = Habit(
    tiers=(45, 8, 8, 36, 3),
    models=(30, 30, 12, 14, 5, 2),
    programs=network.CHAT_WEIGHTS,
    networks=_HOME,
    young=0.14,
    disposable=0.07,
    company_mail=0.05,
    team=0.05,
    places=2.2,
    tools=0.02,
    structured=0.0,
    streams=0.96,
)
DEVELOPER = Habit(
    tiers=(14, 10, 10, 58, 8),
    models=(22, 22, 18, 18, 8, 12),
    programs=network.SCRIPT_WEIGHTS,
    networks=_WORK,
    young=0.18,
    disposable=0.08,
    company_mail=0.3,
    team=0.25,
    places=2.0,
    tools=0.25,
    structured=0.2,
    streams=0.4,
)
CUSTOMER = Habit(  # of an application that works with its customers' own keys
    tiers=(6, 12, 6, 70, 6),
    models=(20, 20, 25, 25, 10, 0),
    programs=network.SCRIPT_WEIGHTS,
    networks=_HOME,
    young=0.14,
    disposable=0.06,
    company_mail=0.25,
    team=0.05,
    places=1.8,
    tools=0.0,
    structured=0.3,
    streams=0.5,
    one_program=True,
)
HARNESS = Habit(
    tiers=(12, 8, 8, 62, 10),
    models=(4, 10, 30, 20, 16, 20),
    programs=network.HARNESS_WEIGHTS,
    networks=_WORK,
    young=0.16,
    disposable=0.05,
    company_mail=0.3,
    team=0.3,
    places=1.8,
    tools=1.0,
    structured=0.0,
    streams=1.0,
)
RESEARCHER = DEVELOPER._replace(tiers=(10, 8, 30, 46, 6), tools=0.1, structured=0.25)
EXPLORER = DEVELOPER._replace(  # new to the service, from home, after what models with reasoning can do
    tiers=(8, 10, 10, 72, 0),
    models=(2, 6, 24, 36, 22, 10),
    networks={"residential": 0.76, "mobile": 0.1, "datacenter": 0.06, "vpn": 0.08},
    age_days_max=400.0,
    young=0.7,
    disposable=0.4,
    company_mail=0.05,
    team=0.05,
    places=4.5,
    tools=0.06,
    structured=0.1,
    caps=LONG_CAP_WEIGHTS,
    verified=0.04,
)


def popular_texts(setting: Setting) -> Drawer:
    """Role prompts and questions that unrelated people send word for word."""
    side = setting.corpus.benign
    texts = [*side.personas, *side.people[:POPULAR_QUESTIONS]]  # the first are the most common
    setting.builder.taken.update(texts)
    items = [Item("", cut(text, chars_max=SLOT_CHARS_MAX), "", group=at) for at, text in enumerate(texts)]
    return drawer(setting, items=items)


def _chatters(setting: Setting, *, name: str, count: int, dense: bool, popular: Drawer | None) -> Population:
    rng = setting.generator(name)
    side = setting.corpus.benign
    life = lives(rng, setting=setting, count=count)
    habit = CHAT._replace(dense=dense, networks={"mobile": 1.0} if dense else CHAT.networks)
    made = draw(
        rng, habit=habit, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    app = np.char.startswith([network.PROGRAMS[p].user_agent for p in made.program], "ChatDesk")
    desk = setting.builder.system(_CHAT_SYSTEM)
    made = with_system(made, systems=np.where(app, desk, -1))
    beat = rhythm(
        sessions_per_day=heavy_tail(rng, median=0.9, sigma=1.1, count=count),
        turns=3.0,
        gap_s=45 * np.exp(0.6 * rng.standard_normal(count)),
        profile=zones(rng, count=count),
        output=np.where(rng.random(count) < 0.7, CHAT_OUT, ARENA_OUT),
        life=life,
        rng=rng,
        scale=setting.scale,
    )
    size = pool_size(setting, rhythm=beat)
    first = people_drawer(setting, name=name, side=side, texts=side.people, count=max(size // 3, 16))
    later = people_drawer(setting, name=name + " later", side=side, texts=side.later, count=max(size * 2 // 3, 16))
    chooser = talk(first, later=later, popular=popular, popular_share=POPULAR_SHARE)
    return Population(
        name, campaign="", accounts=made, rhythm=beat, chooser=chooser, rates=setting.rates, seed=setting.seed
    )


def _developers(setting: Setting, *, count: int, popular: Drawer | None) -> Population:
    rng = setting.generator("developer")
    side = setting.corpus.benign
    life = lives(rng, setting=setting, count=count)
    made = draw(
        rng, habit=DEVELOPER, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    kind = rng.random(count)
    own = [setting.builder.system(system_of(50_000 + 3 * at, part=setting.part)) for at in range(count)]
    pasted = [setting.builder.system(side.personas[at % len(side.personas)]) for at in range(count)]
    plain = setting.builder.system(ASSISTANT)
    systems = np.select(
        [kind < 0.35, kind < 0.6, kind < 0.7],
        [np.full(count, -1), np.full(count, plain), np.asarray(pasted)],
        np.asarray(own),
    )
    made = with_system(made, systems=systems)
    beat = rhythm(
        sessions_per_day=heavy_tail(rng, median=1.0, sigma=1.2, count=count),
        turns=5.0,
        gap_s=20 * np.exp(0.9 * rng.standard_normal(count)),
        profile=zones(rng, count=count),
        output=np.where(rng.random(count) < 0.5, CODE_OUT, CHAT_OUT),
        life=life,
        rng=rng,
        scale=setting.scale,
    )
    size = pool_size(setting, rhythm=beat)
    first = people_drawer(setting, name="developer", side=side, texts=[*side.people, *side.published], count=size // 2)
    later = people_drawer(
        setting, name="developer later", side=side, texts=[*side.later, *side.people], count=size // 2
    )
    chooser = talk(first, later=later, popular=popular, popular_share=POPULAR_SHARE)
    return Population(
        "developer", campaign="", accounts=made, rhythm=beat, chooser=chooser, rates=setting.rates, seed=setting.seed
    )


def _researchers(setting: Setting, *, count: int, popular: Drawer | None) -> Population:
    """People who send benchmark items and published prompts from scripts, alone."""
    rng = setting.generator("published_prompts")
    side = setting.corpus.benign
    life = lives(rng, setting=setting, count=count)
    made = draw(
        rng, habit=RESEARCHER, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    beat = rhythm(
        sessions_per_day=heavy_tail(rng, median=1.2, sigma=0.9, count=count),
        turns=14.0,
        gap_s=12 * np.exp(0.8 * rng.standard_normal(count)),
        profile=zones(rng, count=count),
        output=np.full(count, TUTOR_OUT),
        life=life,
        rng=rng,
        scale=setting.scale,
        single=True,
    )
    size = pool_size(setting, rhythm=beat)
    pool = people_drawer(setting, name="published_prompts", side=side, texts=side.published, count=size)
    chooser = fresh(pool, popular=popular, popular_share=POPULAR_SHARE / 2)
    return Population(
        "published_prompts",
        campaign="",
        accounts=made,
        rhythm=beat,
        chooser=chooser,
        rates=setting.rates,
        seed=setting.seed,
    )


def _customers(setting: Setting, *, name: str, template: str, output: int, count: int) -> Population:
    """BYOK SaaS: one template and one SDK on many accounts that pay for themselves."""
    rng = setting.generator(name)
    side = setting.corpus.benign
    life = lives(rng, setting=setting, count=count)
    made = draw(
        rng, habit=CUSTOMER, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    system = setting.builder.system(system_of(900_000 + len(name), part=setting.part))
    made = with_system(made, systems=np.full(count, system))
    beat = rhythm(
        sessions_per_day=heavy_tail(rng, median=1.5, sigma=1.0, count=count),
        turns=3.5,
        gap_s=60 * np.exp(0.6 * rng.standard_normal(count)),
        profile=zones(rng, count=count),
        output=np.full(count, output),
        life=life,
        rng=rng,
        scale=setting.scale,
        single=True,
    )
    size = pool_size(setting, rhythm=beat)
    texts = shuffled(setting, name=name, texts=side.people, side=side)
    chooser = fresh(drawer(setting, items=single_items(texts, count=size, template=template)))
    return Population(
        name, campaign="", accounts=made, rhythm=beat, chooser=chooser, rates=setting.rates, seed=setting.seed
    )


def _harness(setting: Setting, *, count: int) -> Population:
    """A coding harness: everybody shares its system prompt and tools, each conversation grows its own prompt."""
    rng = setting.generator("coding_harness")
    side = setting.corpus.benign
    life = lives(rng, setting=setting, count=count)
    made = draw(
        rng, habit=HARNESS, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    made.fields["tool_count"] = made.fields["tool_count"].take([0] * count)
    made.fields["tools_fp"] = made.fields["tools_fp"].take([0] * count)
    system = setting.builder.system(setting.words.harness)
    made = with_system(made, systems=np.full(count, system))
    beat = rhythm(
        sessions_per_day=heavy_tail(rng, median=1.6, sigma=0.9, count=count),
        turns=9.0,
        gap_s=np.asarray(np.quantile(setting.rates.agent_gap_s, rng.random(count)) + 4, float),
        profile=zones(rng, count=count),
        output=np.where(rng.random(count) < 0.5, AGENT_OUT, CODE_OUT),
        life=life,
        rng=rng,
        scale=setting.scale,
        max_turns=120,
        keeps_history=False,
    )
    size = max(pool_size(setting, rhythm=beat) // HARNESS_WIDTH, 8)
    openings = [*side.published, *side.people]
    items = conversation_items(
        setting, name="coding_harness", side=side, openings=openings, count=size, width=HARNESS_WIDTH
    )
    chooser = conversations(drawer(setting, items=items, width=HARNESS_WIDTH))
    return Population(
        "coding_harness",
        campaign="",
        accounts=made,
        rhythm=beat,
        chooser=chooser,
        rates=setting.rates,
        seed=setting.seed,
    )


def populations(setting: Setting) -> list[Population]:
    """All populations of people."""
    words, popular = setting.words, setting.popular
    return [
        _chatters(setting, name="chat", count=setting.share(0.34), dense=False, popular=popular),
        _chatters(setting, name="cgnat", count=setting.share(0.08), dense=True, popular=popular),
        _developers(setting, count=setting.share(0.19), popular=popular),
        _researchers(setting, count=setting.share(0.02), popular=popular),
        _customers(setting, name="byok_tutor", template=words.tutors[0], output=TUTOR_OUT, count=setting.share(0.06)),
        _customers(setting, name="byok_writer", template=words.writers[0], output=CHAT_OUT, count=setting.share(0.06)),
        _harness(setting, count=setting.share(0.2)),
    ]
