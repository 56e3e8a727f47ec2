"""`stillwatch sweep`: settings compared on one scoring of the logs."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from detector.cli.common import EXIT_INPUT, EXIT_USAGE, Format, fail, note, read_key, read_settings
from detector.cli.evaluate import duration
from detector.cli.inputs import resolved
from detector.cli.options import Config, KeyFile, Labels, Output, Set, Workers
from detector.cli.output import Listing, chosen, console, write_rows
from detector.config import Settings
from detector.records import ConfigError, DetectorError
from detector.tuning import sweep as engine
from detector.tuning.scored import Log, confirmed, scored
from detector.tuning.scoring import read_labels
from detector.tuning.sweep import Profile

COLUMNS = {
    "found": "found_of",
    "leak at least": "leak_floor",
    "to detect": "detect",
    "cases": "cases",
    "false": "false_cases",
    "a day": "false_per_day",
    "innocents held": "innocents",
    "of all innocent": "innocent_share",
    "precision": "precision",
    "objective": "objective",
    "best": "best",
}
NOTE = (
    "'leak at least' is what was sent before a campaign's case opened. What follows from a verdict is not re-decided: "
    "members joining request by request, pools judged less often once a campaign holds them, leases. --confirm "
    "replays the best setting and scores it in full."
)

Inputs = Annotated[list[str], typer.Argument(metavar="IN", help="logs, merged; or the directory of an earlier sweep")]
Params = Annotated[
    list[str],
    typer.Option("--param", help="NAME=FROM:TO:STEP of threshold, prior, family_cap or families_min"),
]
Objective = Annotated[str, typer.Option(help="f1, cost, or recall@fpr=X, X a share of the innocent accounts")]


def sweep(
    inputs: Inputs,
    param: Params,
    labels: Labels,
    benign: Annotated[list[str] | None, typer.Option(help="a log without attacks, scored beside; repeatable")] = None,
    objective: Objective = "f1",
    profile: Annotated[Profile, typer.Option(help="what false cases and misses cost")] = "standard",
    confirm: Annotated[bool, typer.Option("--confirm", help="replay the best setting and score it in full")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="keep answers.parquet and sweep.json here")] = None,
    config: Config = None,
    set_: Set = None,
    workers: Workers = 1,
    output: Output = None,
    key_file: KeyFile = None,
) -> None:
    """Score logs once, then decide often: what each setting finds, beside what it does to innocents."""
    settings, (key, _) = read_settings(config, set_ or []), read_key(key_file)
    try:
        params = engine.grid(param)
        engine.check_objective(objective)
    except ConfigError as wrong:
        raise fail(str(wrong), code=EXIT_USAGE) from wrong
    names, opener = resolved(inputs, config=config, form=Format.auto)
    asked: dict[str, Any] = {"settings": settings, "key": key, "workers": workers}
    try:
        log = scored(names, labels=read_labels(labels), keep=out, opener=opener, **asked)
        alone = [scored([name], labels=None, **asked) for name in benign or []]
        points = [engine.score(log.kept, log.truth, settings, params=p) for p in params]
        chosen_at = engine.best(points, objective=objective, profile=profile)
        rows = [engine.row(p, objective=objective, profile=profile) for p in points]
        _beside(rows, params, alone, settings=settings)
        rows[chosen_at]["best"] = True
        full = None
        if confirm:
            best = engine.at_point(settings, params[chosen_at])
            full = confirmed(log.names, settings=best, key=key, labels=labels, workers=workers)
    except (DetectorError, OSError) as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        said = {"best": params[chosen_at], "points": rows, "confirmed": full}
        (out / "sweep.json").write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2))
    _show(rows, list(params[0]), listing=chosen(output), full=full, alone=bool(alone))


def _beside(
    rows: list[dict[str, Any]], params: list[dict[str, float]], alone: list[Log], *, settings: Settings
) -> None:
    """Add what each setting opens in the logs without attacks: the worst of them."""
    for row, point in zip(rows, params, strict=True):
        scores = [engine.score(log.kept, log.truth, settings, params=point) for log in alone]
        if scores:
            row["benign_cases"] = sum(s.cases for s in scores)
            row["benign_per_day_worst"] = max(s.cases / log.truth.days for s, log in zip(scores, alone, strict=True))


def _show(
    rows: list[dict[str, Any]], names: list[str], *, listing: Listing, full: dict[str, Any] | None, alone: bool
) -> None:
    columns = {name: name for name in names} | COLUMNS
    if alone:
        columns |= {"benign logs: cases": "benign_cases", "a day, worst": "benign_per_day_worst"}
    shown = [r | {"found_of": f"{r['found']}/{r['campaigns']}", "detect": duration(r["detect_s"])} for r in rows]
    write_rows(shown if listing in (Listing.human, Listing.csv) else rows, columns, listing, nothing="no point")
    if listing is not Listing.human:
        return
    note(NOTE)
    if full is not None:
        leaks = ", ".join(f"{name} {100 * c['leak']:.1f} %" for name, c in full["campaigns"].items())
        console().print(
            f"the best setting, replayed: {full['campaigns_found']} of {full['campaigns_labelled']} found, "
            f"leak {leaks}; {full['benign']['collateral_ppm']:,.0f} benign requests per million contained, "
            f"{full['campaigns_false']} false campaign alerts"
        )
