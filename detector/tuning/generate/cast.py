"""One row for each population: who, how many, how busy, saying what, living when.

Purpose: `Cast` is the declarative row that innocent twins and attacking pools share, and
`build` turns it into a population. What differs between them stands in the row and in the
functions that it names (`says`, `lives`), so that both draw from the same world.
Invariants: a population draws from a generator named after it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from detector.tuning.generate.accounts import Accounts, Habit, draw
from detector.tuning.generate.columns import I64
from detector.tuning.generate.population import FLAT, Setting, lives, pool_size, rhythm, zones
from detector.tuning.generate.sessions import Chooser, Exchange, Population, Rhythm, Starts
from detector.tuning.generate.texts import Side
from detector.tuning.generate.wording import TUTORIALS

REQUESTS_PER_DAY_MAX = 5_000.0
TUTORIAL_SHARE = 0.5  # of scripts that keep the system prompt of the example they began with


class Scene(NamedTuple):
    """What a population's own functions are given."""

    setting: Setting
    name: str
    side: Side  # whose texts it may use
    rng: np.random.Generator
    accounts: int
    size: int  # distinct texts that its requests call for
    rhythm: Rhythm


Say = Callable[[Scene], Chooser]
Life = Callable[[np.random.Generator, Setting, int], tuple[I64, I64]]
Adjust = Callable[[np.random.Generator, Setting, Accounts], Accounts]
StartsOf = Callable[[Setting, Rhythm], Starts]


def ordinary(rng: np.random.Generator, setting: Setting, count: int) -> tuple[I64, I64]:
    """There throughout, but for a few who come or go."""
    return lives(rng, setting=setting, count=count)


def unchanged(_rng: np.random.Generator, _setting: Setting, accounts: Accounts) -> Accounts:
    """The accounts as drawn."""
    return accounts


def from_tutorials(rng: np.random.Generator, setting: Setting, accounts: Accounts) -> Accounts:
    """Scripts as tutorials have them: a system prompt as those give, or none; one choice where one client is behind."""
    alike = len(set(accounts.program.tolist())) == 1
    (own,) = rng.spawn(1)  # what is drawn afterwards stays as it was
    count = 1 if alike else accounts.size
    said = np.asarray([setting.builder.system(text) for text in TUTORIALS])[own.integers(0, len(TUTORIALS), count)]
    keeps = own.random(count) >= 1 - TUTORIAL_SHARE
    return accounts._replace(system=np.broadcast_to(np.where(keeps, said, -1), accounts.size).copy())


class Cast(NamedTuple):
    """A population in one row; rates are medians over its accounts."""

    name: str
    why: str  # what it looks like, and where that is written
    habit: Habit
    say: Say
    share: float = 0.0  # of the world's ordinary accounts ...
    at_least: int = 1  # ... and this many in a world of reference size
    per_day: float = 6.0  # requests per account and day
    spread: float = 0.9  # log-normal sigma of the rate over accounts
    held: bool = False  # `per_day` is the mean over the accounts, not the median
    turns: float = 3.5
    gap_s: float = 60.0
    gap_spread: float = 0.6  # log-normal sigma of the gap over accounts
    gap_sigma: float = 1.0  # and within one
    output: int = 0  # row of `Rates.outputs`
    awake: float = 1.0  # share of accounts that keep human hours; the others know none
    single: bool = True
    day_shape: float = 1.5
    home: float = 3.0
    reuses: float = 0.08
    keeps_history: bool = True
    life: Life = ordinary
    adjust: Adjust = unchanged
    starts: StartsOf | None = None
    exchange: Callable[[Setting], Exchange] = lambda _setting: Exchange()


def beat_of(rng: np.random.Generator, *, setting: Setting, cast: Cast, life: tuple[I64, I64]) -> Rhythm:
    """The rhythm of a cast's accounts, its mean rate held at what the row says."""
    count = life[0].size
    rates = np.minimum(cast.per_day * np.exp(cast.spread * rng.standard_normal(count)), REQUESTS_PER_DAY_MAX)
    if cast.held:
        rates *= cast.per_day / rates.mean()
    people = zones(rng, count=count)
    beat = rhythm(
        sessions_per_day=rates,
        turns=cast.turns,
        gap_s=cast.gap_s * np.exp(cast.gap_spread * rng.standard_normal(count)),
        profile=np.where(rng.random(count) < cast.awake, people, FLAT),
        output=np.full(count, cast.output),
        life=life,
        rng=rng,
        scale=setting.scale,
        gap_sigma=cast.gap_sigma,
        home=cast.home,
        day_shape=cast.day_shape,
        single=cast.single,
        max_turns=120,
        keeps_history=cast.keeps_history,
        reuses=cast.reuses,
    )
    # Session lengths vary per account; the rate shall not vary with them.
    return beat._replace(sessions_per_day=rates * setting.scale / beat.turns)


def _with_spares(life: tuple[I64, I64], *, stop_ms: int) -> tuple[I64, I64]:
    """As many accounts again that nobody has used by the end of the run."""
    never = np.full(life[0].size, stop_ms)
    return np.concatenate([life[0], never]), np.concatenate([life[1], never])


def build(setting: Setting, *, cast: Cast, side: Side, count: int, campaign: str = "") -> Population:
    """The population of a row with `count` accounts alive at a time, and spare ones where attackers react."""
    rng = setting.generator(cast.name)
    life = cast.life(rng, setting, count)
    born = life[0]
    if setting.reacts and campaign:
        life = _with_spares(life, stop_ms=setting.stop_ms)
        born = np.concatenate([born, np.full(born.size, setting.start_ms)])
    made = draw(
        rng,
        habit=cast.habit,
        count=born.size,
        first_ms=born,
        networks=setting.networks,
        release_ms=setting.release_ms,
    )
    made = cast.adjust(rng, setting, made)
    # Arrays of their own: attackers who react change them.
    life = (life[0].copy(), life[1].copy())
    beat = beat_of(rng, setting=setting, cast=cast, life=life)
    size = pool_size(setting, rhythm=beat)
    scene = Scene(setting, cast.name, side, rng, life[0].size, size, beat)
    return Population(
        cast.name,
        campaign=campaign,
        accounts=made,
        rhythm=beat,
        chooser=cast.say(scene),
        rates=setting.rates,
        seed=setting.seed,
        starts=None if cast.starts is None else cast.starts(setting, beat),
        exchange=cast.exchange(setting),
    )
