"""Summary: what a replay found, in words that need no manual.

Purpose: the terminal's answer after a run: campaigns with accounts, requests, window,
why, what was decided; the rest of the traffic; rejects; signatures that were off.
Invariants: strings from logs are printed as text: control characters are replaced, no
markup is read.
Limits: ten campaigns are shown in full; all of them stand in alerts.jsonl.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from detector.records import ACTIONS, Alert, format_time
from detector.runtime.outcome import FILES, Result
from detector.runtime.printing import clean
from detector.story import facts_of, title_of
from detector.vocabulary import Action

SHOWN_MAX = 10
SWITCHED_OFF = "switched off"  # as discovery.coverage says it
_DONE: dict[Action, str] = {
    "observe": "observed",
    "throttle": "throttled (requests limited)",
    "challenge": "challenged (refused until identity is verified)",
    "block": "blocked",
}
_VETOES = {
    "allowlist": "exempt by the allow-list",
    "tier": "held back by their tier's ceiling",
    "approval": "waiting for a human's approval",
    "cap": "held back by a cap",
    "stale": "not blocked because the input lags",
    "kill_switch": "not decided because enforcement was switched off",
    "lifted": "left alone because an operator lifted their lease",
}


def _decided(alert: Alert, result: Result, mode: str) -> str:
    """What was decided about a campaign's members, strictest first."""
    assert alert.campaign is not None
    mine = [m for m in result.members if m.campaign_id == alert.campaign.id]
    held = Counter(
        result.strictest[m.tenant, m.account_id] for m in mine if (m.tenant, m.account_id) in result.strictest
    )
    if not held:
        return f"nothing: {len(mine):,} accounts left alone"
    words = [f"{held[action]:,} accounts {_DONE[action]}" for action in reversed(ACTIONS) if held[action]]
    left = len(mine) - sum(held.values())
    words += [f"{left:,} left alone"] if left else []
    end = "; computed only, nothing was enforced (shadow mode)" if mode == "shadow" else "; enforced"
    return ", ".join(words) + end


def _campaign(console: Console, alert: Alert, result: Result, *, out: Path, mode: str) -> None:
    block, damage = alert.campaign, alert.damage
    if block is None or damage is None:
        return
    status = (
        "" if alert.status in ("open", "updated") else f" [dim]({alert.status}: {clean(alert.status_reason or '')})[/]"
    )
    title = f"{clean(alert.title)}: {block.accounts:,} accounts"
    console.print(f"\n[bold red]{alert.severity.upper()}[/] [bold]{block.id}[/]  {title}{status}")
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_row("accounts", f"{block.accounts:,}, such as {', '.join(clean(m) for m in block.members_sample[:3])}")
    reasoning = f", {damage.reasoning_tokens:,} of reasoning" if damage.reasoning_tokens else ""
    cost = f", {damage.cost_usd:,.2f} USD" if damage.cost_usd else ""
    table.add_row("requests", f"{block.requests:,}; they took {damage.output_tokens:,} output tokens{reasoning}{cost}")
    table.add_row("window", f"{format_time(alert.first_seen)} to {format_time(alert.last_seen)}")
    table.add_row("detected", format_time(alert.detected_at))
    items = sorted((e for e in alert.evidence if e.counted), key=lambda e: (-e.log_odds, e.signature))
    for item in items:
        word = "why" if item.log_odds > 0 else "against"
        table.add_row(
            f"{word}: {item.family}",
            f"{title_of(item.signature)} [dim]({item.log_odds:+.1f})[/]: {clean(facts_of(item))}",
        )
    kinds = Counter(link.kind for link in block.links)
    table.add_row("they share", ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))
    if alert.verdict is not None:
        table.add_row("verdict", f"log-odds {alert.verdict.log_odds:.1f}; an alert needs {alert.verdict.threshold:.1f}")
    table.add_row("decided", _decided(alert, result, mode))
    table.add_row("read on", f"stillwatch explain alert {alert.alert_id} --in {clean(str(out))}; {alert.runbook}")
    console.print(table)


def _span(result: Result) -> str:
    if result.first_ms is None or result.last_ms is None:
        return "none of them judged"
    return f"{format_time(result.first_ms)} to {format_time(result.last_ms)}"


def _print_warnings(warnings: list[Alert], *, console: Console) -> None:
    """Print each warning once: as long as its reason lasts it comes anew every hour."""
    times: dict[tuple[str, str], list[int]] = {}
    for alert in warnings:
        times.setdefault((alert.title, alert.summary), []).append(alert.detected_at)
    for (title, summary), at in times.items():
        again = f" In {len(at)} hours, the last at {format_time(at[-1])}." if len(at) > 1 else ""
        console.print(f"\n[bold yellow]{clean(title)}[/]: {clean(summary)}{again}")


def print_summary(result: Result, *, out: Path, console: Console, mode: str) -> None:
    """Print the whole summary to `console`."""
    campaigns = [a for a in result.alerts if a.kind == "campaign"]
    if result.interrupted:
        reached = (
            f"at event time {format_time(result.last_ms)}" if result.last_ms is not None else "before the first pane"
        )
        console.print(f"[bold yellow]Interrupted[/] {reached}; what is written is complete up to there.")
    console.print(f"\n[bold]{result.rows:,} events[/] of {result.accounts:,} accounts, " + _span(result))
    if not campaigns:
        console.print("[bold green]No campaign found.[/]")
    for alert in campaigns[:SHOWN_MAX]:
        _campaign(console, alert, result, out=out, mode=mode)
    if len(campaigns) > SHOWN_MAX:
        console.print(f"\n… and {len(campaigns) - SHOWN_MAX} more campaigns in alerts.jsonl")
    _print_warnings([a for a in result.alerts if a.kind == "operational"], console=console)
    _print_rest(result, console=console)
    console.print("\nFiles:")
    for file in FILES:
        console.print(f"  {out / file}", highlight=False)


def print_scores(scores: Mapping[str, Any] | None, *, console: Console) -> None:
    """Print how a run with labels did: each campaign of the truth, and the innocent beside it."""
    if scores is None:
        return
    console.print("\nAgainst the labels:")
    for name, truth in scores["campaigns"].items():
        if not truth["found"]:
            console.print(
                f"  {clean(name)}: not found ({truth['accounts']:,} accounts, {truth['requests']:,} requests)"
            )
            continue
        console.print(
            f"  {clean(name)}: found after {truth['time_to_detect_s'] / 3600:.1f} h; {truth['leaked_requests']:,} of "
            f"{truth['requests']:,} requests ({100 * truth['leak']:.1f} %) were not contained"
        )
    innocent = scores["benign"]
    console.print(
        f"  innocent: {innocent['contained_requests']:,} of {innocent['requests']:,} requests contained, "
        f"{scores['campaigns_false']} false campaigns"
    )


def _print_rest(result: Result, *, console: Console) -> None:
    """The traffic outside campaigns, what policy and operators did, rejects, blind signatures."""
    members, requests = len(result.members), sum(m.requests for m in result.members)
    benign = 100.0 * (1 - members / result.accounts) if result.accounts else 100.0
    calm = 100.0 * (1 - requests / result.rows) if result.rows else 100.0
    console.print(
        f"\n{benign:.2f} % of the accounts and {calm:.2f} % of the requests belong to no campaign. "
        f"{result.decisions:,} decision records."
    )
    vetoes: Counter[str] = Counter()
    for judge in result.judges.values():
        vetoes.update(judge.cases.ledger.vetoes)
    if vetoes:
        words = (f"{n:,} {_VETOES.get(reason, reason)}" for reason, n in sorted(vetoes.items()))
        console.print(f"Proposals, renewals included: {', '.join(words)}.")
    _print_operators(result, console=console)
    if result.outside:
        console.print(f"{result.outside:,} events lie outside --since and --until.")
    rejects = ", ".join(f"{n:,} {reason}" for reason, n in sorted(result.rejects.items()))
    console.print(f"Rejects: {rejects or 'none'}." + (" Positions: rejects.jsonl." if rejects else ""))
    if result.rows and result.rejects["late"] * 20 > result.rows:
        console.print(
            "[yellow]Many rows are late: the input is not in time order. Sort it by event_time and replay again.[/]"
        )
    for tenant, coverage in result.coverage.items():
        off = coverage["off"]
        total = len(coverage["active"]) + len(off)
        words = (f"{o['signature']} ({_lack(o['missing'])})" for o in off)
        name = f" for tenant {clean(tenant)}" if len(result.coverage) > 1 else ""
        console.print(
            f"Signatures{name}: {len(coverage['active'])} of {total} on"
            + (f"; off: {'; '.join(words)}." if off else ".")
        )


def _lack(missing: Sequence[str]) -> str:
    """Why a signature is off.

    >>> _lack(["client_ip", "template_fp"]), _lack(["switched off"])
    ('no client_ip, template_fp', 'switched off')
    """
    return ", ".join(missing) if tuple(missing) == (SWITCHED_OFF,) else f"no {', '.join(missing)}"


def _print_operators(result: Result, *, console: Console) -> None:
    outcomes: Counter[str] = Counter()
    waiting = 0
    for judge in result.judges.values():
        outcomes.update(judge.cases.desk.outcomes)
        waiting += sum(1 for item in judge.cases.desk.waiting if item.source)
    if outcomes or waiting:
        words = [f"{n:,} {outcome.replace('_', ' ')}" for outcome, n in sorted(outcomes.items())]
        words += [f"{waiting:,} later than the last event, not acted on"] if waiting else []
        console.print(f"Operators' records: {', '.join(words)}.")
