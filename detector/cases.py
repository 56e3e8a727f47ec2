"""Cases: what follows from an accusation: campaigns, their alerts, their members' leases.

Purpose: the state and the steps between discovery's accused pools and what leaves the
judge. Members are matched pane by pane, so a new account of a known pool is met at once.
Invariants: outputs stand in the order in which they were made, which is a function of
events alone; a campaign is published before its first lease.
Limits: of each campaign 25 recent events are named, out of the last `RECENT_ROWS_MAX`.
Source: the safety policy and the noise rules of the operators' handbook.
"""

import itertools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from detector import alerts, campaigns, decision, desk, life, publishing
from detector.accounts import A, AccountTable
from detector.alerts import Issuer
from detector.campaigns import Campaign
from detector.config import Settings, config_hash
from detector.decision import Cause, Circumstances, Key, Tombstone
from detector.desk import Desk
from detector.discovery import Accused
from detector.frames import NUM
from detector.link_columns import BINDING_KINDS, FOUNDING_KINDS, KINDS, P
from detector.links import LinkTable
from detector.operators import Control
from detector.panes import NEVER, Pane
from detector.policy import Freshness
from detector.population import Population
from detector.publishing import Outlet
from detector.recent import Recent
from detector.records import SAMPLES_MAX, Alert, Coverage, Decision, Member
from detector.tails import Tails

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

Output = Alert | Decision | Tombstone | Control
RECENT_ROWS_MAX = 1_024
# A member that policy spares is held against policy again after this time.
SPARED_MS = 600_000


class Cases:
    """A tenant's open campaigns, the ledger of leases, and what waits to be published."""

    def __init__(
        self,
        tenant: str,
        settings: Settings,
        *,
        accounts: AccountTable,
        links: LinkTable,
        population: Population,
        tails: Tails,
        coverage: Callable[[], Coverage],
    ) -> None:
        """Start with nothing open, over the judge's tables."""
        self.tenant, self.settings, self.coverage = tenant, settings, coverage
        self.config_hash = config_hash(settings)
        self.accounts, self.links, self.population, self.tails = accounts, links, population, tails
        self.campaigns: dict[int, Campaign] = {}
        self.opened = self.active_accounts = self.active_tokens = 0
        self.ledger, self.desk = decision.Ledger(), Desk()
        self.freshness, self.outlet = Freshness(), Outlet()
        self.outputs: list[Output] = []
        self.stamps: list[int] = []  # when each output was made
        self.stamped_ms, self.recent = NEVER, Recent(RECENT_ROWS_MAX)
        self.closed_members: list[Member] = []

    def stamp(self, now_ms: int) -> None:
        """Date the outputs of the step that ends now."""
        self.stamped_ms = max(self.stamped_ms, now_ms)
        self.stamps += [self.stamped_ms] * (len(self.outputs) - len(self.stamps))

    # --- members ---------------------------------------------------------------

    def pinned_accounts(self) -> I64:
        """Rows of campaign members, within the quota: they may not be evicted."""
        keys = np.array([k for c in self.campaigns.values() if not life.sleeps(c) for k in c.members], np.uint64)
        quota = int(self.settings.tables.pinned_share_max * self.settings.tables.accounts_max)
        rows = self.accounts.index.find(keys[:quota])
        return rows[rows >= 0]

    def pinned_links(self) -> I64:
        """Rows of campaigns' core links: they may not be evicted."""
        rows = self.links.index.find(np.array([k for c in self.campaigns.values() for k in c.core], np.uint64))
        return rows[rows >= 0]

    def forget(self, rows: I64) -> None:
        """Account rows are about to be cleared: keep what their campaigns need of them."""
        stats = self.accounts.stats
        for row in rows[stats[rows, A.CAMPAIGN] > 0].tolist():
            campaign = self.campaigns.get(int(stats[row, A.CAMPAIGN]))
            member = campaign.members.get(int(self.accounts.index.keys[row])) if campaign is not None else None
            if member is not None:
                member.requests, member.first_ms = int(stats[row, A.HITS]), int(stats[row, A.HIT_FIRST])

    def match(self, pane: Pane, account_rows: I64, link_rows: I64) -> None:
        """Match a pane's rows to campaigns; new members are acted on at once, leases of active ones renewed."""
        numbers = np.zeros(len(pane.order), np.int64)
        if not self.campaigns:
            return
        tables = (self.links.stats, self.links.pools, account_rows, self.accounts.stats)
        if campaigns.match(link_rows, *tables, numbers) == 0:
            return
        for number in np.unique(np.abs(numbers[numbers != 0])).tolist():
            campaign = self.campaigns[number]
            if campaign.closed and not life.sleeps(campaign):  # resolved: its accounts stay with it while they act
                times = pane.numbers[numbers == number, NUM.TIME]
                campaign.last_ms = max(campaign.last_ms, int(times.max(initial=campaign.last_ms)))
                continue
            asleep = life.sleeps(campaign)
            if asleep and pane.end_ms - campaign.last_ms > life.WATCH_MS:
                continue
            if asleep:  # only its core wakes it
                numbers = np.maximum(numbers, 0)
            joined, due = campaigns.follow(campaign, pane, numbers, account_rows, self.accounts, now_ms=pane.end_ms)
            if joined.size:
                self.population.forget(self.accounts, joined)
            rows = np.concatenate([joined, due])
            if asleep:
                rows = self._come_back(campaign, rows, pane.end_ms)
            if rows.size:
                self.act(campaign, rows, pane.end_ms)

    def _come_back(self, campaign: Campaign, rows: I64, end_ms: int) -> I64:
        """Open a sleeping campaign again once enough accounts act as its core did; returns their rows."""
        rows = life.come_back(campaign, rows, self.accounts, self.settings.decision, now_ms=end_ms)
        if rows.size:
            life.awake(campaign)
            self.publish(campaign, end_ms)
        return rows

    def review(self, rows: I64, end_ms: int) -> None:
        """Let touched accounts join the campaigns whose links they carry and as whose core they act, or leave them."""
        at = self.circumstances(end_ms, effective_ms=end_ms + self.settings.lateness_ms)
        for _, campaign in sorted(self.campaigns.items()):
            if campaign.profile is not None and not campaign.closed:
                gone = life.dismiss(campaign, rows, self.accounts, self.tails)
                self.outputs += decision.release(self.ledger, gone, campaign.id, at=at)
                joined = campaigns.review(campaign, rows, self.accounts, self.tails, now_ms=end_ms)
                self.population.forget(self.accounts, joined)
                self.act(campaign, joined, end_ms)

    # --- accusations -----------------------------------------------------------

    def accuse(self, accused: Accused, end_ms: int) -> None:
        """Let an accused pool join the campaign of its members, or found one."""
        p = self.links.pools[accused.pool]
        kind = KINDS[int(p[P.KIND])]
        judged = accused.judged
        homes = life.homes_of(accused.pool, self.links, self.accounts)
        home = self.campaigns.get(int(p[P.CAMPAIGN]) or (homes[0] if homes else 0))
        home = home or life.home_of(int(self.links.index.keys[p[P.LINK]]), self.campaigns)
        if home is None and kind in FOUNDING_KINDS and judged.cross_account and not accused.kin:
            home = self._found(accused, end_ms)
        alike = campaigns.by_likeness(int(p[P.KIND]), judged.evidence)
        if home is None or (accused.kin and not self._kin(accused, home)):
            return
        if not life.takes_in(home, accused.pool, self.links, self.accounts, alike=alike):
            return
        if home.closed and not life.sleeps(home):
            self.links.pools[accused.pool, P.CAMPAIGN] = home.number
            return
        life.awake(home)
        if not accused.kin:
            for other in homes:
                if other in self.campaigns and other != home.number and not self.campaigns[other].closed:
                    home = self._merge(home, self.campaigns[other], end_ms)
            if home.profile is not None and not alike and kind in BINDING_KINDS:
                campaigns.bind_by_text(home, self.links)
            home.contains |= judged.contains
        if judged.verdict.log_odds > home.verdict.log_odds:
            home.verdict, home.evidence = judged.verdict, judged.evidence
            home.signature_ids = tuple(e.signature for e in judged.evidence if e.counted and e.log_odds > 0)
        joined = campaigns.enlist(
            home, accused.pool, self.links, self.accounts, tails=self.tails, end_ms=end_ms, kind=kind
        )
        home.requests = max(home.requests, int(p[P.REQUESTS]))
        self.population.forget(self.accounts, joined)
        if home.revision == 0:
            home.samples = publishing.samples_of(home, self.recent)
            self.publish(home, end_ms)
        self.act(home, joined, end_ms)

    def _kin(self, accused: Accused, home: Campaign) -> bool:
        """Say whether a pool is likely a campaign's own, as its accounts are, and the evidence then suffices."""
        verdict = accused.judged.verdict
        prior = life.kinship(accused.pool, home.number, self.links, self.accounts)
        return accused.judged.cross_account and verdict.log_odds - verdict.prior + prior >= verdict.threshold

    def _found(self, accused: Accused, end_ms: int) -> Campaign | None:
        """Open a campaign on a pool, unless too few accounts of it would be members."""
        judged = accused.judged
        bounds, founding = self.settings.verdict, int(self.links.index.keys[self.links.pools[accused.pool, P.LINK]])
        if not publishing.within_budget(self.outlet, founding, judged.verdict, bounds, now_ms=end_ms):
            return None
        tables = (accused.pool, self.links, self.accounts)
        campaign = campaigns.found(
            self.opened + 1, *tables, tenant=self.tenant, end_ms=end_ms, verdict=judged.verdict,
            evidence=judged.evidence, contains=judged.contains, tails=self.tails,
        )  # fmt: skip
        if campaigns.founders(campaign, *tables, tails=self.tails) < campaigns.FOUNDERS_MIN:
            return None
        self.opened = campaign.number
        self.campaigns[campaign.number] = campaign
        return campaign

    def _merge(self, one: Campaign, two: Campaign, end_ms: int) -> Campaign:
        """Make two campaigns one, under the older number; the other's alert says where it went."""
        stays, goes = (one, two) if one.number < two.number else (two, one)
        life.absorb(stays, goes, self.links, self.accounts)
        goes.closed = "merged"
        if goes.revision > 0:
            self.publish(goes, end_ms, absorbed_by=alerts.alert_id(stays))
        del self.campaigns[goes.number]
        # What operators lifted stays lifted; what they approved was the one, not the other.
        self.desk.lifted = {key: stays.id if held == goes.id else held for key, held in self.desk.lifted.items()}
        self.desk.approvals.pop(goes.id, None)
        return stays

    # --- leases ----------------------------------------------------------------

    def expire(self, end_ms: int) -> None:
        """End what has run out: leases, watches over campaigns, warnings; bury keys whose lease ended a day ago."""
        effective_ms = end_ms + self.settings.lateness_ms
        self.outputs += decision.bury(self.ledger, tenant=self.tenant, effective_ms=effective_ms)
        self.outputs += decision.expire(self.ledger, now_ms=end_ms, effective_ms=effective_ms)
        for number in life.expired(self.campaigns.values(), now_ms=end_ms):
            self._disband(number)
        self.outputs += publishing.settled(self.outlet, now_ms=end_ms)

    def revoke(self, key: Key, *, now_ms: int, reason: str) -> None:
        """End a lease by an operator's word, in force at once."""
        ended = decision.end(
            self.ledger, key, state="revoked", now_ms=now_ms, effective_ms=now_ms, reason=reason, origin="operator"
        )
        self.outputs.append(ended)

    def circumstances(self, now_ms: int, *, effective_ms: int) -> Circumstances:
        """What holds for every decision of this moment."""
        return Circumstances(
            tenant=self.tenant,
            now_ms=now_ms,
            effective_ms=effective_ms,
            active_accounts=self.active_accounts,
            active_tokens=self.active_tokens,
            stale=self.freshness.is_stale(self.settings.decision),
            mode=self.settings.mode if self.desk.enforcement == "on" else "shadow",
            settings=self.settings.decision,
            config_hash=self.config_hash,
        )

    def attributes_of(self, row: int) -> dict[str, int]:
        """The digests of an account's attributes that an exemption may name."""
        stats = self.accounts.stats[row]
        scopes = zip(desk.ATTRIBUTE_SCOPES, (A.ORG, A.PAYMENT), strict=True)
        return {scope: int(stats[column].astype(np.uint64)) for scope, column in scopes}

    def _spared(self, name: str, row: int, cause: Cause, now_ms: int) -> bool:
        """Say whether an operator's word keeps a member from being leased, and count it."""
        covered = desk.exempt(
            self.desk,
            scope="account",
            value=name,
            attributes=self.attributes_of(row) if self.desk.exemptions else {},
            signature_ids=cause.signature_ids,
            now_ms=now_ms,
        )
        if covered:
            decision.veto(self.ledger, "allowlist")
        elif self.desk.enforcement == "off":
            decision.veto(self.ledger, "kill_switch")
        elif self.desk.lifted.get(("account", name)) == cause.campaign_id:
            decision.veto(self.ledger, "lifted")
        else:
            return False
        return True

    def act(self, campaign: Campaign, rows: I64, end_ms: int) -> None:
        """Issue or renew the leases of members; their rows say when the next renewal is due."""
        stats = self.accounts.stats
        approval = self.desk.approvals.get(campaign.id)
        if not campaign.contains and approval is None:
            stats[rows, A.RENEW_MS] = end_ms + SPARED_MS
            return
        at = self.circumstances(end_ms, effective_ms=end_ms + self.settings.lateness_ms)
        cause = Cause(
            campaign_id=campaign.id,
            alert_id=alerts.alert_id(campaign),
            signature_ids=campaign.signature_ids,
            risk_score=alerts.risk_of(campaign),
            confidence=None,
            contains=campaign.contains,
            approval=approval,
        )
        caps: list[str] = []
        for row, tokens in zip(rows.tolist(), self.accounts.tokens(rows, now_ms=end_ms).tolist(), strict=True):
            name, made = self.accounts.index.name(row), None
            if not self._spared(name, row, cause, end_ms):
                tier, digest = int(stats[row, A.TIER]), int(self.accounts.index.keys[row])
                made, hit = decision.propose(
                    self.ledger, scope="account", value=name, digest=digest, tier_code=tier, tokens=tokens, cause=cause,
                    at=at,
                )  # fmt: skip
                caps += hit
            if made is None:
                stats[row, A.RENEW_MS] = end_ms + SPARED_MS
            else:
                # A quarter of the lease has run: early enough that an active member has no gap.
                stats[row, A.RENEW_MS] = end_ms + (made.expires_at - made.effective_at) // 4
                self.outputs.append(made)
        self.warn(tuple(caps), campaign, end_ms)

    def warn(self, caps: tuple[str, ...], campaign: Campaign, now_ms: int) -> None:
        """Publish one operational alert per cap, campaign and hour."""
        for cap in sorted(set(caps)):
            said = alerts.cap_alert(cap, campaign, issuer=self._issuer(), now_ms=now_ms)
            self.outputs += publishing.once(self.outlet, said)

    # --- life ------------------------------------------------------------------

    def close_idle(self, end_ms: int) -> None:
        """End the campaigns that have been silent for long; those that nobody closed are watched from then on."""
        for number, campaign in sorted(self.campaigns.items()):
            if life.sleeps(campaign) or end_ms - campaign.last_ms <= self.settings.decision.campaign_idle_ms:
                continue
            if campaign.closed:  # resolved: it is not watched
                self._disband(number)
                continue
            life.fall_asleep(campaign, self.accounts)
            self.desk.approvals.pop(campaign.id, None)
            self.publish(campaign, end_ms)

    def _disband(self, number: int) -> None:
        campaign = self.campaigns.pop(number)
        # What operators said about it has no object any more.
        self.desk.approvals.pop(campaign.id, None)
        self.desk.lifted = {key: held for key, held in self.desk.lifted.items() if held != campaign.id}
        self.closed_members += self.members_of(campaign)
        life.leave(number, self.links, self.accounts)

    def quiet(self) -> bool:
        """Say whether time alone changes nothing: no lease or warning stands, and no campaign but those that sleep."""
        return not (self.ledger.leases or self.outlet.warned) and all(life.sleeps(c) for c in self.campaigns.values())

    def split(self, end_ms: int) -> None:
        """Make two campaigns of one whose active members are two sets that share nothing."""
        for _, campaign in sorted(self.campaigns.items()):
            if campaign.closed or campaign.profile is not None:
                continue
            for pools in life.parts(campaign, self.links, self.accounts, now_ms=end_ms)[1:]:
                self.opened += 1
                made = life.split_off(
                    campaign, pools, self.links, self.accounts, number=self.opened, now_ms=end_ms, tenant=self.tenant
                )
                self.campaigns[made.number] = made
                made.samples = publishing.samples_of(made, self.recent)
                self.publish(made, end_ms)

    def update_alerts(self, end_ms: int, *, final: bool) -> None:
        """Publish a new revision of every campaign that has news."""
        for _, campaign in sorted(self.campaigns.items()):
            if life.note_hour(campaign, now_ms=end_ms) or publishing.has_news(
                self.outlet, campaign, self.settings.decision, now_ms=end_ms, final=final
            ):
                self.publish(campaign, end_ms)

    def _issuer(self) -> Issuer:
        return Issuer(self.tenant, self.settings, self.config_hash, self.coverage())

    def publish(self, campaign: Campaign, now_ms: int, *, absorbed_by: str | None = None) -> None:
        """Write a campaign's next revision."""
        leases = self.ledger.leases
        names = sorted(m.name for m in campaign.members.values())
        held = (leases["account", name].decision.decision_id for name in names if ("account", name) in leases)
        if campaign.revision == 0 and self.desk.approve_after_ms >= 0:
            # A replay stands in for the operator, who approves after a while.
            due_ms = now_ms + self.settings.lateness_ms + self.desk.approve_after_ms
            desk.wait(self.desk, publishing.approval(campaign, tenant=self.tenant, due_ms=due_ms))
        self.outputs += publishing.revision(
            self.outlet,
            campaign,
            issuer=self._issuer(),
            links=self.links,
            decision_ids=tuple(itertools.islice(held, SAMPLES_MAX)),
            now_ms=now_ms,
            absorbed_by=absorbed_by,
        )

    def members_of(self, campaign: Campaign) -> list[Member]:
        """List a campaign's members by name."""
        return publishing.members_of(campaign, self.accounts, tenant=self.tenant)

    def members(self) -> list[Member]:
        """List the members of every campaign, ended ones first."""
        return self.closed_members + [m for _, c in sorted(self.campaigns.items()) for m in self.members_of(c)]
