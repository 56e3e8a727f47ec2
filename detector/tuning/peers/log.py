"""Log: what a peer sees of a log, as columns in memory, raw text as vectors.

Purpose: one reading of a log for every peer: times, whose each request is, its prefix, template, sizes and a vector
of its text.
Invariants: rows in order of time. A text's vector depends on the text alone: hashed words, projected onto `WIDTH`
directions drawn from a fixed seed, of length one; zero without words.
Limits: some 400 bytes a request; logs of a few million. Whoever needs text gets none from a log of fingerprints.
Source: feature hashing, Weinberger et al. 2009; random projections, Achlioptas 2003.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.feature_extraction.text import HashingVectorizer

from detector.encode import subnet_of
from detector.events import EventBatch
from detector.runtime.feed import with_fingerprints
from detector.runtime.sources import decode_block, open_input

I64 = npt.NDArray[np.int64]
F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

WIDTH = 64
DAY_MS, HOUR_MS = 86_400_000, 3_600_000
_WORDS = 1 << 12
_COLUMNS = ("event_time", "account_id", "input_tokens", "output_tokens", "turn_index")


class Keys(NamedTuple):
    """Whose a row is by some attribute: codes of `names`, -1 where unknown."""

    codes: I64
    names: list[str]


class Log(NamedTuple):
    """Columns of equal length, in order of time."""

    time_ms: I64
    account: Keys
    subnet: Keys
    template: Keys
    input_tokens: I64  # -1 unknown
    output_tokens: I64
    turn: I64
    vectors: F32  # (rows, WIDTH); (rows, 0) where the log holds no text

    @property
    def has_text(self) -> bool:
        """Whether there are texts."""
        return self.vectors.shape[1] > 0


def read(inputs: Iterable[str], *, key: bytes) -> Log:
    """Read logs, merged by time. Raises `InputError`."""
    batches, vectors, text = [], [], False
    vectorizer = HashingVectorizer(n_features=_WORDS, alternate_sign=True, norm=None, dtype=np.float32)
    projection = np.random.default_rng(7).standard_normal((_WORDS, WIDTH)).astype(np.float32)
    for name in inputs:
        for block in open_input(name):
            decoded = decode_block(block)
            batch, made = decoded.batch, np.zeros((len(decoded.batch), WIDTH), np.float32)
            if decoded.content is not None:
                text = True
                made = vectorizer.transform(decoded.content.prompt.fill_null("").to_pylist()) @ projection
                batch = with_fingerprints(batch, decoded.content, key=key)
            batches.append(batch)
            vectors.append(made / np.maximum(np.linalg.norm(made, axis=1, keepdims=True), 1e-9))
    return _log(batches, np.concatenate(vectors) if text else None)


def _log(batches: list[EventBatch], vectors: F32 | None) -> Log:
    table = pa.Table.from_batches(batches)
    order = np.argsort(table.column("event_time").to_numpy(), kind="stable")
    numbers = {name: pc.fill_null(table.column(name), -1) for name in _COLUMNS if name != "account_id"}
    columns = {name: column.to_numpy()[order].astype(np.int64) for name, column in numbers.items()}

    def keys(name: str, *, rename: bool = False) -> Keys:
        coded = table.column(name).take(pa.array(order)).combine_chunks().dictionary_encode()
        names = coded.dictionary.to_pylist()
        codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        if not rename:
            return Keys(codes, names)
        subnets, inverse = np.unique(np.array([subnet_of(n) for n in names] or [""]), return_inverse=True)
        return Keys(np.where(codes >= 0, inverse[codes], -1), subnets.tolist())

    return Log(
        time_ms=columns["event_time"],
        account=keys("account_id"),
        subnet=keys("client_ip", rename=True),
        template=keys("template_fp"),
        input_tokens=columns["input_tokens"],
        output_tokens=columns["output_tokens"],
        turn=columns["turn_index"],
        vectors=vectors[order] if vectors is not None else np.zeros((len(order), 0), np.float32),
    )


def part(log: Log, keep: Bools) -> Log:
    """Some of the rows; names stay."""
    keyed = {n: getattr(log, n)._replace(codes=getattr(log, n).codes[keep]) for n in ("account", "subnet", "template")}
    plain = ("time_ms", "input_tokens", "output_tokens", "turn", "vectors")
    return log._replace(**keyed, **{n: getattr(log, n)[keep] for n in plain})


def rows_of(codes: I64) -> list[I64]:
    """Each code's rows, in order; unknown ones belong to none."""
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    if not order.size:
        return []
    cuts = np.flatnonzero(np.diff(codes[order])) + 1
    return np.split(order, cuts)


def so_far_today(log: Log, codes: I64) -> F64:
    """How many requests of the same code the same UTC day had before each row; -inf where the code is unknown."""
    out = np.full(codes.size, -np.inf)
    days = log.time_ms // DAY_MS
    for rows in rows_of(codes):
        starts = np.flatnonzero(np.r_[True, np.diff(days[rows]) != 0])
        out[rows] = np.arange(rows.size) - np.repeat(starts, np.diff(np.r_[starts, rows.size]))
    return out


def after_windows(rows: I64, ends: list[int], scores: list[float], out: F64) -> None:
    """Let the highest score so far hold from the row after each window's end: `ends` are places in `rows`, rising."""
    highest = -np.inf
    for at, (end, score) in enumerate(zip(ends, scores, strict=True)):
        highest = max(highest, score)
        stop = ends[at + 1] if at + 1 < len(ends) else rows.size
        out[rows[end:stop]] = highest
