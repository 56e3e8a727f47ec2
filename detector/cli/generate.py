"""`stillwatch generate`: logs with known truth."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_USAGE, fail, read_key
from detector.hashing import DEVELOPMENT_KEY
from detector.records import format_time
from detector.runtime.writer import OutputError
from detector.tuning.generate import World, world
from detector.tuning.generate.sample import choose, demo
from detector.tuning.generate.write import Written, write

PROGRESS_EVERY_S = 1.0
DEMO_LEVEL = 19


class Scenario(StrEnum):
    """What can be generated."""

    benign = "benign"
    templated = "templated"
    demo = "demo"
    sample = "sample"


class Form(StrEnum):
    """Formats of the events file."""

    jsonl = "jsonl"
    gzip = "jsonl.gz"
    zstd = "jsonl.zst"
    parquet = "parquet"


class Part(StrEnum):
    """Texts and wordings that share nothing with the other parts'."""

    tuning = "tuning"
    validation = "validation"
    test = "test"


class _Line:
    """The progress line on standard error."""

    def __init__(self) -> None:
        self.start_s = self.last_s = time.monotonic()

    def __call__(self, rows: int, time_ms: int) -> None:
        now_s = time.monotonic()
        if now_s - self.last_s >= PROGRESS_EVERY_S:
            self.last_s = now_s
            at = f", event time {format_time(time_ms)}" if time_ms else ""
            print(f"{rows:,} events, {rows / (now_s - self.start_s):,.0f}/s{at}", file=sys.stderr)


def generate(
    scenario: Annotated[
        Scenario,
        typer.Argument(help="benign, templated; demo: the committed demo log; sample: the shipped texts, from --texts"),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="directory for events.* and labels.csv")],
    texts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="published prompts and traces; else the small sample that ships")
    ] = None,
    part: Annotated[Part, typer.Option(help="which part of texts, wordings and templates")] = Part.tuning,
    accounts: Annotated[int, typer.Option(help="accounts of the benign population")] = 2_000,
    attackers: Annotated[int, typer.Option(help="attacking accounts alive at a time")] = 100,
    per_day: Annotated[float, typer.Option(help="requests per attacking account and day")] = 60.0,
    life_days: Annotated[float, typer.Option(help="how long an attacking account lives before it is replaced")] = 7.0,
    cover: Annotated[float, typer.Option(help="share of attackers' requests that is cover traffic")] = 0.0,
    days: Annotated[float, typer.Option(help="days of event time")] = 3.0,
    scale: Annotated[float, typer.Option(help="multiplies every rate")] = 1.0,
    lean: Annotated[bool, typer.Option("--lean", help="leave out payment, device, account age, ASN and JA4")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="raw text in place of fingerprints (JSON lines)")] = False,
    form: Annotated[Form, typer.Option("--format", help="format of the events")] = Form.zstd,
    seed: Annotated[int, typer.Option(help="equal seeds give equal logs")] = 0,
    key_file: Annotated[Path | None, typer.Option(help="fingerprint key: 64 hex digits")] = None,
) -> None:
    """Generate a log with known truth: real prompts and measured rates, innocent twins, an attack laid over them."""
    key = DEVELOPMENT_KEY if raw else read_key(key_file)[0]
    start_s = time.monotonic()
    try:
        if scenario is Scenario.sample:
            _choose(texts, out=out)
            return
        if scenario is Scenario.demo:
            made, form, level = demo(texts), Form.zstd, DEMO_LEVEL
        else:
            level = 3
            made = world.generate(
                scenario.value,
                texts_dir=texts,
                part=part.value,
                accounts=accounts,
                days=days,
                scale=scale,
                attackers=attackers,
                requests_per_day=per_day,
                life_days=life_days,
                cover=cover,
                seed=seed,
                lean=lean,
                raw=raw,
                key=key,
            )
        written = write(made, out=out, form=form.value, level=level, progress=_Line())
    except (ValueError, FileNotFoundError, OutputError) as wrong:
        raise fail(str(wrong), code=EXIT_USAGE) from wrong
    except OSError as wrong:
        raise fail(f"{wrong.filename or out}: {wrong.strerror or wrong}", code=EXIT_INFRASTRUCTURE) from wrong
    _report(written, made=made, seconds=time.monotonic() - start_s)


def _choose(texts: Path | None, *, out: Path) -> None:
    if texts is None:
        raise fail("sample needs --texts: the folder of published data to choose from", code=EXIT_USAGE)
    for path in choose(texts, out=out):
        print(f"{path}: {path.stat().st_size:,} bytes")


def _report(written: Written, *, made: World, seconds: float) -> None:
    attacking = sum(p.accounts.size for p in made.populations if p.campaign)
    print(
        f"{written.rows:,} events of up to {made.accounts.size:,} accounts ({attacking:,} attacking) "
        f"in {seconds:.1f} s, {written.rows / seconds:,.0f}/s\n{written.events}\n{written.labels}"
    )
