"""Scores of a run's directory: files in, `evaluate` in the middle, scores out.

Purpose: read a labels file, walk a run's inputs again, score its alerts, decisions and
members, and keep the scores in the run's metrics.json under `scores`; what a report shows beyond
them goes to accounts.parquet and timeline.parquet.
`approved_run` replays a run with every campaign approved after a while, to be scored beside it.
Invariants: only events of the time that the run covered count, so a limited run is scored on
what it saw. Text is fingerprinted only where a decision names a fingerprint.
Limits: rejected records are not events and are not scored; a record given twice counts twice.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from detector.config import Settings
from detector.records import DetectorError, parse_time
from detector.runtime.explain import read_run
from detector.runtime.feed import ALWAYS, with_fingerprints
from detector.runtime.replay import replay
from detector.runtime.sources import Opener, decode_block, open_input
from detector.tuning.detail import COLUMNS, Detail
from detector.tuning.evaluate import Labels, Scores, evaluate, labels_from, truth_of
from detector.tuning.scores import SCOPE_COLUMNS

CONTENT_SCOPES = frozenset({"system_prompt_fp", "template_fp", "anchor_fp"})
_ALWAYS = ("event_id", "event_time", "account_id", "request_model", "tenant")


class LabelsError(DetectorError):
    """A labels file cannot be read or does not have the columns that labels need."""


def read_labels(path: Path) -> Labels:
    """Read labels from CSV or Parquet. Raises `LabelsError` that says what is wrong."""
    try:
        if path.suffix == ".parquet":
            return labels_from(pyarrow.parquet.read_table(path))
        # Every column as text: an account named 007 keeps its noughts.
        with path.open("rb") as file:
            names = file.readline().decode().strip().replace('"', "").split(",")
        as_text = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        return labels_from(pyarrow.csv.read_csv(path, convert_options=as_text))
    except (pa.ArrowInvalid, ValueError) as wrong:
        raise LabelsError(f"labels {path}: {wrong}") from wrong


class Inputs:
    """A run's events, as often as they are asked for: batches of the columns that scoring needs."""

    def __init__(
        self,
        names: Sequence[str],
        *,
        scopes: frozenset[str],
        first_ms: int,
        last_ms: int,
        key: bytes,
        opener: Opener = open_input,
    ) -> None:
        """Events of `names` with first_ms <= event_time <= last_ms."""
        self._names, self._opener = names, opener
        self._prints = bool(scopes & CONTENT_SCOPES)
        always = (*_ALWAYS, *COLUMNS)
        self._columns = [*always, *sorted({SCOPE_COLUMNS[scope] for scope in scopes} - set(always))]
        self._first_ms, self._last_ms, self._key = first_ms, last_ms, key

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """Read the inputs from their start."""
        for name in self._names:
            for block in self._opener(name):
                decoded = decode_block(block)
                batch = decoded.batch
                if self._prints and decoded.content is not None:
                    batch = with_fingerprints(batch, decoded.content, key=self._key)
                some = batch.select(self._columns)
                time_ms = some.column("event_time")
                inside = pc.and_(pc.greater_equal(time_ms, self._first_ms), pc.less_equal(time_ms, self._last_ms))
                yield some.filter(inside)


def approved_run(folder: Path, *, inputs: Sequence[str], key: bytes, approve_after_ms: int) -> Path:
    """Replay the run in `folder` once more, every campaign approved that long after it opened; where it went.

    Raises `LabelsError` where the run was approved already, `InputError` or `OSError`.
    """
    held = orjson.loads((folder / "manifest.json").read_bytes())
    if held["approve_after_ms"] is not None:
        raise LabelsError(
            f"{folder} was replayed with --approve-after; score a run without it, or leave the option out"
        )
    window = [
        parse_time(held[edge]) if held[edge] else bound for edge, bound in zip(("since", "until"), ALWAYS, strict=True)
    ]
    out = folder / f"approved-after-{approve_after_ms // 1_000}s"
    replay(
        list(inputs) or [item["path"] for item in held["inputs"]],
        out=out,
        settings=msgspec.convert(held["settings"], Settings),
        key=key,
        window_ms=(window[0], window[1]),
        operators=Path(held["operators"]["path"]) if held["operators"] else None,
        approve_after_ms=approve_after_ms,
        command=held["command"],
    )
    return out


def score_run(folder: Path, *, labels: Path, inputs: Sequence[str], key: bytes, opener: Opener = open_input) -> Scores:
    """Score the run in `folder` and write the scores into its metrics.json; `inputs` empty: those of its manifest.

    Raises `LabelsError`, `InputError`, `SchemaError` or `OSError`.
    """
    labelled = read_labels(labels)
    run = read_run(folder)
    held = folder / "metrics.json"
    metrics = orjson.loads(held.read_bytes())
    events = Inputs(
        list(inputs) or run.inputs,
        scopes=frozenset(decision.scope for decision in run.decisions),
        first_ms=parse_time(metrics["first_event"]),
        last_ms=parse_time(metrics["last_event"]),
        key=key,
        opener=opener,
    )
    truth = truth_of(labelled, events=events)
    span = (parse_time(metrics["first_event"]), parse_time(metrics["last_event"]))
    detail = Detail(events, truth=truth, decisions=run.decisions, span_ms=span)
    scores = evaluate(
        detail, labels=labelled, alerts=run.alerts, decisions=run.decisions, members=run.members, truth=truth
    )
    scores |= detail.finish(folder, alerts=run.alerts, scores=scores)
    held.write_bytes(orjson.dumps({**metrics, "scores": scores}, option=orjson.OPT_INDENT_2))
    return scores
