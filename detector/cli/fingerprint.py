"""`stillwatch fingerprint`: raw content becomes keyed fingerprints, the text is dropped."""

import sys
from collections import Counter
from typing import Annotated

import numpy as np
import typer

from detector.cli.common import (
    EXIT_INFRASTRUCTURE,
    EXIT_INPUT,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    KEY_VARIABLE,
    Format,
    fail,
    read_key,
)
from detector.cli.inputs import resolved
from detector.cli.options import Config, Form, KeyFile
from detector.fingerprint import Content
from detector.runtime.feed import with_fingerprints
from detector.runtime.sources import TOPIC_SCHEME, InputError, Opener, check_format, check_input, decode_block
from detector.runtime.writer import EventWriter, OutputError


def fingerprint(
    inputs: Annotated[list[str], typer.Argument(metavar="IN", help="Logs with raw content, or - for JSON lines.")],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help=".jsonl, .gz, .zst, .parquet, or - for JSON lines.")
    ],
    form: Form = Format.auto,
    key_file: KeyFile = None,
    config: Config = None,
) -> None:
    """Turn raw content into the contract's fingerprints and drop the text."""
    inputs, opener = resolved(inputs, config=config, form=form)
    key, development = read_key(key_file)
    if development:
        _say(
            "WARNING: no key was given, so the PUBLISHED DEVELOPMENT KEY is used. Anyone can recompute these "
            f"fingerprints from guessed text. Set {KEY_VARIABLE} or --key-file for anything but a trial."
        )
    try:
        for name in (n for n in inputs if not n.startswith(TOPIC_SCHEME)):
            check_input(name)
            check_format(name, form=form)
        with EventWriter(out) as writer:
            texts, rejects = _convert(inputs, opener, writer, key=key)
    except (InputError, OutputError) as wrong:
        raise fail(str(wrong), code=EXIT_INPUT if isinstance(wrong, InputError) else EXIT_USAGE) from wrong
    except ConnectionError as wrong:
        raise fail(f"{wrong.filename}: {wrong.strerror}", code=EXIT_INFRASTRUCTURE) from wrong
    except KeyboardInterrupt:
        _say(f"interrupted; {'output was cut off' if out == '-' else f'nothing was written to {out}'}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rejects.items()))
    _say(f"{writer.rows:,} events, {texts:,} with text fingerprinted, {rejects.total():,} rejects {refused}".rstrip())
    if rejects:
        _say("where the rejects stand, `stillwatch validate` says")
    if rejects["truncated_input"]:
        raise fail("an input is truncated or corrupt; what could be read was fingerprinted", code=EXIT_INPUT)


def text_rows(content: Content) -> int:
    """Rows that carry any text."""
    return int(np.logical_or.reduce([part.is_valid().to_numpy(zero_copy_only=False) for part in content]).sum())


def _convert(inputs: list[str], opener: Opener, writer: EventWriter, *, key: bytes) -> tuple[int, Counter[str]]:
    """Write the events of all inputs; returns how many carried text, and the rejects by reason."""
    texts = 0
    rejects: Counter[str] = Counter()
    for name in inputs:
        for block in opener(name):
            decoded = decode_block(block)
            batch = decoded.batch
            if decoded.content is not None:
                texts += text_rows(decoded.content)
                batch = with_fingerprints(batch, decoded.content, key=key)
            writer.write(batch)
            rejects.update(reject.reason for reject in decoded.rejects)
    return texts, rejects


def _say(sentence: str) -> None:
    print(f"stillwatch fingerprint: {sentence}", file=sys.stderr)
