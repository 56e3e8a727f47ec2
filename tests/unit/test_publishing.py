"""The noise rules: when a campaign has news, and what a storm of alerts becomes."""

from typing import Any

import pytest

from detector.alerts import Issuer
from detector.campaigns import Campaign, Joined
from detector.config import DecisionSettings, Settings, TableSettings, config_hash
from detector.links import LinkTable
from detector.publishing import Outlet, has_news, revision, settled
from detector.records import Alert, Coverage, Verdict

HOUR_MS, MINUTE_MS = 3_600_000, 60_000
START_MS = 1_782_050_400_000 // HOUR_MS * HOUR_MS
LINKS = LinkTable(TableSettings(links_max=1_024, accounts_max=1_024, promoted_max=1))


def campaign(number: int = 1, **more: Any) -> Campaign:
    fields: dict[str, Any] = {
        "number": number,
        "id": f"c-{number:016x}",
        "opened_ms": START_MS,
        "first_ms": START_MS - HOUR_MS,
        "core": {},
        "programs": [],
        "single_turn": True,
        "no_tools": True,
        "profile": [],
        "requests": 100,
        "output_tokens": 0,
        "reasoning_tokens": 0,
        "cost_micro_usd": 0,
        "last_ms": START_MS,
        "verdict": Verdict(log_odds=3.0, prior=-8.0, cap=5.0, threshold=2.5),
        "evidence": (),
        "signature_ids": ("c1_shared_template",),
        "contains": True,
        "members": {1: Joined("acct_1", START_MS, START_MS, 100)},
    }
    return Campaign(**fields | more)


class Desk:
    """An outlet, and what left it."""

    def __init__(self, **policy: Any) -> None:
        self.policy = DecisionSettings(**policy)
        settings = Settings(decision=self.policy)
        self.outlet, self.issuer = Outlet(), Issuer("default", settings, config_hash(settings), Coverage())

    def revisions(self, held: Campaign, now_ms: int) -> list[Alert]:
        return revision(self.outlet, held, issuer=self.issuer, links=LINKS, decision_ids=(), now_ms=now_ms)

    def publish(self, held: Campaign, now_ms: int) -> list[str]:
        said = self.revisions(held, now_ms)
        return [a.title if a.kind == "operational" else a.status for a in said]

    def news(self, held: Campaign, now_ms: int, *, final: bool = False) -> bool:
        return has_news(self.outlet, held, self.policy, now_ms=now_ms, final=final)


@pytest.mark.parametrize(
    ("requests", "members", "minutes", "news"),
    [
        (100, 1, 60, False),  # nothing happened
        (199, 1, 14, False),  # grown, but not twofold, and not long ago
        (200, 1, 1, True),  # doubled
        (101, 1, 15, True),  # the interval is over
        (100_000, 1, 1, True),  # critical by size
        (101, 1_000, 1, True),  # critical by accounts
    ],
)
def test_a_campaign_has_news_when_it_doubled_got_worse_or_the_interval_is_over(
    requests: int, members: int, minutes: int, *, news: bool
) -> None:
    desk, held = Desk(), campaign()
    assert desk.publish(held, START_MS) == ["open"]
    held.requests = requests
    held.members = {n: Joined(f"acct_{n}", START_MS, START_MS, 1) for n in range(members)}
    assert desk.news(held, START_MS + minutes * MINUTE_MS) is news


def test_a_storm_is_one_alert_and_what_it_held_back_opens_when_there_is_room() -> None:
    desk = Desk(alerts_per_hour_max=2)
    held = [campaign(number) for number in range(1, 6)]
    said = [desk.publish(one, START_MS + one.number) for one in held]
    assert said == [["open"], ["open"], ["Alert storm", "suppressed"], ["suppressed"], ["suppressed"]]
    # What was held back stays so while its hour lasts, however it grows.
    held[2].requests = 250
    assert desk.news(held[2], START_MS + MINUTE_MS)
    assert desk.publish(held[2], START_MS + MINUTE_MS) == ["suppressed"]
    # The next hour has room for two; nothing new needs to have happened.
    later = START_MS + HOUR_MS
    heard = [(one.number, desk.publish(one, later)) for one in held[2:] if desk.news(one, later)]
    assert heard == [(3, ["updated"]), (4, ["updated"])]
    assert desk.news(held[4], later + MINUTE_MS) is False
    assert desk.news(held[4], later + HOUR_MS) is True


def test_what_was_held_back_ends_without_having_been_heard() -> None:
    desk, held = Desk(alerts_per_hour_max=0), campaign()
    assert desk.publish(held, START_MS) == ["Alert storm", "suppressed"]
    held.closed = "idle"
    assert desk.news(held, START_MS + 9 * HOUR_MS) is False
    assert desk.publish(held, START_MS + 9 * HOUR_MS) == ["resolved"]
    assert desk.publish(campaign(2), START_MS + 9 * HOUR_MS) == ["Alert storm", "Alert storm", "suppressed"]


def test_an_operational_alert_is_resolved_when_its_hour_is_over_and_the_next_hour_has_its_own() -> None:
    desk = Desk(alerts_per_hour_max=0)
    (storm, _) = desk.revisions(campaign(1), START_MS)
    assert settled(desk.outlet, now_ms=START_MS + HOUR_MS - 1) == []
    over, again, _ = desk.revisions(campaign(2), START_MS + HOUR_MS)
    assert (over.alert_id, over.dedup_key, over.revision) == (storm.alert_id, storm.dedup_key, 1)
    assert (storm.status, over.status, again.status) == ("open", "resolved", "open")
    assert again.alert_id != over.alert_id
    (last,) = settled(desk.outlet, now_ms=START_MS + 2 * HOUR_MS)
    assert (last.alert_id, last.status) == (again.alert_id, "resolved")
    assert not desk.outlet.warned


def test_all_revisions_of_a_campaign_have_one_key_and_one_title() -> None:
    desk, held = Desk(), campaign()
    said = []
    for step in range(3):
        held.requests *= 2
        said += revision(
            desk.outlet, held, issuer=desk.issuer, links=LINKS, decision_ids=(), now_ms=START_MS + step * HOUR_MS
        )
    assert len({a.dedup_key for a in said}) == len({a.title for a in said}) == len({a.alert_id for a in said}) == 1
    assert [a.revision for a in said] == [0, 1, 2]
    assert not any(c.isdigit() for c in said[0].title)
