"""`stillwatch calibrate`: a threshold that benign logs bear."""

from pathlib import Path
from typing import Annotated, Any

import typer

from detector import __version__
from detector.cli.common import EXIT_INPUT, EXIT_USAGE, Format, fail, read_key, read_settings
from detector.cli.inputs import resolved
from detector.cli.options import Config, KeyFile, Output, Set, Workers
from detector.cli.output import Listing, chosen, console, write_rows
from detector.records import DetectorError
from detector.runtime.printing import printable
from detector.tuning.calibrate import Budget, Calibration, fragment
from detector.tuning.calibrate import calibrate as fitted
from detector.tuning.scored import scored

COLUMNS = {
    "log": "names",
    "days": "days",
    "accounts": "accounts",
    "its own threshold": "threshold",
    "cases": "at_chosen.cases",
    "a day": "at_chosen.per_day",
    "95 %": "at_chosen.per_day_interval",
    "accounts held": "at_chosen.innocents",
    "share": "at_chosen.share",
    "held out: cases": "held_out.cases",
    "held out: a day": "held_out.per_day",
}
CLAIMS = {"signature": "signature", "reached": "reached", "by a share of": "share", "benign pools bear": "bears"}


def calibrate(
    benign: Annotated[list[str], typer.Argument(metavar="BENIGN", help="logs without attacks, each for itself")],
    out: Annotated[Path, typer.Option(help="settings to write, TOML: what `replay --config` takes")],
    target_fpr: Annotated[float | None, typer.Option(help="innocent accounts in false cases, as a share")] = None,
    target_alerts_per_day: Annotated[float | None, typer.Option(help="false campaign alerts a day")] = None,
    caps: Annotated[bool, typer.Option("--caps", help="cap signatures that speak more strongly than they may")] = False,
    config: Config = None,
    set_: Set = None,
    workers: Workers = 1,
    output: Output = None,
    key_file: KeyFile = None,
) -> None:
    """Fit the threshold to logs without attacks: the lowest one that keeps to the budget in the worst of them."""
    settings, (key, _) = read_settings(config, set_ or []), read_key(key_file)
    budget = Budget(per_day=target_alerts_per_day, share=target_fpr)
    if budget == Budget():
        raise fail("give --target-fpr or --target-alerts-per-day (or both)", code=EXIT_USAGE)
    if min(x for x in budget if x is not None) < 0:
        raise fail("a target must not be negative", code=EXIT_USAGE)
    try:
        logs = []
        for name in benign:
            names, opener = resolved([name], config=config, form=Format.auto)
            logs.append(scored(names, settings=settings, key=key, labels=None, workers=workers, opener=opener))
        made = fitted(logs, settings, budget=budget, cap=caps)
        out.write_text(fragment(made, comment=_comment(made, budget)))
    except (DetectorError, OSError) as wrong:
        raise fail(str(wrong), code=EXIT_INPUT) from wrong
    _show(made, out=out, listing=chosen(output))


def _comment(made: Calibration, budget: Budget) -> str:
    """Where the numbers come from."""
    said = {"alerts a day": budget.per_day, "share of innocent accounts": budget.share}
    target = ", ".join(f"{value:g} {name}" for name, value in said.items() if value is not None)
    logs = "\n".join(
        f"  {printable(' '.join(f.names))}: {f.days:g} days, {f.accounts} accounts, {f.at_chosen.cases} false cases"
        for f in made.fits
    )
    return f"Made by stillwatch {__version__} calibrate for at most {target}, in the worst of\n{logs}"


def _show(made: Calibration, *, out: Path, listing: Listing) -> None:
    fits: list[dict[str, Any]] = [_tree(f) for f in made.fits]
    claims = [c._asdict() for c in made.claims]
    if listing is Listing.csv:
        write_rows(fits, COLUMNS, listing, nothing="no log")
        return
    if listing is not Listing.human:
        whole = {"threshold": made.threshold, "log_odds_max": made.log_odds_max, "shown": made.shown}
        write_rows([whole | {"logs": fits, "claims": claims}], COLUMNS, listing, nothing="")
        return
    write_rows(fits, COLUMNS, listing, nothing="no log")
    write_rows(claims, CLAIMS, listing, nothing="no signature spoke of a benign pool")
    worst = max(f.at_chosen.per_day for f in made.fits)
    console().print(f"threshold {made.threshold:g}; in the worst log {worst:g} false cases a day; written to {out}")
    if not made.shown:
        console().print("the logs are too short to show the target: it is met in them, and no more can be said")


def _tree(row: Any) -> Any:
    """A named tuple as a plain tree."""
    if hasattr(row, "_asdict"):
        return {name: _tree(value) for name, value in row._asdict().items()}
    return row
