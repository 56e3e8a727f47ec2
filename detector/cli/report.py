"""`stillwatch report` and `stillwatch diff`: what a run's directory says, and how two differ."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from detector.cli.common import EXIT_INPUT, fail, of_run
from detector.cli.gates import check_gate, gate_of
from detector.cli.options import Answer
from detector.cli.output import Listing, console, write_one
from detector.pages.blocks import Note
from detector.pages.blocks import Table as Rows
from detector.pages.compare import as_tree, compare_blocks, difference
from detector.pages.report import write_report
from detector.pages.run_files import RunFiles, read_files
from detector.runtime.printing import printable

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="a replay's directory")]


def _read(folder: Path) -> RunFiles:
    with of_run(folder):
        return read_files(folder)


def report(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="where to write it; else DIR/report.html")] = None,
    against: Annotated[Path | None, typer.Option(metavar="DIR", help="a run to compare it with")] = None,
) -> None:
    """Write a replay's report anew: one HTML file that needs no network."""
    _read(folder)
    if against is not None:
        _read(against)
    try:
        path = write_report(folder, out=out, against=against)
    except OSError as wrong:
        raise fail(f"{wrong.filename or out}: {wrong.strerror or wrong}", code=EXIT_INPUT) from wrong
    typer.echo(printable(str(path)))


def diff(
    before: Annotated[Path, typer.Argument(metavar="RUN_A", help="a replay's directory")],
    after: Annotated[Path, typer.Argument(metavar="RUN_B", help="another one")],
    fail_if: Annotated[
        str | None, typer.Option(help="exit 1 if true, such as 'differences>0' or 'numbers.leak.change>0.01'")
    ] = None,
    output: Answer = Listing.human,
) -> None:
    """Compare two runs: alerts, decisions, settings, and leak and collateral where both were labelled."""
    if fail_if is not None:
        gate_of(fail_if)
    left, right = _read(before), _read(after)
    tree = as_tree(difference(left, right))
    if output is Listing.human:
        out = console(wrap=False)
        for block in compare_blocks(left, right):
            if isinstance(block, Note):
                out.print(printable(block.text))
            elif isinstance(block, Rows):
                _print(block, out)
    else:
        write_one(tree, output)
    if fail_if is not None:
        check_gate(fail_if, tree, place="the comparison")


def _print(block: Rows, console: Console) -> None:
    if not block.rows:
        console.print(f"\n{block.caption}: {block.empty}")
        return
    table = Table(title=block.caption, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in block.columns:
        table.add_column(column.heading, justify="right" if column.numeric else "left", overflow="fold")
    for row in block.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console.print()
    console.print(table)
    if block.note:
        console.print(block.note)
