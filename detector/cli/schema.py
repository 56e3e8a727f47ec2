"""`stillwatch schema`: the JSON Schemas of the records."""

from typing import Annotated

import typer

from detector.cli.common import EXIT_USAGE, fail
from detector.schemas import NAMES, schema_text


def schema(
    action: Annotated[str, typer.Argument(help="print")] = "print",
    name: Annotated[str, typer.Argument(help="a schema, such as access.v1; nothing lists them")] = "",
) -> None:
    """Print a JSON Schema, or list their names."""
    if action != "print":
        raise fail(f"schema {action!r}: expected 'print'", code=EXIT_USAGE)
    if name and name not in NAMES:
        raise fail(f"no schema {name!r}; there are: {', '.join(NAMES)}", code=EXIT_USAGE)
    typer.echo(schema_text(name).rstrip() if name else "\n".join(NAMES))
