"""What populations say: functions from a scene to the chooser of its texts.

Purpose: bare prompts, templates, templates inside a user's text, rewordings per account or
per request, chats, agents' growing prompts, one constant prompt, a finite set of items.
Invariants: texts come from the side that the scene names; a pool's texts are made once.
"""

from collections.abc import Callable, Sequence

import numpy as np

from detector.tuning.generate.cast import Say, Scene
from detector.tuning.generate.choosers import alternating as alternate
from detector.tuning.generate.choosers import conversations, fresh, mixed, opening, repeated, talk, walked
from detector.tuning.generate.pools import Item
from detector.tuning.generate.population import (
    LONG_CHARS_MAX,
    POPULAR_SHARE,
    SLOT_CHARS_MAX,
    conversation_items,
    drawer,
    people_drawer,
    shuffled,
    single_items,
)
from detector.tuning.generate.rewording import reword
from detector.tuning.generate.sessions import Chooser
from detector.tuning.generate.texts import Side, cut

Template = tuple[str, str]  # text before and after the slot
Templates = Callable[[Scene], list[Template]]
CONVERSATION_WIDTH = 6
WRAP_CHARS_MAX = 500
OWN_TEXTS_MAX = 160  # distinct texts of one account


def of_kind(side: Side, kind: str) -> Sequence[str]:
    """The texts of a side by kind: people, later, published, documents, mixed."""
    held = {
        "people": side.people,
        "later": side.later,
        "published": side.published,
        "documents": side.documents,
        "mixed": [*side.people, *side.published],
        "judge": side.judge,
    }
    return held[kind]


def bare(kind: str, *, popular: float = 0.0) -> Say:
    """Prompts as they are, one after the other, a share of them what many others send."""

    def say(scene: Scene) -> Chooser:
        texts = of_kind(scene.side, kind)
        chars_max = LONG_CHARS_MAX if kind == "documents" else SLOT_CHARS_MAX
        pool = people_drawer(
            scene.setting, name=scene.name, side=scene.side, texts=texts, count=scene.size, chars_max=chars_max
        )
        return fresh(pool, popular=scene.setting.popular, popular_share=popular)

    return say


def templated(templates: Templates, *, kind: str = "mixed") -> Say:
    """A few fixed texts around a slot."""

    def say(scene: Scene) -> Chooser:
        fixed = templates(scene)
        texts = shuffled(scene.setting, name=scene.name, texts=of_kind(scene.side, kind), side=scene.side)
        items = []
        for at in range(scene.size):
            head, tail = fixed[at % len(fixed)]
            items.append(Item(head, next(texts), tail, group=at))
        return fresh(drawer(scene.setting, items=items))

    return say


def alternating(templates: Templates, *, kind: str = "mixed") -> Say:
    """Every account has one of the fixed texts, or two or three by turns, as who compares wordings does."""

    def say(scene: Scene) -> Chooser:
        fixed = templates(scene)
        texts = shuffled(scene.setting, name=scene.name, texts=of_kind(scene.side, kind), side=scene.side)
        size = max(scene.size // len(fixed), 16)
        drawers = [
            drawer(scene.setting, items=[Item(head, next(texts), tail, group=at) for at in range(size)])
            for head, tail in fixed
        ]
        own = scene.rng.random((scene.accounts, len(fixed))).argsort(axis=1)[:, :3]
        held = 1 + scene.rng.integers(0, own.shape[1], (scene.accounts, 1))
        own = np.where(np.arange(own.shape[1]) < held, own, own[:, :1])
        return alternate(drawers, own=own)

    return say


def wrapped(templates: Templates) -> Say:
    """The fixed text in the middle of what a user might write: a message before it, another after it."""

    def say(scene: Scene) -> Chooser:
        setting, side = scene.setting, scene.side
        fixed = templates(scene)
        tasks = shuffled(setting, name=scene.name, texts=of_kind(side, "mixed"), side=side)
        talk_ = shuffled(setting, name=scene.name + " around", texts=[*side.later, *side.people], side=side)
        items = []
        for at in range(scene.size):
            head, tail = fixed[at % len(fixed)]
            before = cut(next(talk_), chars_max=WRAP_CHARS_MAX)
            after = cut(next(talk_), chars_max=WRAP_CHARS_MAX)
            slot = next(tasks)
            items.append(Item(f"{before}\n\n{head}", slot, f"{tail}\n\n{after}", group=at))
        return fresh(drawer(setting, items=items))

    return say


def reworded(*, per_request: bool) -> Say:
    """The same demand in other words: for every account, or for every request."""

    def say(scene: Scene) -> Chooser:
        setting, side = scene.setting, scene.side
        texts = shuffled(setting, name=scene.name, texts=of_kind(side, "mixed"), side=side)
        lived = (scene.rhythm.until_ms - scene.rhythm.from_ms) / 86_400_000
        wanted = scene.rhythm.sessions_per_day * scene.rhythm.turns * np.maximum(lived, 0) * 1.2 + 4
        bound = min(OWN_TEXTS_MAX, max(setting.texts_max // scene.accounts, 4))
        sizes = np.clip(wanted.astype(np.int64), 4, bound)
        seeds = scene.rng.integers(1, 1 << 60, scene.accounts).tolist()
        items: list[Item] = []
        for seed, size in zip(seeds, sizes.tolist(), strict=True):
            for at in range(size):
                wording = seed + at * 7_919 if per_request else seed
                head, tail = reword(wording, part=setting.part, vocabulary=side.vocabulary)
                items.append(Item(head, next(texts), tail, group=len(items)))
        pool = setting.builder.pool(items)
        return walked(pool.start + np.cumsum(sizes) - sizes, sizes=sizes)

    return say


def chatting(*, first: Say | None = None, first_kind: str = "people") -> Say:
    """Sessions of people: an opening (`first`, or a bare prompt), then what people say next."""

    def say(scene: Scene) -> Chooser:
        setting, side = scene.setting, scene.side
        third = max(scene.size // 3, 16)
        later = people_drawer(setting, name=scene.name + " later", side=side, texts=side.later, count=2 * third)
        if first is not None:
            return opening(first(scene._replace(size=third)), later=fresh(later))
        openings = people_drawer(setting, name=scene.name, side=side, texts=of_kind(side, first_kind), count=third)
        return talk(openings, later=later, popular=setting.popular, popular_share=POPULAR_SHARE)

    return say


def growing(*, openings: str = "mixed", width: int = CONVERSATION_WIDTH) -> Say:
    """Agents: each turn's prompt continues the one before."""

    def say(scene: Scene) -> Chooser:
        items = conversation_items(
            scene.setting,
            name=scene.name,
            side=scene.side,
            openings=of_kind(scene.side, openings),
            count=max(scene.size // width, 8),
            width=width,
        )
        return conversations(drawer(scene.setting, items=items, width=width))

    return say


def few_items(kind: str, *, count: int) -> Say:
    """The same few prompts over and over, for all accounts alike."""

    def say(scene: Scene) -> Chooser:
        texts = shuffled(scene.setting, name=scene.name, texts=of_kind(scene.side, kind), side=scene.side)
        pool = scene.setting.builder.pool(single_items(texts, count=count))
        return repeated(np.full(scene.accounts, pool.start), sizes=np.full(scene.accounts, count))

    return say


def benchmark_run() -> Say:
    """One public evaluation set, walked through from its start by every account."""

    def say(scene: Scene) -> Chooser:
        held = scene.side.benchmark[len(scene.name) % len(scene.side.benchmark)]
        items = [Item("", cut(text, chars_max=SLOT_CHARS_MAX), "", group=at) for at, text in enumerate(held[:300])]
        pool = scene.setting.builder.pool(items)
        return walked(np.full(scene.accounts, pool.start), sizes=np.full(scene.accounts, pool.size))

    return say


def covered(main: Say, *, share: float) -> Say:
    """A share of requests that has nothing to do with the rest."""

    def say(scene: Scene) -> Chooser:
        if share <= 0:
            return main(scene)
        side, size = scene.side, max(round(scene.size * share), 32)
        pool = people_drawer(scene.setting, name=scene.name + " cover", side=side, texts=side.people, count=size)
        return mixed(main(scene), cover=fresh(pool), share=share)

    return say
