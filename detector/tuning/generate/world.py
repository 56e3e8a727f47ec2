"""A world: populations over one table of texts, hour by hour as event batches.

Purpose: `generate` builds a scenario's world; `World.batches` yields its events in order of
time, `World.contents` the raw text beside them, `World.labels` the ground truth.
Invariants: equal arguments give equal worlds; batches come in order of event time; memory
holds accounts, distinct texts and one hour.
Limits: a batch has at most 65,536 rows; a world is walked once (its pools advance), build
another to walk it again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from detector.config import Settings
from detector.events import EventBatch
from detector.fingerprint import Content
from detector.hashing import DEVELOPMENT_KEY
from detector.tuning.generate import benign_machines, benign_people, network, rates, texts
from detector.tuning.generate import twins as innocent_twins
from detector.tuning.generate.accounts import DAY_MS, concatenate
from detector.tuning.generate.exchanging import vocabulary_of
from detector.tuning.generate.parts import DIVISION, PARTS, free_parameters
from detector.tuning.generate.pools import Builder, prompts_of
from detector.tuning.generate.population import REFERENCE_ACCOUNTS, Setting
from detector.tuning.generate.react import Reaction
from detector.tuning.generate.render import COVERAGE, render
from detector.tuning.generate.scenarios import DISGUISES, SCENARIOS, Scenario
from detector.tuning.generate.scenarios import attack as lay_over
from detector.tuning.generate.sessions import HOUR_MS, Population, Rows, select, stack
from detector.tuning.generate.wording import wording

BENIGN = "benign"
BATCH_ROWS = 65_536
START_MS = 1_776_643_200_000  # Monday 2026-04-20T00:00:00Z
TEXTS_MAX = 6_000  # distinct texts per pool; further ones are variants of them
RELEASE_AT = 0.4  # of the run: when the new model and the new harness come out
OUTAGE_AT = 0.55
OUTAGE_MS = 2 * HOUR_MS


class World:
    """Populations, their texts and their time. Walk it once, by `batches` or by `contents`."""

    def __init__(self, setting: Setting, *, populations: list[Population], key: bytes, fields: str, raw: bool) -> None:
        """Fingerprint the texts (unless `raw`) and put the accounts under one another."""
        self.setting = setting
        self.populations = populations
        self.fields = fields
        self.raw = raw
        self.texts = setting.builder.build(key=key, fingerprints=not raw)
        self.accounts = concatenate([p.accounts for p in populations])
        self._bases = np.cumsum([0] + [p.accounts.size for p in populations])
        self._reaction = None
        if setting.reacts:
            names = self.accounts.fields["account_id"]
            self._reaction = Reaction(populations, names=names, seed=setting.seed, key=key, settings=Settings())

    @property
    def labels(self) -> pa.Table:
        """Ground truth: `account_id`, `campaign` (empty when benign), `population`."""
        sizes = [p.accounts.size for p in self.populations]
        names = np.repeat([p.name for p in self.populations], sizes)
        campaigns = np.repeat([p.campaign for p in self.populations], sizes)
        table = pa.table(
            {
                "account_id": self.accounts.fields["account_id"],
                "campaign": pa.array(campaigns),
                "population": pa.array(names),
            }
        )
        return table.sort_by("account_id")  # drawn identifiers: the order tells nothing

    def _hours(self) -> Iterator[tuple[int, Rows]]:
        """Rows of one hour after the other, in order of time."""
        for start_ms in range(self.setting.start_ms, self.setting.stop_ms, HOUR_MS):
            stop_ms = min(start_ms + HOUR_MS, self.setting.stop_ms)
            parts = []
            for base, population in zip(self._bases, self.populations, strict=False):
                rows = population.hour(
                    start_ms=start_ms, stop_ms=stop_ms, chars=self.texts.chars, outage=self.setting.outage
                )
                parts.append(rows._replace(account=rows.account + base))
            rows = stack(parts)
            yield start_ms, select(rows, at=np.lexsort((rows.session, rows.time_ms)))

    def _blocks(self) -> Iterator[tuple[Rows, EventBatch]]:
        for start_ms, rows in self._hours():
            rng = np.random.default_rng([self.setting.seed, 3, start_ms // HOUR_MS])
            for at in range(0, rows.account.size, BATCH_ROWS):
                block = Rows._make(column[at : at + BATCH_ROWS] for column in rows)
                batch = render(
                    rng,
                    rows=block,
                    accounts=self.accounts,
                    table=self.texts,
                    networks=self.setting.networks,
                    fields=self.fields,
                    fingerprints=not self.raw,
                    enforced=self._reaction.enforced(block) if self._reaction else None,
                )
                if self._reaction:
                    self._reaction.show(batch)
                yield block, batch
            if self._reaction:
                self._reaction.answer(min(start_ms + HOUR_MS, self.setting.stop_ms))

    def batches(self) -> Iterator[EventBatch]:
        """Events in order of time; content columns are null in a raw world."""
        for _, batch in self._blocks():
            yield batch

    def contents(self) -> Iterator[tuple[EventBatch, Content]]:
        """Events in order of time, with the raw text of each."""
        corpus = self.setting.corpus
        words = vocabulary_of(sorted({*corpus.benign.vocabulary.words, *corpus.attack.vocabulary.words}))
        systems = pa.array(self.texts.systems, pa.string())
        for rows, batch in self._blocks():
            system = rows.system
            prompts = list(prompts_of(self.texts, rows=rows.text, variants=rows.variant, vocabulary=words))
            yield (
                batch,
                Content(
                    system=systems.take(pa.array(system, mask=system < 0)),
                    prompt=pa.array(prompts, pa.string()),
                    output=pa.nulls(len(prompts), pa.string()),
                ),
            )


class Size(NamedTuple):
    """How large an attack is; None takes the scenario's default cell."""

    accounts: int | None = None  # alive at a time
    requests_per_day: float | None = None  # per account
    life_days: float = 7.0
    cover: float = 0.0  # share of requests that is cover traffic
    disguise: str | None = None


DEFAULT_SIZE = Size()


def generate(
    scenario: str,
    *,
    texts_dir: Path | None = None,
    part: str = "tuning",
    accounts: int = REFERENCE_ACCOUNTS,
    twins: bool = True,
    days: float = 3.0,
    scale: float = 1.0,
    attack: Size = DEFAULT_SIZE,
    seed: int = 0,
    fields: str = "full",
    raw: bool = False,
    react: bool = False,
    key: bytes = DEVELOPMENT_KEY,
    start_ms: int = START_MS,
    texts_max: int = TEXTS_MAX,
) -> World:
    """Build the world of a scenario: `benign`, or a row of `scenarios.SCENARIOS`.

    `texts_dir` holds prompts and traces (None: the sample that ships); `part` is tuning,
    validation or test, whose texts, wordings, seeds and free parameters share nothing; `accounts`
    is the number of ordinary accounts, to which `twins` adds those that look like one trait of
    an attack; `scale` multiplies every rate. `fields` is full, lean (no payment, device, account
    age, ASN, JA4) or minimal (the six required fields); `raw` gives text in place of
    fingerprints. With `react` the engine judges as the world goes and attackers answer it. Raises
    `ValueError` for values out of range.
    """
    _check(scenario, accounts=accounts, days=days, scale=scale, attack=attack, fields=fields)
    if react and raw:
        raise ValueError("react=True needs fingerprints: leave raw out")
    corpus = texts.load(texts_dir, part=part)
    number = PARTS.index(part) if part in PARTS else 0
    held = DIVISION[PARTS[number]]
    seed += held.seed_offset
    length_ms = int(days * DAY_MS)
    setting = Setting(
        seed=seed,
        start_ms=start_ms,
        stop_ms=start_ms + length_ms,
        accounts=accounts,
        scale=scale,
        texts_max=texts_max,
        corpus=corpus,
        words=wording(number),
        part=number,
        rates=rates.load(texts_dir if texts_dir is not None else texts.PACKAGED),
        networks=network.internet(np.random.default_rng([seed, 4])),
        builder=Builder(),
        release_ms=start_ms + int(length_ms * RELEASE_AT),
        outage=_outage(start_ms, length_ms=length_ms),
        boards={},
        free=free_parameters(np.random.default_rng([seed, 7]), ranges=held.ranges),
        reacts=react,
    )
    setting = setting._replace(popular=benign_people.popular_texts(setting))
    populations = [*benign_people.populations(setting), *benign_machines.populations(setting)]
    if twins:
        populations += innocent_twins.populations(setting)
    if scenario != BENIGN:
        populations += _laid_over(setting, SCENARIOS[scenario], attack)
    return World(setting, populations=populations, key=key, fields=fields, raw=raw)


def _laid_over(setting: Setting, row: Scenario, attack: Size) -> list[Population]:
    """The attack at the size asked for, else the family's."""
    return lay_over(
        setting,
        row,
        accounts=attack.accounts or row.accounts,
        per_day=attack.requests_per_day or row.per_day,
        life_days=attack.life_days,
        cover=attack.cover,
        disguise=attack.disguise or row.disguise,
    )


def _outage(start_ms: int, *, length_ms: int) -> tuple[int, int]:
    """Two hours of trouble, shorter in a short run."""
    at = start_ms + int(length_ms * OUTAGE_AT)
    return at, at + min(OUTAGE_MS, length_ms // 36)


def _check(scenario: str, *, accounts: int, days: float, scale: float, attack: Size, fields: str) -> None:
    """Refuse values out of range, naming them."""
    chosen = {
        "scenario": (scenario, (BENIGN, *SCENARIOS)),
        "fields": (fields, COVERAGE),
        "disguise": (attack.disguise or "none", DISGUISES),
    }
    for name, (word, known) in chosen.items():
        if word not in known:
            raise ValueError(f"{name} {word!r} is none of {', '.join(known)}")
    for name, value, least in (("accounts", accounts, 50), ("attackers", attack.accounts, 1)):
        if value is not None and value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    amounts = {
        "days": days, "scale": scale, "requests_per_day": attack.requests_per_day, "life_days": attack.life_days,
    }  # fmt: skip
    for name, amount in amounts.items():
        if amount is not None and not 0 < amount < float("inf"):
            raise ValueError(f"{name}={amount} must be above 0")
    if not 0 <= attack.cover < 1:
        raise ValueError(f"cover={attack.cover} must be in [0, 1)")
