"""Sweep: what settings would have found, and whom they would have touched, from one scoring of the logs.

Purpose: `sweep` re-decides kept answers for every point of a grid and scores each by labels; `best` picks one by an
objective; `grid` reads `--param`.
Invariants: equal input gives equal tables. A point's figures are the engine's own up to its first accusation.
Limits: those of `redecide`: so `leak_floor` counts what was sent before a campaign's case opened, and nothing that
gets past it later; innocents are counted where an accused pool's sample has them. Only `[verdict]` can be re-decided.
Source: objectives after the Numenta Anomaly Benchmark's three cost profiles (Lavin and Ahmad 2015).
"""

import itertools
import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.config import Settings
from detector.records import ConfigError
from detector.signatures.registry import BY_ID
from detector.tuning.evaluate import DAY_MS, Labels, by_account
from detector.tuning.kept import Kept
from detector.tuning.redecide import Case, cases, verdicts

I64 = npt.NDArray[np.int64]
Profile = Literal["standard", "low_fp", "low_fn"]

# The price of a false case and of a campaign missed whole: NAB's weights of a false positive and a false negative.
COSTS: dict[Profile, tuple[float, float]] = {"standard": (0.11, 1.0), "low_fp": (0.22, 1.0), "low_fn": (0.11, 2.0)}
POINTS_MAX = 10_000
PARAMS = ("prior", "threshold", "family_cap", "families_min")


class Truth(NamedTuple):
    """What labels and events say of a log: whose each account is, and when campaigns were active."""

    campaign_of: dict[str, str]  # by account that was seen: empty where innocent
    times: dict[str, I64]  # by campaign: its requests, in order of time
    innocent_requests: int
    first_ms: int
    last_ms: int

    @property
    def days(self) -> float:
        """How long the log is."""
        return max(self.last_ms - self.first_ms, 1) / DAY_MS


class Point(NamedTuple):
    """A setting and what it came to."""

    params: dict[str, float]
    found: int
    campaigns: int
    leak_floor: float | None  # mean over campaigns of the share sent before its case opened; 1 where none did
    detect_s: float | None  # median over those found, from the first request to the case
    cases: int
    false_cases: int
    false_per_day: float
    innocents: int  # accounts that false cases or mixed ones hold
    innocent_share: float  # of all innocent accounts
    precision: float | None  # of the accounts in cases: those of a campaign
    by_campaign: dict[str, float]


def truth_of(labels: Labels | None, *, events: Iterable[pa.RecordBatch]) -> Truth:
    """Walk a log and note who did what when; without labels everybody is innocent."""
    known = by_account(labels, events=events) if labels is not None else {}
    seen: dict[str, str] = {}
    times: dict[str, list[I64]] = {}
    innocent, first_ms, last_ms = 0, np.iinfo(np.int64).max, 0
    for batch in events:
        if not len(batch):
            continue
        coded = batch.column("account_id").dictionary_encode()
        whose = [known.get(name, ("", ""))[0] for name in coded.dictionary.to_pylist()]
        seen |= zip(coded.dictionary.to_pylist(), whose, strict=True)
        at = batch.column("event_time").cast(pa.int64()).to_numpy(zero_copy_only=False)
        first_ms, last_ms = min(first_ms, int(at.min())), max(last_ms, int(at.max()))
        of = np.array([*whose, ""], object)[coded.indices.to_numpy(zero_copy_only=False)]
        for campaign in sorted({*whose}):
            mine = of == campaign
            if campaign:
                times.setdefault(campaign, []).append(at[mine])
            else:
                innocent += int(mine.sum())
    merged = {name: np.sort(np.concatenate(parts)) for name, parts in sorted(times.items())}
    return Truth(seen, merged, innocent, min(first_ms, last_ms), last_ms)


def grid(params: Iterable[str]) -> list[dict[str, float]]:
    """Read `NAME=FROM:TO:STEP` or `NAME=X` words as every combination, names without `verdict.`. Raises `ConfigError`.

    >>> grid(["threshold=1:2:0.5", "families_min=3"])[1]
    {'threshold': 1.5, 'families_min': 3.0}
    """
    axes: dict[str, list[float]] = {}
    for word in params:
        found = re.fullmatch(r"(?:verdict\.)?([\w.]+)=([-\d.]+)(?::([-\d.]+):([\d.]+))?", word.strip())
        name = found[1] if found else ""
        cap = name.startswith("log_odds_max.") and name.partition(".")[2] in BY_ID
        if found is None or not (name in PARAMS or cap):
            raise ConfigError(
                f"--param {word!r} must be NAME=FROM:TO:STEP, NAME one of {', '.join(PARAMS)} or log_odds_max.SIGNATURE"
                ": whatever else is set changes what signatures see, so replay it"
            )
        try:
            low, high, step = (float(n) for n in (found[2], found[3] or found[2], found[4] or 1))
        except ValueError as wrong:
            raise ConfigError(f"--param {word!r}: {wrong}") from wrong
        if step <= 0 or high < low or (high - low) / step >= POINTS_MAX:
            raise ConfigError(f"--param {word!r} must rise from FROM to TO in fewer than {POINTS_MAX:_} steps above 0")
        axes[name] = [round(low + i * step, 6) for i in range(int((high - low) / step + 1e-9) + 1)]
    if np.prod([len(values) for values in axes.values()]) > POINTS_MAX:
        raise ConfigError(f"--param asks for more than {POINTS_MAX:_} points: fewer names, or longer steps")
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def at_point(settings: Settings, params: dict[str, float]) -> Settings:
    """The settings with a point's values. Raises `ConfigError` where they cannot be set so."""
    verdict = settings.verdict
    caps = dict(verdict.log_odds_max)
    for name, value in params.items():
        if name.startswith("log_odds_max."):
            caps[name.partition(".")[2]] = value
        elif name == "families_min":
            verdict = msgspec.structs.replace(verdict, families_min=int(value))
        else:
            verdict = msgspec.structs.replace(verdict, **{name: value})
    return msgspec.structs.replace(
        settings, verdict=msgspec.structs.replace(verdict, log_odds_max=tuple(sorted(caps.items())))
    )


def opened(kept: Kept, settings: Settings) -> list[Case]:
    """The cases that settings would have opened."""
    return cases(kept, verdicts(kept, settings.verdict, off=frozenset(settings.signatures_off)))


def score(kept: Kept, truth: Truth, settings: Settings, *, params: dict[str, float]) -> Point:
    """Re-decide one point and hold it against the truth."""
    of = [truth.campaign_of.get(name, "") for name in kept.accounts]
    detected: dict[str, int] = {}
    caught, innocents, false = 0, set(), 0
    made = opened(kept, at_point(settings, params))
    for case in made:
        founders = [of[code] for code in kept.members[case.founder]]
        counts = {name: founders.count(name) for name in sorted({*founders})}
        top = max(counts, key=lambda name: counts[name], default="")
        if top and counts[top] * 2 > len(founders):
            detected[top] = min(case.opened_ms, detected.get(top, case.opened_ms))
        elif not top or counts[top] * 2 > len(founders):
            false += 1
        caught += sum(1 for code in case.members if of[code])
        innocents |= {code for code in case.members if not of[code]}
    leaks, waits = {}, []
    for name, times in truth.times.items():
        until = detected.get(name)
        leaks[name] = 1.0 if until is None else round(float(np.searchsorted(times, until, "right")) / times.size, 6)
        waits += [(until - int(times[0])) / 1000] if until is not None else []
    everyone = sum(1 for campaign in truth.campaign_of.values() if not campaign)
    return Point(
        params=params,
        found=len(detected),
        campaigns=len(truth.times),
        leak_floor=round(float(np.mean(list(leaks.values()))), 6) if leaks else None,
        detect_s=float(np.median(waits)) if waits else None,
        cases=len(made),
        false_cases=false,
        false_per_day=round(false / truth.days, 6),
        innocents=len(innocents),
        innocent_share=round(len(innocents) / max(everyone, 1), 9),
        precision=round(caught / (caught + len(innocents)), 6) if caught + len(innocents) else None,
        by_campaign=leaks,
    )


_RECALL_AT = re.compile(r"recall@fpr=(\d*\.?\d+(?:[eE]-?\d+)?)")


def check_objective(objective: str) -> None:
    """Raise `ConfigError` for an objective that is none."""
    if objective not in {"f1", "cost"} and _RECALL_AT.fullmatch(objective) is None:
        raise ConfigError(f"--objective {objective!r} must be f1, cost or recall@fpr=X, such as recall@fpr=0.001")


def value_of(point: Point, *, objective: str, profile: Profile) -> float:
    """What an objective makes of a point: more is better. The objective is one that `check_objective` takes."""
    recall = 1 - (1.0 if point.leak_floor is None else point.leak_floor)
    if objective == "f1":
        precision = point.precision or 0.0
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    if objective == "cost":
        false, missed = COSTS[profile]
        # Below zero: a campaign that leaks whole costs one miss, however many requests it has.
        return -(false * point.false_cases + missed * sum(point.by_campaign.values()))
    limit = _RECALL_AT.fullmatch(objective)
    assert limit is not None, objective
    return recall if point.innocent_share <= float(limit[1]) else -point.innocent_share


def best(points: list[Point], *, objective: str, profile: Profile) -> int:
    """Which point is best; of equal ones the one with the highest threshold, then the first."""
    values = [value_of(p, objective=objective, profile=profile) for p in points]
    return max(range(len(points)), key=lambda i: (values[i], points[i].params.get("threshold", 0.0), -i))


def row(point: Point, *, objective: str, profile: Profile) -> dict[str, Any]:
    """A point as a flat record."""
    said = point._asdict()
    value = round(value_of(point, objective=objective, profile=profile), 6)
    return {**said.pop("params"), **said, "objective": value}
