"""`stillwatch evaluate`: a run against ground truth."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from detector.cli.common import EXIT_INPUT, duration_ms, fail, note, of_run, read_key
from detector.cli.options import Answer, KeyFile, Labels
from detector.cli.output import Listing, console, write_one, write_rows
from detector.pages.report import write_report
from detector.records import SchemaError
from detector.runtime.printing import printable
from detector.runtime.sources import InputError
from detector.tuning.scoring import LabelsError, approved_run, score_run


def evaluate(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a replay's directory")],
    labels: Labels,
    events: Annotated[
        list[str] | None, typer.Option(metavar="IN", help="the run's events; else the inputs that its manifest names")
    ] = None,
    approve_after: Annotated[
        str | None,
        typer.Option(help="replay once more, every campaign approved this long after it opened, as 15m; scored too"),
    ] = None,
    output: Answer = Listing.human,
    key_file: KeyFile = None,
) -> None:
    """Score a replay: leak, time to detect, member recall and precision, collateral, alert load."""
    with of_run(folder):
        (folder / "manifest.json").stat()
    key, _ = read_key(key_file)
    after_ms = duration_ms(approve_after, option="--approve-after") if approve_after else None
    try:
        scores = score_run(folder, labels=labels, inputs=events or [], key=key)
        _report(folder)
        approved = None
        if after_ms is not None:
            again = approved_run(folder, inputs=events or [], key=key, approve_after_ms=after_ms)
            approved = score_run(again, labels=labels, inputs=events or [], key=key)
            _report(again)
    except (InputError, SchemaError, LabelsError) as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    except OSError as wrong:
        raise fail(f"{wrong.filename or folder}: {wrong.strerror or wrong}", code=EXIT_INPUT) from wrong
    if output is not Listing.human:
        write_one(scores if approved is None else scores | {"approved": approved}, output)
        return
    out = console(wrap=False)
    print_scores(scores, console=out)
    if approved is not None:
        out.print(f"\nWith every campaign approved {approve_after} after it opened:")
        print_scores(approved, console=out)


def _report(folder: Path) -> None:
    """Write the report anew, now that there are scores; a run that is too old for one keeps its scores."""
    try:
        write_report(folder)
    except SchemaError as wrong:
        note(f"note: no report: {printable(str(wrong))}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _bounds(interval: list[float] | None) -> str:
    return "" if interval is None else f" ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"


def _span(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:,.0f}-{interval[1]:,.0f}"


def duration(seconds: float | None) -> str:
    """A time span as a person says it.

    >>> duration(5_400)
    '1.5 h'
    >>> duration(None)
    '-'
    """
    if seconds is None:
        return "-"
    return f"{seconds / 3600:.1f} h" if abs(seconds) >= 3600 else f"{seconds / 60:.1f} min"


def _campaign(name: str, c: dict[str, Any]) -> str:
    """A campaign's scores as a paragraph."""
    head = f"{name}: {_count(c['accounts'])} accounts, {_count(c['requests'])} requests, "
    leak = f"leak {_share(c['leak'])}{_bounds(c['leak_interval'])} = {_count(c['leaked_requests'])} requests"
    if not c["found"]:
        return f"{head}NOT FOUND; {leak}"
    return (
        f"{head}found after {duration(c['time_to_detect_s'])} and {_count(c['requests_by_detection'])} requests; "
        f"{leak}; member recall {_share(c['member_recall'])}{_bounds(c['member_recall_interval'])}, "
        f"precision {_share(c['member_precision'])}{_bounds(c['member_precision_interval'])}"
    )


def _benign(populations: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each population, as it is shown."""
    return [
        {
            "population": name,
            "accounts": _count(p["accounts"]),
            "requests": _count(p["requests"]),
            "contained": _count(p["contained_requests"]),
            "ppm": _count(p["collateral_ppm"]),
            "95 %": _span(p["collateral_ppm_interval"]),
            "slowed": _count(p["slowed_requests"]),
            "acted on": _count(p["accounts_acted_on"]),
        }
        for name, p in populations.items()
    ]


def print_scores(scores: dict[str, Any], *, console: Console) -> None:
    """Print the scores as tables and a few sentences."""
    benign, alerts = scores["benign"], scores["alerts"]
    console.print(
        f"{scores['events']:,} events of {scores['accounts']:,} accounts over {scores['span_days']:.1f} days; "
        f"{scores['campaigns_found']} of {scores['campaigns_labelled']} campaigns found, "
        f"{scores['campaigns_false']} false campaign alerts"
    )
    for name, campaign in scores["campaigns"].items():
        console.print(_campaign(name, campaign), markup=False)
    rows = _benign({**benign["populations"], "all benign": benign})
    console.print("\nBenign populations")
    write_rows(rows, {heading: heading for heading in rows[0]}, Listing.human, nothing="")
    console.print()
    per_days = benign["accounts_acted_on_per_million_account_days"]
    console.print(
        f"Collateral: {_count(benign['collateral_ppm'])} benign requests per million contained "
        f"({_span(benign['collateral_ppm_interval'])}); {_count(per_days)} benign accounts acted on per million "
        f"account-days ({_span(benign['accounts_acted_on_per_million_account_days_interval'])})"
    )
    console.print(
        f"Alerts: {alerts['opened']} opened ({alerts['campaign_named']} name a campaign, "
        f"{alerts['campaign_false']} false, "
        f"{alerts['campaign_mixed']} mixed), {_count(alerts['per_day'])} a day ({_span(alerts['per_day_interval'])}), "
        f"{_count(alerts['per_million_events'])} per million events"
    )
