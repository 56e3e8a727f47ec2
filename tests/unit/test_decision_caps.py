"""`decisions caps`: how much of what policy allows is used."""

from detector.cli.decisions_caps import Traffic, usage
from detector.config import DecisionSettings
from detector.records import Approval
from tests.unit.leasing import HOUR, decision

POLICY = DecisionSettings(canary_share=0.5, blocks_per_hour_max=7)


def test_each_cap_is_shown_with_what_stands_against_it() -> None:
    standing = [
        decision("a-1", action="block", issued_at=HOUR, campaign_id="c-1"),
        decision("a-2", action="block", issued_at=HOUR, renewals=1, campaign_id="c-1"),
        decision("a-3", mode="shadow"),
        decision("a-4", action="throttle", approval=Approval(required=True, state="pending")),
        decision("b-1", tenant="other"),
    ]
    traffic = {"default": Traffic(accounts=1_000, tokens=50_000, tokens_blocked=900)}
    rows = usage(standing, {"default": POLICY}, otherwise=DecisionSettings(), traffic=traffic, at_ms=HOUR + 1)
    ours = {row["cap"]: (row["used"], row["limit"]) for row in rows if row["tenant"] == "default"}
    assert ours == {
        "contained_share": (3, 250),
        "blocked_share": (2, 5),
        "blocked_tokens_share": (900, 1_000),
        "blocks_per_hour": (1, 7),
        "blocks_per_campaign": (2, 200),
        "canary": (3, "50.0% of keys"),
        "approvals": (1, None),
    }
    other = {row["cap"]: (row["used"], row["limit"]) for row in rows if row["tenant"] == "other"}
    assert other["contained_share"] == (1, "25.0% of active")  # no worker says how many are active
    assert other["blocked_tokens_share"] == (None, "2.0% of tokens")
    assert other["blocks_per_hour"] == (0, 50)  # its judge has said nothing: what the configuration allows
    tiers = {row["cap"]: (row["limit"], row["note"]) for row in rows if row["tenant"] is None}
    assert tiers["tier internal"] == ("observe", "nobody lifts it")
    assert tiers["tier enterprise"] == ("throttle", "a human may lift it")
