"""`stillwatch peers`: what others' detectors would have done with the same log."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from detector.cli.common import EXIT_INPUT, EXIT_USAGE, fail, note, read_key, read_settings
from detector.cli.options import Config, KeyFile, Labels, Output, Set
from detector.cli.output import Listing, chosen, write_rows
from detector.records import DetectorError
from detector.runtime.printing import printable
from detector.tuning.peers import PEERS
from detector.tuning.peers.compare import OURS, Outcome, better, given, names_for, ours, peer, row

COLUMNS = {
    "detector": "peer",
    "threshold": "threshold",
    "collateral there, ppm": "validation_ppm",
    "collateral, ppm": "collateral_ppm",
    "leak": "leak",
    "by campaign": "by_campaign",
    "ours is better at": "ours_better",
    "worse at": "ours_worse",
}


def peers(
    raw: Annotated[list[str], typer.Argument(metavar="RAW", help="the test log, with raw text for those that need it")],
    labels: Labels,
    validation: Annotated[
        list[str] | None, typer.Option(metavar="RAW", help="the log on which thresholds are chosen; else the same one")
    ] = None,
    validation_labels: Annotated[Path | None, typer.Option(help="its ground truth")] = None,
    collateral_ppm: Annotated[
        float | None, typer.Option(help="benign requests per million that a peer may contain; else what ours does")
    ] = None,
    only: Annotated[str, typer.Option(help="peers, separated by commas")] = ",".join(PEERS),
    out: Annotated[Path | None, typer.Option(help="JSON of every score")] = None,
    config: Config = None,
    set_: Set = None,
    output: Output = None,
    key_file: KeyFile = None,
) -> None:
    """Score others' detectors beside ours on one log, each at the same collateral on another."""
    settings, (key, _) = read_settings(config, set_ or []), read_key(key_file)
    wanted = [name for name in only.split(",") if name]
    unknown = sorted(set(wanted) - set(PEERS))
    if unknown:
        raise fail(f"--only {', '.join(unknown)}: there are {', '.join(PEERS)}", code=EXIT_USAGE)
    if bool(validation) != (validation_labels is not None):
        raise fail("--validation and --validation-labels go together", code=EXIT_USAGE)
    try:
        test = chosen_on = given(raw, labels=labels, key=key)
        if validation and validation_labels is not None:
            chosen_on = given(validation, labels=validation_labels, key=key)
        else:
            note("thresholds are chosen on the log that they are scored on, which flatters others: see --validation")
        there = ours(chosen_on, settings=settings, key=key)["benign"]["collateral_ppm"] or 0.0
        mine = Outcome(OURS, None, there, ours(test, settings=settings, key=key))
        budget = there if collateral_ppm is None else collateral_ppm
        able = names_for(test.log, wanted)
        outcomes = [mine]
        for name in able:
            note(f"{name} ...")
            outcomes.append(peer(name, test=test, validation=chosen_on, collateral_ppm=budget, key=key))
    except (DetectorError, OSError) as wrong:
        raise fail(printable(str(wrong)), code=EXIT_INPUT) from wrong
    rows = [_against(row(o), row(mine)) for o in outcomes]
    if out is not None:
        out.write_bytes(orjson.dumps([o._asdict() for o in outcomes], option=orjson.OPT_INDENT_2))
    listing = chosen(output)
    if listing in (Listing.human, Listing.csv):
        for said in rows:
            leaks = said["campaigns"].items()
            said["by_campaign"] = ", ".join(f"{name} {100 * c['leak']:.1f} %" for name, c in leaks)
    write_rows(rows, COLUMNS, listing, nothing="no detector")
    if set(able) != set(wanted):
        note(f"left out, they need raw text: {', '.join(sorted({*wanted} - {*able}))}")


def _against(said: dict[str, Any], mine: dict[str, Any]) -> dict[str, Any]:
    """Add at how many campaigns ours is better, and worse, outside the intervals."""
    pairs = [(mine["campaigns"][n]["leak_interval"], c["leak_interval"]) for n, c in said["campaigns"].items()]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    told = {"ours_better": sum(better(a, b) for a, b in known), "ours_worse": sum(better(b, a) for a, b in known)}
    return said | (told if said["peer"] != OURS else {"ours_better": None, "ours_worse": None})
