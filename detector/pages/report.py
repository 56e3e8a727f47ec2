"""Report: a run's directory as one page.

Purpose: `report.html`: what was found, why, how well, what would have been done, on what data, and
how to get it again; one file that loads nothing.
Invariants: a function of the directory's files; equal files give equal bytes. Without labels
every section that needs them says so.
Limits: the 50 alerts of the greatest risk are explained, the rest are counted; under five
megabytes whatever the run was.
Source: the fourteen points of the operators' handbook.
"""

from pathlib import Path

from detector.pages.blocks import Cards, Code, Note, Section
from detector.pages.cards import card_of
from detector.pages.compare import compare_blocks
from detector.pages.decisions import decision_section
from detector.pages.mistakes import false_section, missed_section
from detector.pages.overview import data_section, overview, reproduce_section, settings_section
from detector.pages.rendering import Page, report_html
from detector.pages.run_files import RunFiles, read_files
from detector.pages.state import done_words
from detector.pages.thresholds import signature_section, threshold_section
from detector.pages.truth import leak_section, truth_section
from detector.pages.words import count, when
from detector.records import parse_time

FILE = "report.html"
ALERTS_SHOWN = 50
OPENED = 1  # cards whose evidence is unfolded


def _alerts(run: RunFiles) -> Section:
    """The alerts of the greatest risk, explained."""
    families_min = run.manifest["settings"]["verdict"]["families_min"]
    mode = run.manifest["settings"].get("mode", "shadow")
    # What an operator should read first: campaigns, then the meta-alerts, by risk.
    order = sorted(run.alerts, key=lambda a: (a.kind == "operational", -a.risk_score, a.detected_at, a.alert_id))
    cards = tuple(
        card_of(
            alert,
            name=f"alert-{place}",
            families_min=families_min,
            done=done_words(run.decided.by_campaign.get(alert.campaign.id, {}), mode=mode) if alert.campaign else "",
            open_=place < OPENED,
        )
        for place, alert in enumerate(order[:ALERTS_SHOWN])
    )
    rest = len(order) - len(cards)
    more = (Note(f"{rest:,} more alerts stand in alerts.jsonl.", "muted"),) if rest > 0 else ()
    return Section("alerts", "Alerts, explained", (Cards(cards, "No alert was raised."), *more))


def _compared(run: RunFiles, other: RunFiles | None) -> Section:
    """This run beside another one."""
    heading = "Compared with another run"
    if other is None:
        told = Code("No other run was given. To see what a change of settings does:", "stillwatch diff RUN_A RUN_B")
        return Section("compared", heading, (told,))
    return Section("compared", heading, compare_blocks(other, run))


def _lead(run: RunFiles) -> str:
    first, last = (run.metrics[name] for name in ("first_event", "last_event"))
    span = f"{when(parse_time(first))} to {when(parse_time(last))} UTC" if first and last else "no event was judged"
    mode = run.manifest["settings"].get("mode", "shadow")
    return (
        f"{count(run.metrics['events'])} events, {span}. {mode.capitalize()} mode, "
        f"settings {run.manifest['config_hash']}, stillwatch {run.manifest['version']}."
    )


def report_page(run: RunFiles, *, other: RunFiles | None = None) -> Page:
    """All the sections, the answer first."""
    sections = (
        overview(run),
        _alerts(run),
        leak_section(run),
        truth_section(run),
        false_section(run),
        missed_section(run),
        threshold_section(run),
        signature_section(run),
        decision_section(run),
        data_section(run),
        settings_section(run),
        _compared(run, other),
        reproduce_section(run),
    )
    return Page("Replay report", _lead(run), sections)


def write_report(folder: Path, *, out: Path | None = None, against: Path | None = None) -> Path:
    """Write the report of a run's directory to `out`, else beside its files; returns where it went.

    Raises `OSError` where a file is missing and `SchemaError` where one is damaged.
    """
    run = read_files(folder)
    page = report_page(run, other=read_files(against) if against is not None else None)
    path = out if out is not None else folder / FILE
    path.write_text(report_html(page), encoding="utf-8")
    return path
