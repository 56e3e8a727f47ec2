"""What every population is built from: the setting of a world and a few common shapes.

Purpose: `Setting` is the context that builders of populations share; the helpers make pools
of items, rhythms and lives from it.
Invariants: a builder draws from its own generator, named after the population, so that adding
or resizing one population leaves the others as they were.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from detector.tuning.generate.accounts import DAY_MS, Accounts
from detector.tuning.generate.answers import Board
from detector.tuning.generate.columns import F64, I64
from detector.tuning.generate.network import Network
from detector.tuning.generate.parts import Free
from detector.tuning.generate.pools import Builder, Drawer, Item
from detector.tuning.generate.rates import ZONES, Rates
from detector.tuning.generate.sessions import Rhythm, name_seed
from detector.tuning.generate.texts import Corpus, Side, cut, endless
from detector.tuning.generate.wording import Wording, split_slot, system_of

FLAT = ZONES  # the profile row that knows no hour
# Where customers live, as weights over UTC + 0 ... UTC + 23.
_ZONE_WEIGHTS = (8, 12, 6, 4, 2, 8, 3, 3, 6, 5, 3, 1, 1, 1, 0, 0, 5, 6, 7, 12, 3, 4, 1, 1)
POPULAR_SHARE = 0.07  # between the 5 and 10 % of openings that people repeat word for word
SLOT_CHARS_MAX = 2_000
LONG_CHARS_MAX = 9_000  # what documents may have
REFERENCE_ACCOUNTS = 2_000  # a world of this size has its twins at full size


class Setting(NamedTuple):
    """The context of one world."""

    seed: int
    start_ms: int
    stop_ms: int
    accounts: int  # size of the benign population
    scale: float  # multiplies every request rate
    texts_max: int  # distinct texts per pool at most
    corpus: Corpus
    words: Wording
    part: int
    rates: Rates
    networks: tuple[Network, ...]
    builder: Builder
    release_ms: int  # when the new model and the new harness come out
    outage: tuple[int, int]  # when many requests fail
    boards: dict[str, Board]  # answers that others may find, by name
    free: Free  # what attackers chose
    reacts: bool = False  # attackers answer decisions
    popular: Drawer | None = None  # texts that many people send word for word

    @property
    def days(self) -> float:
        """Length of the run in days."""
        return (self.stop_ms - self.start_ms) / DAY_MS

    def generator(self, name: str) -> np.random.Generator:
        """A population's own source of draws."""
        return np.random.default_rng([self.seed, name_seed(name), 0])

    def board(self, name: str) -> Board:
        """The board of that name."""
        return self.boards.setdefault(name, Board())

    def twin(self, part: float, *, at_least: int) -> int:
        """Accounts of a twin: a share of the ordinary ones, and `at_least` so many in a world of reference size."""
        floor = at_least * min(1.0, self.accounts / REFERENCE_ACCOUNTS)
        return max(round(self.accounts * part), round(floor), 1)

    def share(self, part: float, *, at_least: int = 1) -> int:
        """A share of the benign accounts, as a number of accounts."""
        return max(at_least, round(self.accounts * part))


def lives(rng: np.random.Generator, *, setting: Setting, count: int, arrivals: float = 0.04) -> tuple[I64, I64]:
    """First and last possible request of ordinary accounts: most are there throughout, some arrive or leave."""
    began = np.full(count, setting.start_ms)
    ended = np.full(count, setting.stop_ms)
    span = setting.stop_ms - setting.start_ms
    arriving = rng.random(count) < arrivals * max(setting.days, 1)
    began[arriving] += (rng.random(int(arriving.sum())) * span).astype(np.int64)
    leaving = rng.random(count) < arrivals * max(setting.days, 1) / 2
    ended[leaving] -= (rng.random(int(leaving.sum())) * span / 2).astype(np.int64)
    return began, np.maximum(ended, began)


def zones(rng: np.random.Generator, *, count: int) -> I64:
    """Profile rows of people: the time zone that each lives in."""
    share = np.cumsum(_ZONE_WEIGHTS)
    return np.searchsorted(share / share[-1], rng.random(count), side="right").astype(np.int64)


def rhythm(
    *,
    sessions_per_day: F64,
    turns: float,
    gap_s: F64,
    profile: I64,
    output: I64,
    life: tuple[I64, I64],
    rng: np.random.Generator,
    scale: float,
    gap_sigma: float = 1.0,
    home: float = 3.0,
    day_shape: float = 1.5,
    single: bool = False,
    max_turns: int = 40,
    keeps_history: bool = True,
    reuses: float = 0.08,
) -> Rhythm:
    """A rhythm whose accounts differ in answer length and session length as people do."""
    count = sessions_per_day.size
    return Rhythm(
        sessions_per_day=sessions_per_day * scale,
        turns=np.maximum(1.0, turns * np.exp(0.5 * rng.standard_normal(count))),
        gap_s=gap_s,
        gap_sigma=np.full(count, gap_sigma),
        profile=profile,
        output=output,
        output_factor=np.exp(0.35 * rng.standard_normal(count)),
        from_ms=life[0],
        until_ms=life[1],
        home=np.full(count, home),
        day_shape=day_shape,
        single=single,
        max_turns=max_turns,
        keeps_history=keeps_history,
        reuses=reuses,
    )


def shuffled(
    setting: Setting, *, name: str, texts: Sequence[str], side: Side, chars_max: int = SLOT_CHARS_MAX
) -> Iterator[str]:
    """Texts without end for one population, in an order of their own."""
    order = setting.generator(name + " texts").permutation(len(texts)).tolist()
    # Cut first: to exchange words in what is thrown away would cost most of the time.
    held = [cut(text, chars_max=chars_max) for text in texts]
    return endless(held, vocabulary=side.vocabulary, order=order, salt=name_seed(name), taken=setting.builder.taken)


def pool_size(setting: Setting, *, rhythm: Rhythm) -> int:
    """Distinct texts that a population's requests call for, within the bound."""
    lived_days = (np.minimum(rhythm.until_ms, setting.stop_ms) - np.maximum(rhythm.from_ms, setting.start_ms)) / DAY_MS
    expected = float((rhythm.sessions_per_day * np.maximum(lived_days, 0) * rhythm.turns).sum())
    return int(np.clip(expected * 1.2 + 64, 32, setting.texts_max))


def single_items(texts: Iterator[str], *, count: int, template: str = "{}", first_group: int = 0) -> list[Item]:
    """`count` items of one template, each text a slot."""
    head, tail = split_slot(template)
    return [Item(head, next(texts), tail, group=first_group + at) for at in range(count)]


def drawer(setting: Setting, *, items: list[Item], width: int = 1) -> Drawer:
    """A pool of these items, in the world's table of texts."""
    return Drawer(setting.builder.pool(items, width=width))


def people_drawer(
    setting: Setting,
    *,
    name: str,
    side: Side,
    texts: Sequence[str],
    count: int,
    chars_max: int = SLOT_CHARS_MAX,
) -> Drawer:
    """A pool of bare texts."""
    made = shuffled(setting, name=name, texts=texts, side=side, chars_max=chars_max)
    return drawer(setting, items=single_items(made, count=count))


def conversation_items(
    setting: Setting, *, name: str, side: Side, openings: Sequence[str], count: int, width: int
) -> list[Item]:
    """Conversations whose prompt grows: the task, then what tools and the user add, turn after turn."""
    tasks = shuffled(setting, name=name, texts=openings, side=side)
    replies = shuffled(setting, name=name + " replies", texts=[*side.documents, *side.later], side=side)
    out = []
    for group in range(count):
        text = cut(next(tasks), chars_max=900)
        for turn in range(width):
            if turn:
                text += "\n\n" + cut(next(replies), chars_max=450)
            out.append(Item("", text, "", group=group))
    return out


def brought_systems(setting: Setting, *, first: int, count: int = 40) -> tuple[int, ...]:
    """System prompts that the users behind one credential bring along, every other session without one."""
    made = [setting.builder.system(system_of(first + 13 * k, part=setting.part)) for k in range(count)]
    return (*([-1] * count), *made)


def with_system(accounts: Accounts, *, systems: I64) -> Accounts:
    """The accounts with their system prompts (indices, -1 none)."""
    return accounts._replace(system=systems)
