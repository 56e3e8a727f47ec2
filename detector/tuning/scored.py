"""Scored logs: a replay that keeps every answer and accuses nobody, with what the labels say beside it.

Purpose: what `sweep` and `calibrate` begin with; `confirmed` replays a setting in full and scores it.
Invariants: the replay runs under `kept.neutral`, so answers depend on no verdict; a directory that holds an earlier
one is read instead, if it was made with the same settings apart from those of the verdict.
Limits: the events are walked twice more, for labels and for times. Fingerprints of raw text come out of the replay.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import msgspec
import orjson

from detector.config import Settings
from detector.records import parse_time
from detector.runtime.replay import replay
from detector.runtime.sources import InputError, Opener, open_input
from detector.tuning import kept as answers
from detector.tuning.evaluate import Labels, Scores
from detector.tuning.kept import Keeper, Kept, KeptError
from detector.tuning.scoring import Inputs, score_run
from detector.tuning.sweep import Truth, truth_of


class Log(NamedTuple):
    """The kept answers of a log, and its truth."""

    kept: Kept
    truth: Truth
    names: list[str]  # the inputs


def scored(
    inputs: Sequence[str],
    *,
    settings: Settings,
    key: bytes,
    labels: Labels | None,
    workers: int = 1,
    keep: Path | None = None,
    opener: Opener = open_input,
) -> Log:
    """Replay logs, keep their answers (under `keep` as well), and read their truth; or read an earlier one's directory.

    Raises `InputError`, `KeptError`, `SchemaError` or `OSError`.
    """
    neutral = answers.neutral(settings)
    if len(inputs) == 1 and (Path(inputs[0]) / answers.FILE).is_file():
        return _earlier(Path(inputs[0]), neutral=neutral, key=key, labels=labels, opener=opener)
    keeper = Keeper()
    with TemporaryDirectory() as temporary:
        out = keep if keep is not None else Path(temporary)
        result = replay(
            list(inputs), out=out, settings=neutral, key=key, workers=workers, opener=opener, watch=keeper.watch
        )
        if result.interrupted:
            raise InputError("interrupted: not all of the log was scored")
        if result.first_ms is None or result.last_ms is None:
            raise InputError(f"{', '.join(inputs)}: no event was judged")
        if keep is not None:
            answers.write(keeper.kept(), keep / answers.FILE)
    edges = (result.first_ms, result.last_ms)
    return Log(keeper.kept(), _truth(inputs, edges, key=key, labels=labels, opener=opener), list(inputs))


def _earlier(folder: Path, *, neutral: Settings, key: bytes, labels: Labels | None, opener: Opener) -> Log:
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    made = msgspec.convert(manifest["settings"], Settings)
    if msgspec.structs.replace(made, verdict=neutral.verdict) != neutral:
        raise KeptError(f"{folder} was scored under other settings than those given: replay its logs again")
    metrics = orjson.loads((folder / "metrics.json").read_bytes())
    names = [item["path"] for item in manifest["inputs"]]
    edges = (parse_time(metrics["first_event"]), parse_time(metrics["last_event"]))
    truth = _truth(names, edges, key=key, labels=labels, opener=opener)
    return Log(answers.read(folder / answers.FILE), truth, names)


def _truth(names: Sequence[str], edges: tuple[int, int], *, key: bytes, labels: Labels | None, opener: Opener) -> Truth:
    first_ms, last_ms = edges
    events = Inputs(names, scopes=frozenset(), first_ms=first_ms, last_ms=last_ms, key=key, opener=opener)
    return truth_of(labels, events=events)


def confirmed(names: Sequence[str], *, settings: Settings, key: bytes, labels: Path, workers: int = 1) -> Scores:
    """Replay logs under settings and score the run in full: what re-deciding cannot tell."""
    with TemporaryDirectory() as temporary:
        replay(list(names), out=Path(temporary), settings=settings, key=key, workers=workers)
        return score_run(Path(temporary), labels=labels, inputs=[], key=key)
