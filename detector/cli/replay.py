"""`stillwatch replay` and `stillwatch demo`."""

import re
import sys
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import orjson
import typer

from detector.cli.common import (
    EXIT_GATE,
    EXIT_INFRASTRUCTURE,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    Format,
    duration_ms,
    fail,
    note,
    read_key,
    read_settings,
    warn_development_key,
)
from detector.cli.gates import check_gate, gate_of
from detector.cli.inputs import resolved
from detector.cli.options import Answer, Config, Form, KeyFile, Set, Workers
from detector.cli.output import Listing, console, write_one
from detector.cli.progress import ProgressLine
from detector.pages.report import write_report
from detector.records import SchemaError, parse_time
from detector.runtime import replay as engine
from detector.runtime.feed import ALWAYS
from detector.runtime.outcome import Result
from detector.runtime.printing import printable
from detector.runtime.sources import InputError
from detector.runtime.summary import print_scores, print_summary
from detector.runtime.verify import SHOWN_MAX, differences, read_alerts
from detector.tuning.scoring import LabelsError, read_labels, score_run
from detector.vocabulary import AlertFormat


def _speed(text: str) -> float | None:
    """Read max, real or a factor such as 10x; None is as fast as it goes."""
    found = re.fullmatch(r"(\d{1,6}(?:\.\d+)?)x", text.strip())
    factor = {"max": None, "real": 1.0}.get(text, float(found[1]) if found else 0.0)
    if factor == 0.0:
        raise fail(f"--speed {text!r} must be max, real or a factor such as 10x", code=EXIT_USAGE)
    return factor


def _window_ms(since: str | None, until: str | None) -> tuple[int, int]:
    """Read --since and --until, RFC 3339, as [start, end) in ms."""
    edges = list(ALWAYS)
    for at, (option, text) in enumerate((("--since", since), ("--until", until))):
        try:
            edges[at] = parse_time(text) if text is not None else edges[at]
        except SchemaError as wrong:
            raise fail(f"{option}: {wrong}", code=EXIT_USAGE) from wrong
    if edges[0] >= edges[1]:
        raise fail(f"--since {since} is not before --until {until}: no event can lie between", code=EXIT_USAGE)
    return edges[0], edges[1]


def _finish(result: Result, *, out: Path, output: Listing, mode: str, fail_if: str | None) -> None:
    said = orjson.loads((out / "metrics.json").read_bytes())
    if output is Listing.human:
        told = console(wrap=False, markup=True)
        print_summary(result, out=out, console=told, mode=mode)
        print_scores(said.get("scores"), console=told)
    else:
        write_one(said, output)
    if result.interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if not result.rows:
        why = "no event lies between --since and --until" if result.outside else "no record was accepted"
        raise fail(why + (" (see rejects.jsonl)" if result.rejects else ""), code=EXIT_INPUT)
    if result.rejects["truncated_input"]:
        raise fail(
            "an input is truncated or corrupt; what could be read was replayed (see rejects.jsonl)", code=EXIT_INPUT
        )
    if fail_if is not None:
        check_gate(fail_if, said, place="metrics.json")


def _verify(result: Result, fired: Path) -> None:
    """Compare with what really fired: the differences on standard error, exit 1 if there are any."""
    try:
        said = differences(read_alerts(fired), result.alerts)
    except SchemaError as wrong:
        raise fail(f"--verify-against {fired}: {wrong}", code=EXIT_INPUT) from wrong
    for line in said[:SHOWN_MAX]:
        note(printable(line))
    if said:
        more = f", {len(said) - SHOWN_MAX} of them not shown" if len(said) > SHOWN_MAX else ""
        raise fail(f"{len(said)} alerts differ from {fired}{more}", code=EXIT_GATE)


def _check_inputs(inputs: list[str], *, labels: Path | None, fired: Path | None, operators: Path | None) -> None:
    """Refuse what cannot work before anything is read or written."""
    if len(set(inputs)) != len(inputs):
        raise fail("an input is named twice; its events would count twice", code=EXIT_USAGE)
    if labels is not None and "-" in inputs:
        raise fail("--labels needs inputs that can be read twice, not standard input", code=EXIT_USAGE)
    for name, path in (("labels", labels), ("--verify-against", fired), ("--operators", operators)):
        if path is not None and not path.is_file():
            raise fail(f"{name} {path}: no such file; check the path", code=EXIT_INPUT)
    try:
        if labels is not None:
            read_labels(labels)
        if fired is not None:
            read_alerts(fired)
    except LabelsError as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    except SchemaError as wrong:
        raise fail(f"--verify-against {fired}: {wrong}", code=EXIT_INPUT) from wrong


def replay(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN", help="JSONL (.gz, .zst), Parquet, - for JSONL on stdin, or kafka://")
    ],
    out: Annotated[Path, typer.Option(help="directory for the results")],
    config: Config = None,
    labels: Annotated[
        Path | None, typer.Option(help="ground truth (CSV or Parquet): scores go to metrics.json")
    ] = None,
    format_: Form = Format.auto,
    workers: Workers = 1,
    since: Annotated[str | None, typer.Option(help="only events from this time on, RFC 3339")] = None,
    until: Annotated[str | None, typer.Option(help="only events before this time, RFC 3339")] = None,
    speed: Annotated[str, typer.Option(help="max, real, or a factor such as 10x")] = "max",
    limit: Annotated[int | None, typer.Option(min=1, help="stop after about this many events")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the population model")] = None,
    key_file: KeyFile = None,
    operators: Annotated[Path | None, typer.Option(help="recorded operators' records, JSON lines")] = None,
    approve_after: Annotated[str | None, typer.Option(help="approve every campaign this long after, as 15m")] = None,
    verify_against: Annotated[Path | None, typer.Option(help="alerts that really fired: exit 1 if not equal")] = None,
    alert_format: Annotated[
        AlertFormat, typer.Option(help="also write the alerts in this format, beside alerts.jsonl")
    ] = "native",
    set_: Set = None,
    fail_if: Annotated[str | None, typer.Option(help="exit 1 if true, such as 'alerts>0'")] = None,
    output: Answer = Listing.human,
    no_progress: Annotated[bool, typer.Option("--no-progress", help="no progress line")] = False,
) -> None:
    """Replay access logs: find campaigns, write alerts, decisions and members to DIR."""
    settings = read_settings(config, [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])])
    key, development = read_key(key_file)
    inputs, opener = resolved(inputs, config=config, form=format_)
    _check_inputs(inputs, labels=labels, fired=verify_against, operators=operators)
    if fail_if is not None:
        gate_of(fail_if)
    line = ProgressLine(shown=not no_progress)
    try:
        result = engine.replay(
            inputs,
            out=out,
            settings=settings,
            key=key,
            form=format_.value,
            workers=workers,
            limit=limit,
            window_ms=_window_ms(since, until),
            speed=_speed(speed),
            operators=operators,
            alert_format=alert_format,
            approve_after_ms=duration_ms(approve_after, option="--approve-after") if approve_after else -1,
            progress=line,
            command=sys.argv[1:],
            opener=opener,
        )
        if labels is not None and not result.interrupted and result.first_ms is not None:
            score_run(out, labels=labels, inputs=inputs, key=key, opener=opener)
        write_report(out)
    except (InputError, LabelsError) as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    except OSError as wrong:
        raise fail(f"{wrong.filename or out}: {wrong.strerror or wrong}", code=EXIT_INFRASTRUCTURE) from wrong
    line.done()
    if result.raw_text and development:
        warn_development_key()
    _finish(result, out=out, output=output, mode=settings.mode, fail_if=fail_if)
    if verify_against is not None:
        _verify(result, verify_against)


def demo(
    out: Annotated[Path, typer.Option(help="directory for the results")] = Path("out/demo"),
    output: Answer = Listing.human,
) -> None:
    """Replay the sample log that ships with the program: real prompts, real timing, a campaign laid over them."""
    with as_file(files("detector.tuning") / "demo") as folder:
        log = folder / "events.jsonl.zst"
        note(f"Replaying {log.name}: real prompts (see CREDITS.md beside it) with a campaign laid over them …")
        replay([str(log)], out, labels=folder / "labels.csv", output=output, set_=[])
