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

import numpy as np
import pyarrow as pa

from detector.events import EventBatch
from detector.fingerprint import Content
from detector.hashing import DEVELOPMENT_KEY
from detector.tuning.generate import benign_machines, benign_people, harvest, network, rates, texts
from detector.tuning.generate.accounts import DAY_MS, concatenate
from detector.tuning.generate.pools import Builder, prompts_of
from detector.tuning.generate.population import Setting
from detector.tuning.generate.render import render
from detector.tuning.generate.sessions import HOUR_MS, Population, Rows, select, stack
from detector.tuning.generate.wording import wording

SCENARIOS = ("benign", "templated")
BATCH_ROWS = 65_536
START_MS = 1_776_643_200_000  # Monday 2026-04-20T00:00:00Z
TEXTS_MAX = 24_000  # distinct texts per pool


class World:
    """Populations, their texts and their time. Walk it once, by `batches` or by `contents`."""

    def __init__(self, setting: Setting, *, populations: list[Population], key: bytes, lean: bool, raw: bool) -> None:
        """Fingerprint the texts (unless `raw`) and put the accounts under one another."""
        self.setting = setting
        self.populations = populations
        self.lean = lean
        self.raw = raw
        self.texts = setting.builder.build(key=key, fingerprints=not raw)
        self.accounts = concatenate([p.accounts for p in populations])
        self._bases = np.cumsum([0] + [p.accounts.size for p in populations])

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
                rows = population.hour(start_ms=start_ms, stop_ms=stop_ms, chars=self.texts.chars)
                parts.append(rows._replace(account=rows.account + base))
            rows = stack(parts)
            yield start_ms, select(rows, at=np.lexsort((rows.session, rows.time_ms)))

    def _blocks(self) -> Iterator[tuple[Rows, EventBatch]]:
        for start_ms, rows in self._hours():
            rng = np.random.default_rng([self.setting.seed, 3, start_ms // HOUR_MS])
            for at in range(0, rows.account.size, BATCH_ROWS):
                block = Rows._make(column[at : at + BATCH_ROWS] for column in rows)
                yield (
                    block,
                    render(
                        rng,
                        rows=block,
                        accounts=self.accounts,
                        table=self.texts,
                        networks=self.setting.networks,
                        lean=self.lean,
                        fingerprints=not self.raw,
                    ),
                )

    def batches(self) -> Iterator[EventBatch]:
        """Events in order of time; content columns are null in a raw world."""
        for _, batch in self._blocks():
            yield batch

    def contents(self) -> Iterator[tuple[EventBatch, Content]]:
        """Events in order of time, with the raw text of each."""
        corpus = self.setting.corpus
        words = sorted({*corpus.benign.vocabulary, *corpus.attack.vocabulary})
        systems = pa.array(self.texts.systems, pa.string())
        for rows, batch in self._blocks():
            system = self.accounts.system[rows.account]
            prompts = list(prompts_of(self.texts, rows=rows.text, variants=rows.variant, vocabulary=words))
            yield (
                batch,
                Content(
                    system=systems.take(pa.array(system, mask=system < 0)),
                    prompt=pa.array(prompts, pa.string()),
                    output=pa.nulls(len(prompts), pa.string()),
                ),
            )


def generate(
    scenario: str,
    *,
    texts_dir: Path | None = None,
    part: str = "tuning",
    accounts: int = 2_000,
    days: float = 3.0,
    scale: float = 1.0,
    attackers: int = 100,
    requests_per_day: float = 60.0,
    life_days: float = 7.0,
    cover: float = 0.0,
    seed: int = 0,
    lean: bool = False,
    raw: bool = False,
    key: bytes = DEVELOPMENT_KEY,
    start_ms: int = START_MS,
    texts_max: int = TEXTS_MAX,
) -> World:
    """Build the world of a scenario.

    `texts_dir` holds prompts and traces (None: the sample that ships); `part` is tuning,
    validation or test, whose texts and wordings share nothing; `accounts` is the size of the
    benign population, `attackers` the number of attacking accounts alive at a time; `scale`
    multiplies every rate. `lean` leaves out payment, device, account age, ASN and JA4; `raw`
    gives text in place of fingerprints. Raises `ValueError` for values out of range.
    """
    if scenario not in SCENARIOS:
        raise ValueError(f"scenario {scenario!r} is none of {', '.join(SCENARIOS)}")
    for name, value, least in (("accounts", accounts, 50), ("attackers", attackers, 1)):
        if value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    for name, amount in (
        ("days", days),
        ("scale", scale),
        ("requests_per_day", requests_per_day),
        ("life_days", life_days),
    ):
        if not 0 < amount < float("inf"):
            raise ValueError(f"{name}={amount} must be above 0")
    if not 0 <= cover < 1:
        raise ValueError(f"cover={cover} must be in [0, 1)")
    corpus = texts.load(texts_dir, part=part)
    number = texts.PARTS.index(part) if part in texts.PARTS else 0
    setting = Setting(
        seed=seed,
        start_ms=start_ms,
        stop_ms=start_ms + int(days * DAY_MS),
        accounts=accounts,
        scale=scale,
        texts_max=texts_max,
        corpus=corpus,
        words=wording(number),
        part=number,
        rates=rates.load(texts_dir if texts_dir is not None else texts.PACKAGED),
        networks=network.internet(np.random.default_rng([seed, 4])),
        builder=Builder(),
    )
    populations = [*benign_people.populations(setting), *benign_machines.populations(setting)]
    if scenario == "templated":
        size = harvest.Harvest(accounts=attackers, requests_per_day=requests_per_day, life_days=life_days, cover=cover)
        populations.append(harvest.templated(setting, harvest=size))
    return World(setting, populations=populations, key=key, lean=lean, raw=raw)
