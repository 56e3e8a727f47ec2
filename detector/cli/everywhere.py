"""The options that every verb has: `--color` and `-v`.

They are parsed like a verb's own, act before the verb runs, and are handed to nobody.
"""

import os
from enum import StrEnum
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

LOGGERS = ("aiokafka", "structlog")  # the extra that logs, and that writes logs


class Color(StrEnum):
    """When terminals' colours are written; auto: to a terminal, unless NO_COLOR is set."""

    auto = "auto"
    always = "always"
    never = "never"


def _paint(color: Color) -> None:
    if color is not Color.auto:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            os.environ.pop(name, None)
        os.environ["FORCE_COLOR" if color is Color.always else "NO_COLOR"] = "1"


def _log(verbose: bool) -> None:
    if verbose and all(find_spec(name) is not None for name in LOGGERS):
        logs: Any = import_module("detector.runtime.logs")
        logs.begin(logs.LogFormat.auto, verbose=True)


def _options(
    color: Annotated[
        Color, typer.Option(callback=_paint, expose_value=False, is_eager=True, help="auto: on a terminal only")
    ] = Color.auto,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", callback=_log, expose_value=False, help="log what the libraries say")
    ] = False,
) -> None:
    """Only their declaration is used."""


def add(command: Any) -> None:
    """Give a verb, or each of a group's verbs, the options that it does not have itself."""
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            add(each)
    held = {name for parameter in command.params for name in parameter.opts}
    alone = typer.Typer(add_completion=False)
    alone.command()(_options)
    command.params += [parameter for parameter in get_command(alone).params if not held & set(parameter.opts)]
