"""The life of campaigns: they grow through their members, sleep, come back, become one and fall apart."""

import random
from functools import cache
from typing import Any

import numpy as np

from detector import life
from detector.accounts import A
from detector.campaigns import Campaign
from detector.discovery import Accused
from detector.encode import encode
from detector.judge import Judge
from detector.link_columns import P
from detector.records import Alert, Decision
from detector.snapshot import restore, snapshot
from detector.verdict import Judged
from tests.laws.streams import HOUR_MS, KEY, MINUTE_MS, SETTINGS, START_MS, Event, batch_of, event

ACCOUNTS = 16
ROUND_MS = 5 * HOUR_MS


def harvest(
    name: str, *, at_ms: int = START_MS, count: int = ACCOUNTS, items: int = 26, seed: int = 1, **fields: Any
) -> list[Event]:
    """Young accounts of one program and template, each with a request every ten minutes or so."""
    rng, events = random.Random(seed), []
    for account in range(count):
        time = at_ms + rng.randrange(15 * MINUTE_MS)
        for item in range(items):
            time += rng.randrange(8 * MINUTE_MS, 14 * MINUTE_MS)
            own = {
                "org_id": f"org-{name}-{account}",
                "account_created_at": at_ms - rng.randrange(24) * HOUR_MS,
                "client_ip": f"198.51.{account}.7",
                "sdk_name": "sdk-h",
                "stream": False,
                "max_tokens": 4096,
                "temperature": 0.7,
                "tool_count": 0,
                "turn_index": 0,
                "output_tokens": rng.randrange(2_500, 4_000),
                "template_fp": "t-harvest",
                "prompt_fp": f"p-{name}-{account}-{item}-{at_ms}",
                "prompt_chars": rng.randrange(900, 1_100),
                "elicitation": {"cot": 0.9},
            }
            events.append(event(0, time, f"{name}-{account}", **(own | fields)))
    return events


def ordinary(count: int = 80, *, until_ms: int = ROUND_MS) -> list[Event]:
    """Older accounts with programs, templates and paces of their own."""
    rng = random.Random(7)
    return [
        event(
            0,
            START_MS + rng.randrange(until_ms),
            f"a-{account}",
            org_id=f"o-{account}",
            account_created_at=START_MS - 400 * 24 * HOUR_MS,
            client_ip=f"203.0.113.{account % 5}",
            sdk_name=f"sdk-{account % 9}",
            turn_index=rng.randrange(4),
            template_fp=f"t-{rng.randrange(30)}",
            prompt_fp=f"po-{account}-{item}",
            output_tokens=rng.randrange(10, 900),
            prompt_chars=rng.randrange(20, 3_000),
            elicitation={"cot": 0.0},
        )
        for account in range(count)
        for item in range(14)
    ]


class Run:
    """A judge, and how far it has read."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.judge, self.read = Judge("default", ("s",), SETTINGS), 0
        self.alerts: list[Alert] = []
        self.decisions: list[Decision] = []

    def feed(self, *groups: list[Event]) -> "Run":
        """Read events in order of time, and what came of them."""
        events = sorted((e for group in groups for e in group), key=lambda e: int(e["event_time"]))
        for number, e in enumerate(events):
            e["event_id"] = f"e-{self.read + number}"
        batch, stop = batch_of(events), self.read + len(events)
        at = np.arange(self.read, stop)
        times = batch.column("event_time").to_numpy()
        for frame in encode(batch, positions=at, source="s", first=self.read, stop=stop, key=KEY, ingest_ms=times):
            self.judge.apply(frame)
        self.read = stop
        return self.take()

    def silence(self, until_ms: int) -> "Run":
        """Let time pass."""
        self.judge.tick("s", until_ms)
        return self.take()

    def take(self) -> "Run":
        """Take what was made."""
        for made in self.judge.take_outputs():
            if isinstance(made, Alert) and made.kind == "campaign":
                self.alerts.append(made)
            elif isinstance(made, Decision):
                self.decisions.append(made)
        return self

    @property
    def campaigns(self) -> list[Campaign]:
        """Those that stand, asleep or not."""
        return [c for _, c in sorted(self.judge.cases.campaigns.items())]

    def before_lease(self, name: str, events: list[Event]) -> int:
        """How many of an account's requests came before its first lease."""
        lease = min(d.effective_at for d in self.decisions if d.value == name)
        return sum(e["account_id"] == name and int(e["event_time"]) < lease for e in events)


def begun() -> Run:
    return Run().feed(ordinary(), harvest("h"))


@cache
def asleep_bytes() -> tuple[bytes, str, int]:
    """A campaign that has gone silent, as a snapshot; its id, and how far the log was read."""
    run = begun().silence(START_MS + ROUND_MS + 4 * HOUR_MS)
    (campaign,) = run.campaigns
    assert life.sleeps(campaign)
    assert run.alerts[-1].status_reason == life.IDLE
    return snapshot(run.judge, key=KEY), campaign.id, run.read


def asleep() -> tuple[Run, str]:
    data, name, read = asleep_bytes()
    run = Run()
    run.judge, run.read = restore(data, settings=SETTINGS, key=KEY), read
    return run, name


AGAIN_MS = START_MS + 30 * HOUR_MS


def test_a_campaign_is_found_and_its_members_are_leased() -> None:
    run = begun()
    (campaign,) = run.campaigns
    assert len(campaign.members) == ACCOUNTS
    assert {a.campaign.id for a in run.alerts if a.campaign} == {campaign.id}


def test_the_pool_that_takes_over_is_contained_within_two_requests_under_the_same_id() -> None:
    run, name = asleep()
    second = harvest("n", at_ms=AGAIN_MS, seed=2)
    run.feed(second)
    (campaign,) = run.campaigns
    assert campaign.id == name
    assert not campaign.closed
    assert {a.status for a in run.alerts} == {"updated"}
    early = sorted(run.before_lease(f"n-{i}", second) for i in range(ACCOUNTS))
    assert early[-1] <= 3
    assert early[ACCOUNTS // 2] <= 2


def test_fewer_than_would_found_it_do_not_wake_a_campaign() -> None:
    run, _ = asleep()
    run.feed(harvest("n", at_ms=AGAIN_MS, count=2, seed=2))
    (campaign,) = run.campaigns
    assert life.sleeps(campaign)
    assert not [d for d in run.decisions if d.state == "active"]


def test_the_text_under_another_program_does_not_wake_a_campaign() -> None:
    run, _ = asleep()
    run.feed(harvest("v", at_ms=AGAIN_MS, count=6, items=4, seed=2, sdk_name="sdk-other", max_tokens=900))
    assert life.sleeps(run.campaigns[0])
    assert not [d for d in run.decisions if d.value.startswith("v-")]


def test_a_campaign_is_watched_for_a_month_and_no_longer() -> None:
    run, name = asleep()
    run.feed(harvest("n", at_ms=START_MS + life.WATCH_MS + 12 * HOUR_MS, seed=2))
    assert name not in {c.id for c in run.campaigns}


def test_a_member_that_changes_its_text_stays_contained_and_leads_to_the_new_text() -> None:
    run = begun()
    later = START_MS + ROUND_MS - 30 * MINUTE_MS
    changed = harvest("h", at_ms=later, seed=3, template_fp="t-changed")
    joined = harvest("n", at_ms=later + 2 * HOUR_MS, count=4, seed=4, template_fp="t-changed")
    run.feed(changed, joined)
    (campaign,) = run.campaigns
    assert "t-changed" in {value for _, value in campaign.core.values()}
    assert {f"n-{i}" for i in range(4)} <= {m.name for m in campaign.members.values()}


def test_a_program_that_members_take_up_is_the_campaigns() -> None:
    run = begun()
    later = START_MS + ROUND_MS - 30 * MINUTE_MS
    moved = harvest("h", at_ms=later, seed=3, request_model="m-2")
    fresh = harvest("n", at_ms=later + 2 * HOUR_MS, count=3, seed=4, request_model="m-2")
    run.feed(moved, fresh)
    (campaign,) = run.campaigns
    assert len(campaign.programs) == 2
    assert max(run.before_lease(f"n-{i}", fresh) for i in range(3)) <= 3


def test_a_campaign_of_two_sets_that_share_nothing_falls_apart() -> None:
    run = begun()
    (campaign,) = run.campaigns
    cases = run.judge.cases
    other = harvest("g", at_ms=START_MS + ROUND_MS, seed=5, template_fp="t-other", sdk_name="sdk-g", max_tokens=777)
    run.feed(other, harvest("h", at_ms=START_MS + ROUND_MS, seed=6))
    one, two = run.campaigns
    both = {m.name for m in one.members.values()} | {m.name for m in two.members.values()}
    life.absorb(one, two, run.judge.links, run.judge.accounts)
    del cases.campaigns[two.number]
    cases.split(run.judge.discovered_ms)
    cases.stamp(run.judge.discovered_ms)
    run.take()
    one, two = run.campaigns
    assert one.id == campaign.id
    assert {m.name for m in one.members.values()} | {m.name for m in two.members.values()} == both
    assert {m.name[0] for m in two.members.values()} in ({"g"}, {"h"})
    assert run.alerts[-1].campaign is not None
    assert run.alerts[-1].campaign.id == two.id
    pools = run.judge.links.pools
    assert set(np.unique(pools[:, P.CAMPAIGN]).tolist()) == {0, one.number, two.number}
    stats = run.judge.accounts.stats
    assert int((stats[:, A.CAMPAIGN] == two.number).sum()) == len(two.members)


def test_a_pool_of_a_later_campaign_whose_accounts_act_with_an_older_one_makes_them_one() -> None:
    run = begun()
    other = harvest("g", at_ms=START_MS + ROUND_MS, seed=5, template_fp="t-other", sdk_name="sdk-g", max_tokens=777)
    run.feed(other, harvest("h", at_ms=START_MS + ROUND_MS, seed=6))
    one, two = run.campaigns
    stats, pools = run.judge.accounts.stats, run.judge.links.pools
    stats[np.flatnonzero(stats[:, A.CAMPAIGN] == two.number)[:-4], A.CAMPAIGN] = one.number
    judged = Judged(two.verdict, two.evidence, families=3, cross_account=True, contains=True)
    run.judge.cases.accuse(
        Accused(int(np.flatnonzero(pools[:, P.CAMPAIGN] == two.number)[0]), judged), run.judge.discovered_ms
    )
    assert [c.id for c in run.campaigns] == [one.id]


def test_a_campaign_of_one_program_stays_whole() -> None:
    run = begun()
    before = run.campaigns[0].id
    run.judge.cases.split(run.judge.discovered_ms)
    assert [c.id for c in run.campaigns] == [before]
