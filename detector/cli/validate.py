"""`stillwatch validate`: fill rates, rejects by reason, coverage."""

from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from detector.cli.common import EXIT_INFRASTRUCTURE, EXIT_INPUT, Format, fail
from detector.cli.inputs import resolved
from detector.cli.options import Answer, Config, Form
from detector.cli.output import Listing, console, write_one
from detector.runtime.sources import TOPIC_SCHEME, InputError, check_format, check_input
from detector.runtime.validate import Report, survey
from detector.signatures.registry import SIGNATURES


def validate(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="IN", help="Logs: .jsonl, .jsonl.gz, .jsonl.zst, .parquet, - for JSON lines, kafka://."),
    ],
    form: Form = Format.auto,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Read only the first N records of each input.")
    ] = None,
    config: Config = None,
    output: Answer = Listing.human,
) -> None:
    """Say what a log holds: fields, rejects, time order, accounts, and which signatures will be off."""
    names, opener = resolved(inputs, config=config, form=form)
    try:
        for name in (n for n in names if not n.startswith(TOPIC_SCHEME)):
            check_input(name)
            check_format(name, form=form)
        report = survey(names, sample=sample, opener=opener).report(SIGNATURES)
    except InputError as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    except ConnectionError as wrong:
        raise fail(f"{wrong.filename}: {wrong.strerror}", code=EXIT_INFRASTRUCTURE) from wrong
    if output is Listing.human:
        _show(report, console(wrap=False, markup=True))
    else:
        write_one(msgspec.to_builtins(report), output)
    if report.rows == 0:
        raise fail("no record was accepted", code=EXIT_INPUT)
    if any(reason.reason == "truncated_input" for reason in report.rejects):
        raise fail("an input is truncated or corrupt; this is what could be read of it", code=EXIT_INPUT)


def _show(report: Report, console: Console) -> None:
    refused = sum(reason.records for reason in report.rejects)
    records = max(report.rows + refused, 1)
    accounts = f"{report.accounts:,}" if report.accounts_exact else f"at least {report.accounts:,}"
    console.print(
        f"[bold]{report.rows:,}[/] events of {accounts} accounts, {refused:,} rejects ({refused / records:.2%})"
    )
    for said in report.formats:
        where = f" ({len(said.inputs)} of {len(report.inputs)} inputs)" if len(report.formats) > 1 else ""
        console.print(f"format: [bold]{said.format}[/]{where}, {said.title}")
    if report.passed:
        console.print(f"passed over: {report.passed:,} records of no model call")
    if report.sampled:
        console.print("a sample: the inputs were not read to their end")
    if report.first_time is not None:
        console.print(f"event time {report.first_time} to {report.last_time}, tenants: {', '.join(report.tenants)}")
        late, back = report.late / report.rows, report.backwards / report.rows
        console.print(
            f"order: {report.late:,} rows late by more than {report.lateness_ms / 1000:g} s ({late:.2%}), "
            f"{report.backwards:,} earlier than the row before ({back:.2%})"
        )
    if report.raw_text_rows:
        console.print(
            f"[yellow]{report.raw_text_rows:,} rows carry raw text[/]: fields that fingerprinting makes count as there"
        )
    _show_rejects(report, console)
    _show_fill(report, console)
    active, off = report.coverage.active, report.coverage.off
    console.print(f"\n[bold]{len(active)} of {len(active) + len(off)} signatures active[/]", end="")
    console.print(f": {', '.join(active)}" if active else "")
    for signature in off:
        console.print(f"  off: {signature.signature} (no {', '.join(signature.missing)})")
    _show_formats(report, console)


def _show_formats(report: Report, console: Console) -> None:
    for said in report.formats:
        if not said.never:
            continue
        console.print(f"\n[bold]{said.format} never carries[/]: {', '.join(said.never)}")
        if said.off:
            console.print(f"  off for that, in any such log: {', '.join(s.signature for s in said.off)}")
        console.print(f"  to supply it: {said.join}", markup=False)


def _show_rejects(report: Report, console: Console) -> None:
    if not report.rejects:
        return
    table = Table("reject", "records", "first at", box=None, pad_edge=False)
    several = len(report.inputs) > 1
    for reason in report.rejects:
        where = []
        for r in reason.first:
            place = f"line {r.line}" if r.line is not None else f"row {r.offset}"
            place += f" byte {r.byte}" if r.byte is not None else ""
            where.append((f"{r.source} " if several else "") + place + (f" ({r.field})" if r.field else ""))
        table.add_row(reason.reason, f"{reason.records:,}", "; ".join(where))
    console.print()
    console.print(table)


def _show_fill(report: Report, console: Console) -> None:
    full = [name for name, share in report.fill.items() if share == 1]
    console.print(f"\n[bold]always there[/]: {', '.join(full) or 'none'}")
    partly = {name: share for name, share in report.fill.items() if 0 < share < 1}
    for name, share in sorted(partly.items(), key=lambda item: -item[1]):
        console.print(f"  {name:<24}" + (f"{share:6.1%}" if share >= 0.001 else "under 0.1%"))
    absent = [name for name, share in report.fill.items() if share == 0]
    console.print(f"[bold]absent[/]: {', '.join(absent) or 'none'}")
