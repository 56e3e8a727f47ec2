"""`stillwatch schema`: the JSON Schemas of the records."""

from typing import Annotated, Literal

import orjson
import typer

from detector.cli.common import EXIT_USAGE, fail
from detector.runtime.printing import json_text
from detector.schemas import NAMES, schema_text


def schema(
    action: Annotated[Literal["list", "print"], typer.Argument(help="list the names, or print")] = "list",
    name: Annotated[str, typer.Argument(help="a schema, such as access.v1; else all of them, by name")] = "",
) -> None:
    """Print the JSON Schemas of what is read and written, or list their names."""
    if name and name not in NAMES:
        raise fail(f"no schema {name!r}; there are: {', '.join(NAMES)}", code=EXIT_USAGE)
    if action == "list":
        typer.echo("\n".join(NAMES))
    elif name:
        typer.echo(schema_text(name).rstrip())
    else:
        typer.echo(json_text({each: orjson.loads(schema_text(each)) for each in NAMES}, indent=True))
