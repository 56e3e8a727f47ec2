"""Attackers: pools of accounts that harvest a model.

Purpose: the letter's templated harvest. A pool keeps a number of accounts alive, each for a
week; when one ends another takes its place. A few fixed templates, slots filled with real
prompts, one client program, residential proxies, disposable or ordinary mail, cards of
their own; runs of single requests some 40 s apart and pauses between them.
Invariants: every value is drawn from the catalogues that benign accounts draw from.
Source: threat handbook sections 1, 3 and 5b (rates, lives, gaps).
"""

from typing import NamedTuple

import numpy as np

from detector.tuning.generate import network
from detector.tuning.generate.accounts import DAY_MS, Habit, draw
from detector.tuning.generate.columns import I64
from detector.tuning.generate.pools import Item
from detector.tuning.generate.population import (
    FLAT,
    SLOT_CHARS_MAX,
    Setting,
    drawer,
    people_drawer,
    pool_size,
    rhythm,
    shuffled,
    zones,
)
from detector.tuning.generate.rates import LONG_OUT
from detector.tuning.generate.sessions import Population, fresh, mixed
from detector.tuning.generate.texts import cut
from detector.tuning.generate.wording import split_slot

RUN_REQUESTS = 14.0  # requests in one run of a pipeline worker
GAP_S = 44.0  # median gap that one pipeline's own call log shows
TEMPLATES = 3

HARVESTER = Habit(
    tiers=(6, 10, 8, 76, 0),  # what one can sign up for: an enterprise contract is sold by people
    models=(0, 4, 24, 40, 24, 8),
    programs=network.SCRIPT_WEIGHTS,
    networks={"residential": 0.82, "mobile": 0.08, "datacenter": 0.05, "vpn": 0.05},
    young=0.8,
    age_days_max=400.0,
    disposable=0.45,
    company_mail=0.05,
    team=0.03,
    places=5.0,
    tools=0.05,
    structured=0.1,
    streams=0.4,
    caps=(34, 0, 0, 0, 0, 11, 20, 20, 8),
    one_program=True,
    verified=0.03,
)


class Harvest(NamedTuple):
    """Size and shape of one templated harvest."""

    name: str = "templated"
    accounts: int = 100  # alive at any time
    requests_per_day: float = 60.0
    life_days: float = 7.0
    cover: float = 0.0  # share of requests that are cover traffic


def slots_lived(rng: np.random.Generator, *, setting: Setting, harvest: Harvest) -> tuple[I64, I64]:
    """First and last request of every account that the pool ever uses: lives laid end to end in each place."""
    life_ms = max(int(harvest.life_days * DAY_MS), 1)
    began, ended = [], []
    for _ in range(harvest.accounts):
        at = setting.start_ms - int(rng.random() * life_ms)
        while at < setting.stop_ms:
            until = at + max(int(life_ms * rng.normal(1.0, 0.1)), life_ms // 4)
            if until > setting.start_ms:
                began.append(max(at, setting.start_ms))
                ended.append(min(until, setting.stop_ms))
            at = until
    return np.asarray(began, np.int64), np.asarray(ended, np.int64)


def templates(rng: np.random.Generator, *, setting: Setting) -> list[tuple[str, str]]:
    """The pool's fixed texts around the slot: this part's own wordings and the published ones."""
    own = [split_slot(text) for text in setting.words.harvest]
    published = setting.corpus.attack.templates
    chosen = rng.permutation(len(own) + len(published))[:TEMPLATES]
    return [(own + published)[at] for at in sorted(chosen.tolist())]


def templated(setting: Setting, *, harvest: Harvest) -> Population:
    """The letter's templated harvest over whatever else the world holds."""
    rng = setting.generator("harvest " + harvest.name)
    side = setting.corpus.attack
    life = slots_lived(rng, setting=setting, harvest=harvest)
    count = life[0].size
    made = draw(rng, habit=HARVESTER, count=count, first_ms=life[0], networks=setting.networks)
    beat = rhythm(
        sessions_per_day=np.full(count, harvest.requests_per_day / RUN_REQUESTS),
        turns=RUN_REQUESTS,
        gap_s=GAP_S * np.exp(0.3 * rng.standard_normal(count)),
        # A third keeps the hours of the operators, the rest runs whenever there is work.
        profile=np.where(rng.random(count) < 0.33, zones(rng, count=count), FLAT),
        output=np.full(count, LONG_OUT),
        life=life,
        rng=rng,
        scale=setting.scale,
        gap_sigma=0.6,
        home=1.0,
        day_shape=6.0,
        single=True,
    )
    # Session lengths vary per account; hold the rate at what was asked for.
    beat = beat._replace(sessions_per_day=np.full(count, harvest.requests_per_day * setting.scale) / beat.turns)
    size = pool_size(setting, rhythm=beat)
    fixed = templates(rng, setting=setting)
    texts = shuffled(setting, name=harvest.name + " slots", texts=[*side.people, *side.published], side=side)
    items = []
    for at in range(size):
        head, tail = fixed[at % len(fixed)]
        items.append(Item(head, cut(next(texts), chars_max=SLOT_CHARS_MAX), tail, group=at))
    main = fresh(drawer(setting, items=items))
    cover = fresh(
        people_drawer(setting, name=harvest.name + " cover", side=side, texts=side.people, count=max(size // 2, 16))
    )
    return Population(
        "harvest_" + harvest.name,
        campaign=harvest.name,
        accounts=made,
        rhythm=beat,
        chooser=mixed(main, cover=cover, share=harvest.cover),
        rates=setting.rates,
        seed=setting.seed,
    )
