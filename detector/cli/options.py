"""The options that several verbs have: what each is called, and what its help says, in one place."""

from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import KEY_VARIABLE, Format
from detector.cli.output import Listing

Config = Annotated[Path | None, typer.Option(help="settings, TOML; the table kafka says how brokers are reached")]
Set = Annotated[list[str] | None, typer.Option("--set", help="override a setting: a.b=value")]
KeyFile = Annotated[
    Path | None, typer.Option(help=f"file with the fingerprint key, 64 hex digits (else {KEY_VARIABLE})")
]
Form = Annotated[Format, typer.Option("--format", help="format of the records; auto: as the first ones show")]
Output = Annotated[Listing | None, typer.Option("-o", "--output", help="else human on a terminal, and JSON when piped")]
Answer = Annotated[Listing, typer.Option("-o", "--output", help="for people, or for programs")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="processes that read and encode")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="log what the libraries say")]
Labels = Annotated[Path, typer.Option(help="ground truth (CSV or Parquet): account_id or event_id, campaign")]
Bootstrap = Annotated[
    str | None, typer.Option(help="brokers, HOST:PORT,... (else STILLWATCH_BOOTSTRAP, else the configuration)")
]
Prefix = Annotated[str | None, typer.Option(help="prefix of the topics' names (else STILLWATCH_TOPIC_PREFIX)")]
