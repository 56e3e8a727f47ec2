"""`stillwatch replay` and `stillwatch demo`."""

import sys
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console

from detector.cli.common import (
    EXIT_GATE,
    EXIT_INFRASTRUCTURE,
    EXIT_INPUT,
    EXIT_USAGE,
    errors,
    fail,
    read_key,
    read_settings,
    warn_development_key,
)
from detector.records import format_time
from detector.runtime import replay as engine
from detector.runtime.sources import InputError
from detector.runtime.summary import print_summary
from detector.tuning.scoring import LabelsError, score_run

PROGRESS_EVERY_S = 1.0
INTERRUPTED = 130


class _Line:
    """The progress line on standard error: share, events, rate, event time, alerts, time left."""

    def __init__(self, *, shown: bool) -> None:
        self.shown, self.start_s, self.last_s = shown, time.monotonic(), 0.0

    def __call__(self, p: engine.Progress) -> None:
        now_s = time.monotonic()
        if not self.shown or now_s - self.last_s < PROGRESS_EVERY_S:
            return
        self.last_s = now_s
        spent_s = max(now_s - self.start_s, 1e-3)
        share = f"{100 * p.share:5.1f} %" if p.share is not None else "   ? %"
        left = f", {spent_s / p.share - spent_s:,.0f} s left" if p.share else ""
        rate = f"{p.rows:,} events, {p.rows / spent_s:,.0f}/s"
        text = f"{share}  {rate}, at {format_time(p.end_ms)}, {p.alerts} alerts{left}"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{text:<110}")
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def done(self) -> None:
        if self.shown and self.last_s and sys.stderr.isatty():
            sys.stderr.write("\r" + " " * 110 + "\r")


def _finish(result: engine.Result, *, out: Path, output: str, mode: str, fail_if: str | None) -> None:
    if output == "json":
        sys.stdout.buffer.write((out / "metrics.json").read_bytes() + b"\n")
    else:
        print_summary(result, out=out, console=Console(soft_wrap=True), mode=mode)
    if result.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not result.rows:
        raise fail("no record was accepted" + (" (see rejects.jsonl)" if result.rejects else ""), code=EXIT_INPUT)
    if result.rejects["truncated_input"]:
        raise fail(
            "an input is truncated or corrupt; what could be read was replayed (see rejects.jsonl)", code=EXIT_INPUT
        )
    if fail_if is not None and _gate(fail_if, out):
        raise fail(f"gate failed: {fail_if}", code=EXIT_GATE)


def _gate(expression: str, out: Path) -> bool:
    """Evaluate `name OP number` over metrics.json; `name` may be dotted."""
    for sign in (">=", "<=", ">", "<", "=="):
        name, found, limit = expression.partition(sign)
        if not found:
            continue
        value = orjson.loads((out / "metrics.json").read_bytes())
        for part in name.strip().split("."):
            value = value.get(part) if isinstance(value, dict) else None
        try:
            number, bound = float(value), float(limit)
        except (TypeError, ValueError):
            break
        return {
            ">=": number >= bound,
            "<=": number <= bound,
            ">": number > bound,
            "<": number < bound,
            "==": number == bound,
        }[sign]
    raise fail(
        f"--fail-if {expression!r} must be a metric of metrics.json, one of > >= < <= == and a number", code=EXIT_USAGE
    )


def replay(
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="JSONL (.gz, .zst), Parquet, or - for JSONL on stdin")
    ],
    out: Annotated[Path, typer.Option(help="directory for the results")],
    config: Annotated[Path | None, typer.Option(help="settings, TOML")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="ground truth (CSV or Parquet): scores go to metrics.json")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes that read and encode")] = 1,
    limit: Annotated[int | None, typer.Option(min=1, help="stop after about this many events")] = None,
    seed: Annotated[int | None, typer.Option(help="seed of the population model")] = None,
    key_file: Annotated[Path | None, typer.Option(help="file with the fingerprint key, 64 hex digits")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="override a setting: a.b=value")] = None,
    fail_if: Annotated[str | None, typer.Option(help="exit 1 if true, such as 'alerts>0'")] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="human or json")] = "human",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="no progress line")] = False,
) -> None:
    """Replay access logs: find campaigns, write alerts, decisions and members to DIR."""
    overrides = [*(set_ or []), *([f"seed={seed}"] if seed is not None else [])]
    settings = read_settings(config, overrides)
    key, development = read_key(key_file)
    if len(set(inputs)) != len(inputs):
        raise fail("an input is named twice; its events would count twice", code=EXIT_USAGE)
    if labels is not None and "-" in inputs:
        raise fail("--labels needs inputs that can be read twice, not standard input", code=EXIT_USAGE)
    if labels is not None and not labels.is_file():
        raise fail(f"labels {labels}: no such file; check the path", code=EXIT_INPUT)
    line = _Line(shown=not no_progress)
    try:
        result = engine.replay(
            inputs,
            out=out,
            settings=settings,
            key=key,
            workers=workers,
            limit=limit,
            progress=line,
            command=sys.argv[1:],
        )
        if labels is not None and not result.interrupted:
            score_run(out, labels=labels, inputs=inputs, key=key)
    except (InputError, LabelsError) as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    except OSError as wrong:
        raise fail(f"{wrong.filename or out}: {wrong.strerror or wrong}", code=EXIT_INFRASTRUCTURE) from wrong
    line.done()
    if result.raw_text and development:
        warn_development_key()
    _finish(result, out=out, output=output, mode=settings.mode, fail_if=fail_if)


def demo(
    out: Annotated[Path, typer.Option(help="directory for the results")] = Path("out/demo"),
    output: Annotated[str, typer.Option("-o", "--output", help="human or json")] = "human",
) -> None:
    """Replay the sample log that ships with the program: real prompts, real timing, a campaign laid over them."""
    with as_file(files("detector.tuning") / "demo") as folder:
        log = folder / "events.jsonl.zst"
        errors.print(
            f"Replaying {log.name}: real prompts (see CREDITS.md beside it) with a campaign laid over them …",
            soft_wrap=True,
        )
        replay([str(log)], out, labels=folder / "labels.csv", output=output, set_=[])
