"""`stillwatch fingerprint`: raw content becomes keyed fingerprints, the text is dropped."""

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from detector.cli.validate import EXIT_INPUT, Format
from detector.hashing import DEVELOPMENT_KEY, KEY_BYTES
from detector.fingerprint import Content
from detector.runtime.feed import with_fingerprints
from detector.runtime.sources import InputError, check_input, decode_block, open_input
from detector.runtime.writer import EventWriter, OutputError

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended
KEY_VARIABLE = "STILLWATCH_FINGERPRINT_KEY"


class KeyTextError(ValueError):
    """A key file or variable does not hold a key."""


def read_key(key_file: Path | None) -> bytes | None:
    """The operator's key from a file, else from the environment; None where neither is given.

    Raises `KeyTextError` for anything but 64 hex digits, without quoting it.
    """
    where = str(key_file) if key_file is not None else KEY_VARIABLE
    try:
        text = key_file.read_text("ascii") if key_file is not None else os.environ.get(KEY_VARIABLE)
    except (OSError, UnicodeDecodeError) as wrong:
        raise KeyTextError(f"key file {where} cannot be read: {type(wrong).__name__}") from wrong
    if text is None:
        return None
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyTextError(
            f"{where} must hold {2 * KEY_BYTES} hex digits; make one with: openssl rand -hex {KEY_BYTES}"
        )
    return key


def fingerprint(
    inputs: Annotated[list[str], typer.Argument(metavar="IN...", help="Logs with raw content, or - for JSON lines.")],
    out: Annotated[
        str, typer.Option("--out", metavar="FILE", help=".jsonl, .gz, .zst, .parquet, or - for JSON lines.")
    ],
    form: Annotated[Format, typer.Option("--format", help="Layout of the records.")] = Format.auto,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", metavar="K", help=f"File with 64 hex digits; else {KEY_VARIABLE}.")
    ] = None,
) -> None:
    """Turn raw content into the contract's fingerprints and drop the text."""
    del form  # both names mean access.v1 until other formats are read
    try:
        key = read_key(key_file)
    except KeyTextError as wrong:
        _say(str(wrong))
        raise typer.Exit(EXIT_USAGE) from None
    if key is None:
        _say(
            "WARNING: no key was given, so the PUBLISHED DEVELOPMENT KEY is used. Anyone can recompute these "
            f"fingerprints from guessed text. Set {KEY_VARIABLE} or --key-file for anything but a trial."
        )
        key = DEVELOPMENT_KEY
    try:
        for name in inputs:
            check_input(name)
        with EventWriter(out) as writer:
            texts, rejects = _convert(inputs, writer, key=key)
    except (InputError, OutputError) as wrong:
        _say(str(wrong))
        raise typer.Exit(EXIT_INPUT if isinstance(wrong, InputError) else EXIT_USAGE) from None
    except KeyboardInterrupt:
        _say(f"interrupted; {'output was cut off' if out == '-' else f'nothing was written to {out}'}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    refused = ", ".join(f"{count:,} {reason}" for reason, count in sorted(rejects.items()))
    _say(f"{writer.rows:,} events, {texts:,} with text fingerprinted, {rejects.total():,} rejects {refused}".rstrip())


def text_rows(content: Content) -> int:
    """Rows that carry any text."""
    return int(np.logical_or.reduce([part.is_valid().to_numpy(zero_copy_only=False) for part in content]).sum())


def _convert(inputs: list[str], writer: EventWriter, *, key: bytes) -> tuple[int, Counter[str]]:
    """Write the events of all inputs; returns how many carried text, and the rejects by reason."""
    texts = 0
    rejects: Counter[str] = Counter()
    for name in inputs:
        for block in open_input(name):
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
