"""`stillwatch generate`: logs with known truth."""

import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_USAGE, fail, read_key
from detector.cli.options import KeyFile
from detector.hashing import DEVELOPMENT_KEY
from detector.records import format_time
from detector.runtime.writer import OutputError
from detector.tuning.generate import SCENARIOS, World, world
from detector.tuning.generate.render import COVERAGE
from detector.tuning.generate.sample import choose, demo
from detector.tuning.generate.scenarios import DISGUISES
from detector.tuning.generate.write import Written, write

PROGRESS_EVERY_S = 1.0
DEMO_LEVEL = 19


NAMES = (world.BENIGN, *SCENARIOS, "demo", "sample")
Scenario = StrEnum("Scenario", {name: name for name in NAMES})  # type: ignore[misc]  # members from the catalogue
Disguise = StrEnum("Disguise", {name: name for name in DISGUISES})  # type: ignore[misc]  # the same
Fields = StrEnum("Fields", {name: name for name in COVERAGE})  # type: ignore[misc]  # the same


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
        typer.Argument(
            help="benign, or a family of attacks; demo: the committed demo log; sample: the shipped texts, from --texts"
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="directory for events.* and labels.csv")],
    texts: Annotated[
        Path | None, typer.Option(metavar="DIR", help="published prompts and traces; else the small sample that ships")
    ] = None,
    part: Annotated[
        Part, typer.Option(help="which part of texts, wordings, seeds and free parameters; test is for closing figures")
    ] = Part.tuning,
    accounts: Annotated[int, typer.Option(help="ordinary accounts; innocent twins come on top")] = 2_000,
    twins: Annotated[bool, typer.Option("--twins/--no-twins", help="innocent twins of every indicator")] = True,
    attackers: Annotated[int | None, typer.Option(help="attacking accounts alive at a time; else the family's")] = None,
    per_day: Annotated[
        float | None, typer.Option(help="requests per attacking account and day; else the family's")
    ] = None,
    life_days: Annotated[float, typer.Option(help="how long an attacking account lives before it is replaced")] = 7.0,
    cover: Annotated[float, typer.Option(help="share of attackers' requests that is cover traffic")] = 0.0,
    disguise: Annotated[
        Disguise | None, typer.Option(help="settings copied from customers, sessions like people's, or both")
    ] = None,
    days: Annotated[float, typer.Option(help="days of event time")] = 3.0,
    scale: Annotated[float, typer.Option(help="multiplies every rate")] = 1.0,
    fields: Annotated[
        Fields, typer.Option(help="lean: no payment, device, account age, ASN, JA4; minimal: the six required fields")
    ] = Fields.full,  # type: ignore[attr-defined]  # the same
    lean: Annotated[bool, typer.Option("--lean", help="the same as --fields lean")] = False,
    react: Annotated[bool, typer.Option("--react", help="judge as it goes; contained attackers answer back")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="raw text in place of fingerprints (JSON lines)")] = False,
    form: Annotated[Form, typer.Option("--format", help="format of the events")] = Form.zstd,
    seed: Annotated[int, typer.Option(help="equal seeds give equal logs")] = 0,
    key_file: KeyFile = None,
) -> None:
    """Generate a log with known truth: real prompts and measured rates, innocent twins, an attack laid over them."""
    key = DEVELOPMENT_KEY if raw else read_key(key_file)[0]
    start_s = time.monotonic()
    try:
        if scenario == "sample":
            _choose(texts, out=out)
            return
        if scenario == "demo":
            made, form, level = demo(texts), Form.zstd, DEMO_LEVEL
        else:
            level, size = 3, world.Size(attackers, per_day, life_days, cover, disguise and disguise.value)
            coverage = "lean" if lean else fields.value
            made = world.generate(
                scenario.value, texts_dir=texts, part=part.value, accounts=accounts, twins=twins, days=days,
                scale=scale, attack=size, seed=seed, fields=coverage, react=react, raw=raw, key=key,
            )  # fmt: skip
        built_s = time.monotonic()
        written = write(made, out=out, form=form.value, level=level, progress=_Line())
    except (ValueError, FileNotFoundError, OutputError) as wrong:
        raise fail(str(wrong), code=EXIT_USAGE) from wrong
    except OSError as wrong:
        raise fail(f"{wrong.filename or out}: {wrong.strerror or wrong}", code=EXIT_INFRASTRUCTURE) from wrong
    _report(written, made=made, texts_s=built_s - start_s, seconds=time.monotonic() - built_s)


def _choose(texts: Path | None, *, out: Path) -> None:
    if texts is None:
        raise fail("sample needs --texts: the folder of published data to choose from", code=EXIT_USAGE)
    for path in choose(texts, out=out):
        print(f"{path}: {path.stat().st_size:,} bytes")


def _report(written: Written, *, made: World, texts_s: float, seconds: float) -> None:
    attacking = sum(p.accounts.size for p in made.populations if p.campaign)
    print(
        f"{written.rows:,} events of up to {made.accounts.size:,} accounts ({attacking:,} attacking): "
        f"texts in {texts_s:.1f} s, events in {seconds:.1f} s, {written.rows / seconds:,.0f}/s\n"
        f"{written.events}\n{written.labels}"
    )
