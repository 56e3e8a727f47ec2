"""Summary: what a replay found, in words that need no manual.

Purpose: the terminal's answer after a run: campaigns with accounts, requests, window,
why, what was decided; the rest of the traffic; rejects; signatures that were off.
Invariants: strings from logs are printed as text: control characters are replaced, no
markup is read.
Limits: ten campaigns are shown in full; all of them stand in alerts.jsonl.
"""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from detector.records import Alert, format_time
from detector.runtime.replay import FILES, Result
from detector.signatures.registry import BY_ID

SHOWN_MAX = 10


def clean(text: str) -> str:
    r"""Make a string from a log safe to print: no control characters, no markup.

    >>> clean("a\x1b[31mb[bold]")
    'a�[31mb\\[bold]'
    """
    return escape("".join(c if c.isprintable() else "\ufffd" for c in text))


def _campaign(console: Console, alert: Alert, mode: str) -> None:
    block, damage = alert.campaign, alert.damage
    if block is None or damage is None:
        return
    console.print(f"\n[bold red]{alert.severity.upper()}[/] [bold]{block.id}[/]  {clean(alert.title)}")
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("accounts", f"{block.accounts:,}  (such as {', '.join(clean(m) for m in block.members_sample[:3])})")
    table.add_row("requests", f"{block.requests:,}, {damage.output_tokens:,} output tokens")
    table.add_row("window", f"{format_time(alert.first_seen)} to {format_time(alert.last_seen)}")
    table.add_row("detected", format_time(alert.detected_at))
    for item in alert.evidence:
        if item.counted and item.log_odds > 0:
            facts = "; ".join(
                f"{name.replace('_', ' ')} {fact.value:,.3g}"
                + (f" (limit {fact.threshold:,.3g})" if fact.threshold is not None else "")
                for name, fact in list(item.facts.items())[:2]
            )
            table.add_row(f"why: {item.family}", f"{BY_ID[item.signature].title} [dim]+{item.log_odds:.1f}[/]: {facts}")
    for item in alert.evidence:
        if item.counted and item.log_odds < 0:
            table.add_row(f"against: {item.family}", f"{BY_ID[item.signature].title} {item.log_odds:.1f}")
    kinds: dict[str, int] = {}
    for link in block.links:
        kinds[link.kind] = kinds.get(link.kind, 0) + 1
    table.add_row("shared", ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
    if alert.verdict is not None:
        table.add_row("verdict", f"log-odds {alert.verdict.log_odds:.1f} against {alert.verdict.threshold:.1f}")
    table.add_row(
        "recommended",
        f"{alert.recommended_action} its accounts ({'computed only: shadow mode' if mode == 'shadow' else mode})",
    )
    console.print(table)


def print_summary(result: Result, *, out: Path, console: Console, mode: str) -> None:
    """Print the whole summary to `console`."""
    campaigns = [a for a in result.alerts if a.kind == "campaign"]
    if result.interrupted:
        console.print(
            f"[bold yellow]Interrupted[/] at event time {format_time(result.last_ms)}; "
            "what is written is complete up to there."
        )
    console.print(
        f"\n[bold]{result.rows:,} events[/] of {result.accounts:,} accounts, "
        + (f"{format_time(result.first_ms)} to {format_time(result.last_ms)}" if result.rows else "no time span")
    )
    if not campaigns:
        console.print("[bold green]No campaign found.[/]")
    for alert in campaigns[:SHOWN_MAX]:
        _campaign(console, alert, mode)
    if len(campaigns) > SHOWN_MAX:
        console.print(f"\n… and {len(campaigns) - SHOWN_MAX} more campaigns in alerts.jsonl")
    members = len(result.members)
    benign = 100.0 * (1 - members / result.accounts) if result.accounts else 100.0
    console.print(
        f"\n{result.decisions:,} decision records on {result.acted_on:,} accounts ({mode}); "
        f"{benign:.2f} % of accounts belong to no campaign."
    )
    rejects = ", ".join(f"{n:,} {reason}" for reason, n in sorted(result.rejects.items()))
    console.print(f"Rejects: {rejects or 'none'}." + (" Positions: rejects.jsonl." if rejects else ""))
    if result.rows and result.rejects["late"] * 20 > result.rows:
        console.print(
            "[yellow]Many rows are late: the input is not in time order. Sort it by event_time and replay again.[/]"
        )
    for tenant, coverage in result.coverage.items():
        off = coverage["off"]
        total = len(coverage["active"]) + len(off)
        words = "; ".join(f"{o['signature']} (no {', '.join(o['missing'])})" for o in off)
        name = f" for tenant {clean(tenant)}" if len(result.coverage) > 1 else ""
        console.print(
            f"Signatures{name}: {len(coverage['active'])} of {total} on" + (f"; off: {words}." if off else ".")
        )
    console.print("\nFiles:")
    for file in FILES:
        console.print(f"  {out / file}", highlight=False)
