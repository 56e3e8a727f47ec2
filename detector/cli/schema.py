"""`stillwatch schema`: the JSON Schemas of the records, as they ship."""

from pathlib import Path
from typing import Annotated

import typer

from detector.cli.common import EXIT_USAGE, fail

FOLDER = Path(__file__).resolve().parents[2] / "schemas"


def schema(
    action: Annotated[str, typer.Argument(help="print")] = "print",
    name: Annotated[str, typer.Argument(help="a schema, such as access.v1; nothing lists them")] = "",
) -> None:
    """Print a JSON Schema, or list their names."""
    if action != "print":
        raise fail(f"schema {action!r}: expected 'print'", code=EXIT_USAGE)
    known = {p.stem: p for p in sorted(FOLDER.glob("*.json"))}
    if name and name not in known:
        raise fail(f"no schema {name!r}; there are: {', '.join(known)}", code=EXIT_USAGE)
    typer.echo(known[name].read_text() if name else "\n".join(known))
