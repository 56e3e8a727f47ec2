"""Does the generator give itself away: rules on one field, and a classifier that never saw the scenario.

`event_fields` and `account_fields` turn a log into named columns, identifiers by their form and
order only. `best_rule` finds how much of an attack one rule on one column can name without
touching the innocent; `Additive` is a logistic regression over binned columns, which any
additive rule over single values fits, trained on some scenarios and read on another.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

F64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FEW = 48  # columns of at most so many distinct values are taken value by value
BINS = 12
STEPS = 150
RATE = 0.3
RIDGE = 1e-4
ABSENT = "absent"


class Column(NamedTuple):
    """One field over rows: numbers (NaN: absent), or codes of words with their names."""

    values: F64
    words: tuple[str, ...] = ()


Fields = dict[str, Column]


def _coded(column: pa.Array) -> Column:
    coded = column.fill_null(ABSENT).dictionary_encode()
    order = np.argsort(np.asarray(coded.dictionary.to_pylist(), object).astype(str))
    rank = np.empty(order.size)
    rank[order] = np.arange(order.size)
    words = tuple(sorted(coded.dictionary.to_pylist()))
    return Column(rank[coded.indices.to_numpy(zero_copy_only=False)], words)


def _number(column: pa.Array) -> F64:
    return np.asarray(column.cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False), float)


def _form(column: pa.Array) -> tuple[F64, F64]:
    """Length of a text, and where its last eight hexadecimal digits lie between all zeros and all f."""
    length = _number(pc.utf8_length(column))
    tail = pc.utf8_slice_codeunits(column, start=-8, stop=2**31 - 1)
    distinct = tail.dictionary_encode()

    def place(word: str) -> float:
        try:
            return int(word, 16) / 16**8
        except ValueError:
            return np.nan

    held = np.asarray([place(w) for w in distinct.dictionary.to_pylist()] or [np.nan])
    at = distinct.indices.fill_null(0).to_numpy(zero_copy_only=False)
    return length, np.where(np.isnan(length), np.nan, held[at])


def _names(name: str) -> bool:
    return name.endswith(("_id", "_fp")) or name == "client_ip"


def event_fields(events: pa.Table) -> Fields:
    """Every field of each event: values of what is plain, form and order of what names something."""
    out: Fields = {}
    for field in events.schema:
        name, kind = field.name, field.type
        column = events.column(name).combine_chunks()
        if column.null_count == len(column):
            continue
        if pa.types.is_list(kind):
            out[f"{name} count"] = Column(_number(pc.list_value_length(column)))
        elif pa.types.is_struct(kind):
            for part in kind:
                out[f"{name}.{part.name}"] = Column(_number(pc.struct_field(column, part.name)))
        elif _names(name):
            length, place = _form(column)
            out[f"{name} length"], out[f"{name} order"] = Column(length), Column(place)
        elif kind == pa.string():
            out[name] = _coded(column)
        else:
            out[name] = Column(_number(column))
    time_ms, made_ms = out.pop("event_time").values, out.pop("account_created_at", None)
    out["hour of day"] = Column(time_ms // 3_600_000 % 24)
    if made_ms is not None:
        out["age in days"] = Column((time_ms - made_ms.values) / 86_400_000)
    return out


def account_fields(events: pa.Table) -> tuple[Fields, list[str]]:
    """The same over accounts: mean and spread of numbers, the first value of words, counts; and whose row it is."""
    coded = events.column("account_id").combine_chunks().dictionary_encode()
    who = coded.indices.to_numpy(zero_copy_only=False)
    size = len(coded.dictionary)
    count = np.bincount(who, minlength=size).astype(float)
    out: Fields = {"requests": Column(count)}
    first = np.full(size, -1)
    first[who[::-1]] = np.arange(who.size)[::-1]
    for name, column in event_fields(events).items():
        if column.words:
            out[name] = Column(column.values[first], column.words)
            continue
        held = np.nan_to_num(column.values)
        mean = np.bincount(who, held, minlength=size) / count
        square = np.bincount(who, held * held, minlength=size) / count
        absent = np.bincount(who, np.isnan(column.values), minlength=size) / count
        # A mean of equal values ends in rounding errors, which go by the number of requests and are no trait.
        out[f"mean {name}"] = Column(np.round(mean, 9))
        out[f"spread {name}"] = Column(np.round(np.sqrt(np.maximum(square - mean * mean, 0)), 5))
        out[f"absent {name}"] = Column(absent)
    for name in ("prompt_fp", "template_fp", "client_ip", "conversation_id", "system_prompt_fp"):
        pairs = events.select(["account_id", name]).group_by("account_id").aggregate([(name, "count_distinct")])
        held_by = dict(zip(pairs.column("account_id").to_pylist(), pairs.column(1).to_pylist(), strict=True))
        distinct = np.asarray([held_by[a] for a in coded.dictionary.to_pylist()], float)
        out[f"distinct {name} per request"] = Column(distinct / count)
    return out, coded.dictionary.to_pylist()


class Rule(NamedTuple):
    """The best rule on one column: share of the attack that it names, and how it reads."""

    recall: float
    says: str


def best_rule(column: Column, *, hostile: Mask, innocent_max: float = 0.0) -> Rule:
    """The rule `= value`, `above` or `below` that names most of the attack and at most that share of the innocent."""
    values = column.values
    allowed = innocent_max * float((~hostile).sum())
    best = Rule(0.0, "none")
    keys = np.where(np.isnan(values), -np.inf, values)
    distinct, inverse = np.unique(keys, return_inverse=True)
    theirs = np.bincount(inverse, hostile, minlength=distinct.size)
    ours = np.bincount(inverse, ~hostile, minlength=distinct.size)
    total = max(float(hostile.sum()), 1.0)
    if distinct.size <= FEW or column.words:
        for at in np.flatnonzero(ours <= allowed):
            if theirs[at] / total > best.recall:
                word = column.words[int(distinct[at])] if column.words else distinct[at]
                best = Rule(theirs[at] / total, f"= {word}")
    if column.words:
        return best
    for name, step in (("above", -1), ("below", 1)):
        hit, touched = np.cumsum(theirs[::step]), np.cumsum(ours[::step])
        inside = np.flatnonzero(touched <= allowed)
        if inside.size and hit[inside[-1]] / total > best.recall:
            best = Rule(hit[inside[-1]] / total, f"{name} {distinct[::step][inside[-1]]:g}")
    return best


class Binned(NamedTuple):
    """Where each column is cut, so that other rows can be binned alike."""

    cuts: dict[str, Any]
    width: int


def bins_of(fields: Fields, *, names: list[str]) -> Binned:
    """Words by value (the most common), numbers by quantile, absence by itself."""
    cuts: dict[str, Any] = {}
    for name in names:
        column = fields[name]
        if column.words:
            common = np.bincount(column.values.astype(int), minlength=len(column.words)).argsort()[::-1][:FEW]
            cuts[name] = sorted(column.words[at] for at in common)
        else:
            held = column.values[~np.isnan(column.values)]
            cuts[name] = np.unique(np.quantile(held, np.linspace(0, 1, BINS + 1)[1:-1])) if held.size else np.zeros(0)
    return Binned(cuts, sum(len(c) + 2 for c in cuts.values()))


def codes_of(fields: Fields, *, binned: Binned) -> npt.NDArray[np.int64]:
    """One index per row and column into the binned features."""
    base, out = 0, []
    for name, cuts in binned.cuts.items():
        column = fields.get(name)
        rows = len(next(iter(fields.values())).values)
        if column is None:
            at = np.full(rows, len(cuts) + 1)
        elif column.words:
            known = {word: k for k, word in enumerate(cuts)}
            table = np.asarray([known.get(word, len(cuts)) for word in column.words])
            at = table[column.values.astype(int)]
        else:
            at = np.searchsorted(cuts, np.nan_to_num(column.values), side="right")
            at[np.isnan(column.values)] = len(cuts) + 1
        out.append(base + at)
        base += len(cuts) + 2
    return np.stack(out, axis=1)


class Additive:
    """Logistic regression over binned columns, by gradient steps of shrinking size; deterministic."""

    def __init__(self, codes: npt.NDArray[np.int64], *, hostile: Mask, width: int) -> None:
        """Fit; both classes weigh the same."""
        weight = np.where(hostile, 0.5 / max(hostile.sum(), 1), 0.5 / max((~hostile).sum(), 1))
        self.weights, self.bias = np.zeros(width), 0.0
        squares = np.full(width, 1e-8)
        for _ in range(STEPS):
            error = weight * (1 / (1 + np.exp(-self.score(codes))) - hostile)
            slope = np.bincount(codes.reshape(-1), np.repeat(error, codes.shape[1]), minlength=width)
            slope += RIDGE * self.weights
            squares += slope * slope
            self.weights -= RATE * slope / np.sqrt(squares)
            self.bias -= RATE * float(error.sum())

    def score(self, codes: npt.NDArray[np.int64]) -> F64:
        """Log-odds of each row."""
        return np.asarray(self.weights[codes].sum(axis=1) + self.bias, float)


def area(score: F64, *, hostile: Mask) -> float:
    """Area under the ROC curve: how often a hostile row scores above an innocent one."""
    order = np.argsort(score, kind="stable")
    _, inverse, counts = np.unique(score[order], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    positives = hostile[order]
    n, m = float(positives.sum()), float((~positives).sum())
    return float((ranks[positives].sum() - n * (n + 1) / 2) / max(n * m, 1.0))


def recall_at(score: F64, *, hostile: Mask, innocent_max: float) -> float:
    """Share of the hostile rows above all but that share of the innocent."""
    ours = np.sort(score[~hostile])[::-1]
    limit = ours[min(int(innocent_max * ours.size), ours.size - 1)]
    return float((score[hostile] > limit).mean())
