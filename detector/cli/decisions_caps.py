"""`stillwatch decisions caps`: what policy allows at most, and how much of it is used."""

import urllib.request
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any
from urllib.error import URLError

import orjson
import typer

from detector.cli.common import read_settings
from detector.cli.live import connect, exits
from detector.cli.options import Bootstrap, Config, Output, Prefix, Set
from detector.cli.orders import now_ms
from detector.cli.output import Row, chosen, write_rows
from detector.config import DecisionSettings
from detector.policy import HOUR_MS, LIFTABLE, TIER_CEILING, contains
from detector.records import Decision
from detector.runtime.kafka import views
from detector.runtime.kafka.reading import read_topic

COLUMNS = {"tenant": "tenant", "cap": "cap", "used": "used", "limit": "limit", "note": "note"}
WORKER_TIMEOUT_S = 2.0


def _active(url: str) -> dict[str, int]:
    """By tenant: the accounts that acted in 24 h, as a worker says; empty where none answers."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/status", timeout=WORKER_TIMEOUT_S) as answer:  # noqa: S310 - the operator's own URL
            tenants = orjson.loads(answer.read())["tenants"]
    except (URLError, OSError, ValueError, KeyError):
        return {}
    return {tenant["tenant"]: tenant["caps"]["active_accounts"] for tenant in tenants}


def usage(standing: Sequence[Decision], policy: DecisionSettings, *, active: dict[str, int], at_ms: int) -> list[Row]:
    """A row for each tenant's cap, then one for each tier's ceiling. `standing`: all that acts, in shadow too."""
    rows: list[Row] = []
    for tenant in sorted({d.tenant for d in standing} | set(active)):
        ours = [d for d in standing if d.tenant == tenant]
        blocked = [d for d in ours if d.action == "block"]
        fresh = sum(d.renewals == 0 and d.issued_at // HOUR_MS == at_ms // HOUR_MS for d in blocked)
        largest = max(Counter(d.campaign_id for d in blocked if d.campaign_id).values(), default=0)
        accounts = active.get(tenant)

        def share(limit: float, accounts: int | None = accounts) -> Any:
            return f"{limit:.1%} of active" if accounts is None else int(limit * accounts)

        waiting = sum(d.approval.state == "pending" for d in ours)
        control = sum(d.mode == "shadow" for d in ours)
        found: tuple[tuple[str, int, Any, str], ...] = (
            ("contained_share", sum(contains(d.action) for d in ours), share(policy.contained_share_max), "accounts"),
            ("blocked_share", len(blocked), share(policy.blocked_share_max), "accounts"),
            ("blocks_per_hour", fresh, policy.blocks_per_hour_max, "new ones, of those that stand"),
            ("blocks_per_campaign", largest, policy.blocks_per_campaign_max, "of the campaign with most"),
            ("canary", len(ours) - control, f"{policy.canary_share:.1%} of keys", f"enforced; {control} in shadow"),
            ("approvals", waiting, None, "wait for a human"),
        )
        rows += [
            {"tenant": tenant, "cap": cap, "used": used, "limit": limit, "note": note}
            for cap, used, limit, note in found
        ]
    for tier, action in TIER_CEILING.items():
        note = "a human may lift it" if tier in LIFTABLE else "nobody lifts it"
        rows.append({"tenant": None, "cap": f"tier {tier}", "used": None, "limit": action, "note": note})
    rows.append({"tenant": None, "cap": "other tiers", "used": None, "limit": "block", "note": "unknown ones too"})
    return rows


def caps(
    worker: Annotated[
        str, typer.Option(help="a judge's address, for how many accounts are active")
    ] = "http://127.0.0.1:9464",
    set_: Set = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show the caps, ceilings and the canary of the configuration, and how much of each is used."""
    policy = read_settings(config, set_ or []).decision
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    at_ms = now_ms()
    with exits():
        standing = views.board_of(read_topic(connection, "decision-log")).in_force(at_ms)
    write_rows(usage(standing, policy, active=_active(worker), at_ms=at_ms), COLUMNS, chosen(output), nothing="no cap")
