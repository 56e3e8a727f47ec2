"""`stillwatch decisions caps`: what policy allows at most, and how much of it is used."""

import urllib.request
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple
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
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.publishing import read_progress
from detector.runtime.kafka.reading import read_topic

COLUMNS = {"tenant": "tenant", "cap": "cap", "used": "used", "limit": "limit", "note": "note"}
WORKER_TIMEOUT_S = 2.0


class Traffic(NamedTuple):
    """What a judge alone knows of a tenant: accounts of 24 h, tokens of about a day, what the blocked of it used."""

    accounts: int
    tokens: int
    tokens_blocked: int


def _traffic(url: str) -> dict[str, Traffic]:
    """What a worker says, by tenant; empty where none answers."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/status", timeout=WORKER_TIMEOUT_S) as answer:  # noqa: S310 - the operator's own URL
            said = {tenant["tenant"]: tenant["caps"] for tenant in orjson.loads(answer.read())["tenants"]}
            return {
                name: Traffic(caps["active_accounts"], caps["active_tokens"], caps["blocked_tokens"])
                for name, caps in said.items()
            }
    except (URLError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _share(limit: float, whole: int | None, *, of: str = "active") -> Any:
    return f"{limit:.1%} of {of}" if whole is None else int(limit * whole)


def _policies(connection: Connection) -> dict[str, DecisionSettings]:
    """What each tenant's judge runs under, as it said with its last output."""
    latest = {}
    for record in read_topic(connection, "progress"):
        if record.value is not None:
            said = read_progress(record.value)
            latest[said.tenant] = said.newest_settings().decision
    return latest


def usage(
    standing: Sequence[Decision],
    policies: Mapping[str, DecisionSettings],
    *,
    otherwise: DecisionSettings,
    traffic: Mapping[str, Traffic],
    at_ms: int,
) -> list[Row]:
    """A row for each tenant's cap, then one for each tier's ceiling. `standing`: all that acts, in shadow too.

    `policies` are the judges' own, by tenant; `otherwise` is for a tenant whose judge has said none.
    """
    rows: list[Row] = []
    for tenant in sorted({d.tenant for d in standing} | set(traffic) | set(policies)):
        policy = policies.get(tenant, otherwise)
        ours = [d for d in standing if d.tenant == tenant]
        blocked = [d for d in ours if d.action == "block"]
        fresh = sum(d.renewals == 0 and d.issued_at // HOUR_MS == at_ms // HOUR_MS for d in blocked)
        largest = max(Counter(d.campaign_id for d in blocked if d.campaign_id).values(), default=0)
        said = traffic.get(tenant)
        accounts, tokens = (said.accounts, said.tokens) if said is not None else (None, None)
        waiting = sum(d.approval.state == "pending" for d in ours)
        control = sum(d.mode == "shadow" for d in ours)
        found: tuple[tuple[str, int | None, Any, str], ...] = (
            (
                "contained_share",
                sum(contains(d.action) for d in ours),
                _share(policy.contained_share_max, accounts),
                "accounts",
            ),
            ("blocked_share", len(blocked), _share(policy.blocked_share_max, accounts), "accounts"),
            (
                "blocked_tokens_share",
                said.tokens_blocked if said is not None else None,
                _share(policy.blocked_tokens_share_max, tokens, of="tokens"),
                "tokens of about a day, before the block",
            ),
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
        str, typer.Option(help="a judge's address: it knows how many accounts and tokens there are")
    ] = "http://127.0.0.1:9464",
    set_: Set = None,
    output: Output = None,
    config: Config = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
) -> None:
    """Show the caps, ceilings and the canary, and how much of each is used.

    They are those that the judge of each tenant runs under; of a tenant without a judge, those of the configuration.
    """
    otherwise = read_settings(config, set_ or []).decision
    connection = connect(config, bootstrap=bootstrap, prefix=prefix)
    at_ms = now_ms()
    with exits():
        policies = _policies(connection)
        standing = views.board_of(read_topic(connection, "decision-log")).in_force(at_ms)
    traffic = _traffic(worker)
    if not traffic:
        typer.echo(f"no judge answers at {worker}: limits stand as shares (--worker)", err=True)
    rows = usage(standing, policies, otherwise=otherwise, traffic=traffic, at_ms=at_ms)
    write_rows(rows, COLUMNS, chosen(output), nothing="no cap")
