"""What several verbs share: settings, keys, exit codes.

Purpose: one way to read the configuration and the fingerprint key, one table of exit
codes: 0 done, 1 a gate failed, 2 usage, 3 input, 4 infrastructure, 130 interrupted.
Limits: secrets come from the environment or a file, and are never printed.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

import typer

from detector.cli.output import console
from detector.config import Settings, parse
from detector.hashing import DEVELOPMENT_KEY, KEY_BYTES
from detector.records import ConfigError, DetectorError
from detector.runtime.printing import printable

EXIT_GATE, EXIT_USAGE, EXIT_INPUT, EXIT_INFRASTRUCTURE = 1, 2, 3, 4
EXIT_INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended
KEY_VARIABLE = "STILLWATCH_FINGERPRINT_KEY"


class Format(StrEnum):
    """How an input is laid out: found out from its first lines, access.v1, or another system's log."""

    auto = "auto"
    canonical = "canonical"
    otel = "otel"
    ocsf = "ocsf"
    envoy = "envoy"
    litellm = "litellm"
    kong = "kong"
    portkey = "portkey"
    helicone = "helicone"
    openrouter = "openrouter"
    cloudflare = "cloudflare"
    bedrock = "bedrock"
    azure = "azure"
    vertex = "vertex"
    sglang = "sglang"


def note(text: str, *, style: str = "") -> None:
    """Say a sentence on standard error; nothing in it is markup."""
    console(stderr=True, wrap=False).print(text, style=style)


def fail(message: str, *, code: int) -> typer.Exit:
    """Print an error and build the exit to raise."""
    note(f"error: {message}", style="red")
    return typer.Exit(code)


@contextmanager
def of_run(folder: Path) -> Iterator[None]:
    """Make a sentence and exit code 3 of what is wrong with a replay's directory."""
    try:
        yield
    except BrokenPipeError:
        raise  # who read our output has enough
    except OSError as wrong:
        said = f"{wrong.filename or folder}: {wrong.strerror or wrong}; is {folder} a replay's directory?"
        raise fail(printable(said), code=EXIT_INPUT) from wrong
    except (DetectorError, UnicodeDecodeError) as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INPUT) from wrong


def read_settings(config: Path | None, overrides: list[str]) -> Settings:
    """Read the configuration file and `--set` overrides; a bad one ends the program with 2."""
    try:
        text = config.read_text() if config is not None else ""
        return parse(text, overrides=tuple(overrides))
    except OSError as wrong:
        raise fail(f"configuration {config}: {wrong.strerror or wrong}", code=EXIT_USAGE) from wrong
    except (ConfigError, UnicodeDecodeError) as wrong:
        raise fail(f"{config or '--set'}: {wrong}", code=EXIT_USAGE) from wrong


def read_key(key_file: Path | None) -> tuple[bytes, bool]:
    """Read the fingerprint key: 64 hex digits from a file or the environment; else the development key.

    Returns the key and whether it is the published development key.
    """
    place = str(key_file) if key_file is not None else KEY_VARIABLE
    try:
        text = key_file.read_text() if key_file is not None else os.environ.get(KEY_VARIABLE, "")
    except OSError as wrong:
        raise fail(f"key file {key_file}: {wrong.strerror or wrong}", code=EXIT_USAGE) from wrong
    if not text.strip() and key_file is None:
        return DEVELOPMENT_KEY, True
    try:
        key = bytes.fromhex(text.strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise fail(f"{place} must hold {2 * KEY_BYTES} hex digits", code=EXIT_USAGE)
    return key, False


_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def duration_ms(text: str, *, option: str) -> int:
    """Read a duration such as 90s, 15m, 4h or 2d; anything else ends the program with 2."""
    found = re.fullmatch(r"(\d{1,6})([smhd])", text.strip())
    if found is None:
        raise fail(f"{option} {text!r} must be a number and one of s, m, h, d, such as 15m", code=EXIT_USAGE)
    return int(found[1]) * _UNITS_MS[found[2]]


def warn_development_key() -> None:
    """Say loudly that fingerprints of this run are not private."""
    note(
        f"WARNING: raw text was fingerprinted with the published development key. Set {KEY_VARIABLE} (64 hex digits) "
        "for logs that leave your machine.",
        style="bold yellow",
    )
