"""Innocent machines: applications, nightly evaluation, retrieval, batch synthesis, a judge vendor.

Purpose: the heavy, regular and templated customers that look most like a harvest one by one.
Shapes over the week and output lengths are those of published clients; volumes are scaled to
the world's size.
Source: threat handbook, ordinary twins; ServeGen clients for profiles and lengths.
"""

import numpy as np

from detector.tuning.generate import network
from detector.tuning.generate.accounts import Habit, draw, heavy_tail
from detector.tuning.generate.choosers import fresh, repeated
from detector.tuning.generate.columns import F64, I64
from detector.tuning.generate.pools import Item
from detector.tuning.generate.population import (
    FLAT,
    LONG_CHARS_MAX,
    REFERENCE_ACCOUNTS,
    Setting,
    drawer,
    lives,
    people_drawer,
    pool_size,
    rhythm,
    shuffled,
    single_items,
    with_system,
)
from detector.tuning.generate.rates import AGENT_OUT, CHAT_OUT, LONG_OUT, OWN_LENGTHS, SUMMARY_OUT, ZONES
from detector.tuning.generate.sessions import Population, Rhythm, nightly_starts
from detector.tuning.generate.texts import CHARS_MAX, cut
from detector.tuning.generate.wording import ASSISTANT, split_slot, system_of

_CLOUD = {"datacenter": 0.92, "residential": 0.08}

APPLICATION = Habit(
    tiers=(2, 4, 2, 62, 30),
    models=(45, 25, 12, 8, 2, 8),
    programs=network.SCRIPT_WEIGHTS,
    networks=_CLOUD,
    young=0.05,
    disposable=0.01,
    company_mail=0.8,
    team=0.15,
    places=2.5,
    tools=0.15,
    structured=0.4,
    streams=0.25,
    verified=0.4,
)
ONE_FIRM = APPLICATION._replace(
    tiers=(0, 0, 0, 3, 7), young=0.0, one_program=True, one_org=True, company_mail=1.0, disposable=0.0
)
EVALUATION = ONE_FIRM._replace(models=(1, 1, 1, 1, 1, 1), streams=0.0, structured=0.0)
SYNTHESIS = ONE_FIRM._replace(declared="synthetic_data", verified=1.0, models=(0, 0, 6, 3, 1, 0), batch=True)
JUDGE = ONE_FIRM._replace(structured=1.0, models=(0, 2, 6, 2, 0, 0))


def _volume(setting: Setting) -> float:
    return setting.accounts / REFERENCE_ACCOUNTS


def _applications(setting: Setting, *, count: int) -> Population:
    """Business applications: each its own system prompt, organisation and published shape of the week."""
    rng = setting.generator("application")
    side = setting.corpus.benign
    life = lives(rng, setting=setting, count=count, arrivals=0.02)
    made = draw(
        rng, habit=APPLICATION, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    systems = [setting.builder.system(system_of(7 * at + 1, part=setting.part)) for at in range(count)]
    made = with_system(made, systems=np.asarray(systems))
    client = rng.integers(0, setting.rates.clients, count)
    beat = rhythm(
        sessions_per_day=heavy_tail(rng, median=14, sigma=1.3, count=count),
        turns=4.0,
        gap_s=5 * np.exp(1.2 * rng.standard_normal(count)),
        profile=ZONES + 1 + client,
        output=np.where(rng.random(count) < 0.75, OWN_LENGTHS + client, CHAT_OUT),
        life=life,
        rng=rng,
        scale=setting.scale,
        gap_sigma=1.3,
        home=1.0,
        day_shape=6.0,
        single=True,
    )
    size = pool_size(setting, rhythm=beat)
    texts = [*side.documents, *side.later, *side.people]
    chooser = fresh(
        people_drawer(setting, name="application", side=side, texts=texts, count=size, chars_max=LONG_CHARS_MAX)
    )
    return Population(
        "application", campaign="", accounts=made, rhythm=beat, chooser=chooser, rates=setting.rates, seed=setting.seed
    )


def _evaluation(setting: Setting, *, number: int) -> Population:
    """Two keys of one laboratory that run the same items every night, in the same order."""
    name = f"nightly_eval_{number}"
    rng = setting.generator(name)
    side = setting.corpus.benign
    count = 2
    life = (np.full(count, setting.start_ms), np.full(count, setting.stop_ms))
    made = draw(
        rng, habit=EVALUATION, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    sets = side.benchmark
    items: list[Item] = []
    starts, sizes = [], []
    for account in range(count):
        chosen = sets[(2 * number + account) % len(sets)]
        held = chosen[: max(8, min(len(chosen), round(150 * min(setting.scale * _volume(setting), 4.0))))]
        starts.append(len(items))
        sizes.append(len(held))
        items += [Item("", cut(text, chars_max=CHARS_MAX), "", group=len(items) + at) for at, text in enumerate(held)]
    pool = setting.builder.pool(items)
    beat = _steady(
        setting, rng=rng, per_day=np.ones(count), turns=1.0, gap_s=2.5, output=np.full(count, AGENT_OUT), life=life
    )
    return Population(
        name,
        campaign="",
        accounts=made,
        rhythm=beat._replace(gap_sigma=np.full(count, 0.35)),
        chooser=repeated(pool.start + np.asarray(starts), sizes=np.asarray(sizes)),
        rates=setting.rates,
        seed=setting.seed,
        starts=nightly_starts(hour=np.asarray([1, 2]) + number, items=np.asarray(sizes)),
    )


def _steady(
    setting: Setting,
    *,
    rng: np.random.Generator,
    per_day: F64,
    turns: float,
    gap_s: float,
    output: I64,
    life: tuple[I64, I64],
    day_shape: float = 40.0,
) -> Rhythm:
    return rhythm(
        sessions_per_day=per_day / turns,
        turns=turns,
        gap_s=np.full(per_day.size, gap_s),
        profile=np.full(per_day.size, FLAT),
        output=output,
        life=life,
        rng=rng,
        scale=setting.scale * _volume(setting),
        gap_sigma=0.6,
        home=1.0,
        day_shape=day_shape,
        single=True,
        max_turns=400,
    )


def _firm(
    setting: Setting,
    *,
    name: str,
    habit: Habit,
    template: str,
    texts: list[str],
    per_day: list[float],
    turns: float,
    gap_s: float,
    output: int,
    day_shape: float = 40.0,
    system: str | None = None,
) -> Population:
    """One organisation, one prompt, a few keys, machine pace."""
    rng = setting.generator(name)
    side = setting.corpus.benign
    count = len(per_day)
    life = (np.full(count, setting.start_ms), np.full(count, setting.stop_ms))
    made = draw(
        rng, habit=habit, count=count, first_ms=life[0], networks=setting.networks, release_ms=setting.release_ms
    )
    if system is not None:
        made = with_system(made, systems=np.full(count, setting.builder.system(system)))
    beat = _steady(
        setting,
        rng=rng,
        per_day=np.asarray(per_day),
        turns=turns,
        gap_s=gap_s,
        output=np.full(count, output),
        life=life,
        day_shape=day_shape,
    )
    endless = shuffled(setting, name=name, texts=texts, side=side, chars_max=LONG_CHARS_MAX)
    items = single_items(endless, count=pool_size(setting, rhythm=beat), template=template)
    return Population(
        name,
        campaign="",
        accounts=made,
        rhythm=beat,
        chooser=fresh(drawer(setting, items=items)),
        rates=setting.rates,
        seed=setting.seed,
    )


def populations(setting: Setting) -> list[Population]:
    """All populations of machines."""
    side, words = setting.corpus.benign, setting.words
    retrieval_head, _ = split_slot(words.retrieval)
    return [
        _applications(setting, count=setting.share(0.045)),
        _evaluation(setting, number=0),
        _evaluation(setting, number=1),
        _firm(
            setting,
            name="retrieval",
            habit=ONE_FIRM,
            template=words.retrieval,
            texts=side.documents,
            per_day=[2_200, 1_100, 700],
            turns=3.0,
            gap_s=4.0,
            output=setting.rates.nearest_output(median=16),
            system=retrieval_head.strip(),
        ),
        _firm(
            setting,
            name="batch_synthesis",
            habit=SYNTHESIS,
            template=words.synthesis,
            texts=side.people,
            per_day=[1_400],
            turns=180.0,
            gap_s=0.6,
            output=LONG_OUT,
            day_shape=2.0,
        ),
        _firm(
            setting,
            name="summariser",
            habit=ONE_FIRM,
            template="{}\n\nSummarise the text above for an index, in at most eighty words.",
            texts=side.documents,
            per_day=[900],
            turns=60.0,
            gap_s=2.0,
            output=SUMMARY_OUT,
            day_shape=4.0,
            system=ASSISTANT,
        ),
        _firm(
            setting,
            name="judge_vendor",
            habit=JUDGE,
            template=words.grading,
            texts=side.judge,
            per_day=[700, 500],
            turns=25.0,
            gap_s=3.0,
            output=setting.rates.nearest_output(median=110),
            day_shape=4.0,
        ),
    ]
