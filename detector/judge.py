"""judge: the deterministic fold over frames that orders all the steps.

Purpose: frames in, alerts and decisions out. A closed pane is merged into the tables
and matched to known campaigns; at every `discovery_ms` of event time signatures,
campaigns, verdicts and decisions run over what was touched.
Invariants: the outcome is a function of settings, key and events: not of how frames
are cut, of how sources interleave, or of when it runs. Time comes from events.
Limits: those of the tables; a gap longer than every lease and campaign is skipped.
Source: the laws in the design: determinism, cut, interleaving, redelivery, bounds.
"""

import numpy as np
import numpy.typing as npt

from detector import alerts, campaigns, decision, discovery
from detector.accounts import A, AccountTable
from detector.campaigns import Campaign
from detector.config import Settings, config_hash
from detector.frames import COVERED_FIELDS, ID, IDS, LINKS_FIRST, NUM, Flag, Frame
from detector.links import KINDS, TEXT_KINDS, L, LinkTable, P
from detector.models import PopulationModel
from detector.operators import AllowEntry
from detector.panes import NEVER, Pane, PaneBuffer, Recent, Refused
from detector.population import Population
from detector.records import SAMPLES_MAX, Alert, Coverage, Decision, Member, SignatureOff
from detector.sketches import bottom_k

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

Output = Alert | Decision
_LINK_COLUMNS = np.arange(LINKS_FIRST, IDS)
_USER_TEXT_COLUMNS = np.concatenate([[int(ID.TEMPLATE)], np.arange(int(ID.ANCHOR), IDS)]) - LINKS_FIRST
RECENT_ROWS_MAX = 1_024
ACTIVE_EVERY_MS = 600_000
DAY_MS = 86_400_000


class Judge:
    """One tenant's state and the fold over its frames."""

    def __init__(self, tenant: str, sources: tuple[str, ...], settings: Settings) -> None:
        """Start empty; the set of sources is fixed."""
        self.tenant, self.settings = tenant, settings
        self.config_hash = config_hash(settings)
        self.buffer = PaneBuffer(
            sources, pane_ms=settings.pane_ms, lateness_ms=settings.lateness_ms, skew_ms_max=settings.skew_ms_max
        )
        self.accounts = AccountTable(settings.tables.accounts_max)
        self.links = LinkTable(settings.tables)
        self.population = Population()
        self.model = PopulationModel(settings.seed)
        self.ledger = decision.Ledger()
        self.campaigns: dict[int, Campaign] = {}
        self.campaigns_opened = 0
        self.allow: list[AllowEntry] = []
        self.present = 0  # bits of COVERED_FIELDS seen so far
        self.events = 0
        self.first_ms, self.last_ms = -NEVER, NEVER
        self.active_accounts = 0
        self.active_counted_ms = NEVER
        self.discovered_ms = NEVER  # end of the last discovery interval
        self.recent = Recent(RECENT_ROWS_MAX)
        self.outputs: list[Output] = []
        self.closed_members: list[Member] = []

    # --- feeding ---------------------------------------------------------------

    def apply(self, frame: Frame) -> None:
        """Fold one frame. Raises `GapError` when it does not join."""
        self.buffer.add(frame)
        self._advance()

    def tick(self, source: str, time_ms: int) -> None:
        """Let an idle source's clock advance."""
        self.buffer.tick(source, time_ms)
        self._advance()

    def end(self, source: str) -> None:
        """Close a source; when the last one ends, open panes close and discovery runs once more."""
        self.buffer.end(source)
        self._advance()
        if all(s.ended for s in self.buffer.sources.values()):
            for pane in sorted(self.buffer.panes):
                self._close(pane)
            if self.buffer.closed_ms > NEVER:
                self._discover(self._interval(self.buffer.closed_ms))
                self._update_alerts(self.discovered_ms, final=True)

    def take_outputs(self) -> list[Output]:
        """Hand over the alerts and decisions made since the last call, in order."""
        outputs, self.outputs = self.outputs, []
        return outputs

    def take_refused(self) -> list[Refused]:
        """Hand over late, duplicate and future rows since the last call."""
        return self.buffer.take_refused()

    # --- panes -----------------------------------------------------------------

    def _interval(self, end_ms: int) -> int:
        """The end of the discovery interval that a pane end falls into."""
        step = self.settings.discovery_ms
        return -(-end_ms // step) * step

    def _advance(self) -> None:
        for pane in self.buffer.closable():
            self._close(pane)
        while self.buffer.rows > self.settings.rows_buffered_max:
            self._close(self.buffer.force())
        mark = self.buffer.watermark_ms()
        if self.discovered_ms > NEVER and mark > NEVER:
            self._discover_until(mark // self.settings.pane_ms * self.settings.pane_ms)

    def _discover_until(self, end_ms: int) -> None:
        """Run the discoveries due before `end_ms`; intervals in which nothing can happen are skipped."""
        step = self.settings.discovery_ms
        while self.discovered_ms + step <= end_ms:
            quiet = self.accounts.n_touched == 0 and self.links.n_touched == 0
            if quiet and not self.ledger.leases and not self.campaigns:
                self.discovered_ms += (end_ms - self.discovered_ms) // step * step
                return
            self._discover(self.discovered_ms + step)

    def _close(self, number: int) -> None:
        start_ms = number * self.settings.pane_ms
        if self.discovered_ms == NEVER:
            self.discovered_ms = start_ms // self.settings.discovery_ms * self.settings.discovery_ms
        self._discover_until(start_ms)
        pane = self.buffer.close(number)
        self.events += len(pane.order)
        self._merge(pane)
        if pane.end_ms % self.settings.discovery_ms == 0:
            self._discover_until(pane.end_ms)

    def _merge(self, pane: Pane) -> None:
        pinned_accounts, pinned_links = self._pinned()
        names = pane.names_of
        self.links.rotate(pane.end_ms)
        self.links.make_room_for_pools(pinned_links)
        account_rows = self.accounts.admit(
            np.ascontiguousarray(pane.ids[:, ID.ACCOUNT]),
            names,
            pinned=pinned_accounts,
            leaving=lambda rows: self.population.forget(self.accounts, rows),
        )
        self.accounts.fold(account_rows, pane.ids, pane.numbers)
        link_rows = self.links.admit(pane.ids, _LINK_COLUMNS, names, pinned=pinned_links)
        self.links.fold(link_rows, pane.ids, pane.numbers)
        shared = np.empty(len(link_rows), np.bool_)
        if campaigns.shared_text(link_rows, _USER_TEXT_COLUMNS, self.links.stats, shared):
            np.add.at(self.accounts.stats[:, A.SHARED], account_rows[shared & (account_rows >= 0)], 1)
        self.first_ms = min(self.first_ms, int(pane.numbers[0, NUM.TIME]))
        self.last_ms = max(self.last_ms, int(pane.numbers[-1, NUM.TIME]))
        flags = pane.numbers[:, NUM.FLAGS]
        self.population.elicitation_known += int(((flags & int(Flag.ELICITATION_KNOWN)) != 0).sum())
        self.population.elicited += int(((flags & int(Flag.ELICITED)) != 0).sum())
        self.present |= int(np.bitwise_or.reduce(pane.numbers[:, NUM.FIELDS]))
        self.recent.add(pane)
        if self.campaigns:
            self._match(pane, account_rows, link_rows)

    def _pinned(self) -> tuple[I64, I64]:
        """Rows of campaign members and core links, within the quota: they may not be evicted."""
        if not self.campaigns:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        members = np.array(
            [k for c in self.campaigns.values() for k, f in c.followers.items() if f.joined_ms >= 0], np.uint64
        )
        core = np.array([k for c in self.campaigns.values() for k in c.core], np.uint64)
        quota = int(self.settings.tables.pinned_share_max * self.settings.tables.accounts_max)
        accounts, links = self.accounts.index.find(members[:quota]), self.links.index.find(core)
        return accounts[accounts >= 0], links[links >= 0]

    def _match(self, pane: Pane, account_rows: I64, link_rows: I64) -> None:
        """Match a pane's rows to campaigns; new members are acted on at once, leases of active ones renewed."""
        numbers = np.zeros(len(pane.order), np.int64)
        if campaigns.match(link_rows, self.links.stats, self.links.pools, numbers) == 0:
            return
        for number in np.unique(numbers[numbers > 0]).tolist():
            campaign = self.campaigns[number]
            at = np.flatnonzero(numbers == number)
            at = at[campaigns.agrees(campaign, pane.ids[at], pane.numbers[at])]
            if at.size == 0:
                continue
            ids, rows = pane.ids[at], account_rows[at]
            labels = [self.accounts.index.name(r) if r >= 0 else "" for r in rows.tolist()]
            joined = campaigns.follow(campaign, ids, pane.numbers[at], labels, rows, self.accounts, pane.end_ms)
            self.population.forget(self.accounts, self._rows_of(joined))
            acted = dict.fromkeys(int(k) for k in ids[:, ID.ACCOUNT])
            self._act(
                campaign,
                [k for k in acted if k in campaign.followers and campaign.followers[k].joined_ms >= 0],
                pane.end_ms,
            )

    def _rows_of(self, keys: list[int]) -> I64:
        rows = self.accounts.index.find(np.array(keys, np.uint64))
        return rows[rows >= 0]

    # --- discovery -------------------------------------------------------------

    def coverage(self) -> tuple[frozenset[str], Coverage]:
        """Which signatures the fields seen so far allow."""
        present = frozenset(name for bit, name in enumerate(COVERED_FIELDS) if self.present >> bit & 1)
        active, blind = discovery.coverage(present, self.settings.signatures_off)
        off = tuple(SignatureOff(signature=s, missing=missing) for s, missing in blind)
        return active, Coverage(active=tuple(sorted(active)), off=off)

    def _discover(self, end_ms: int) -> None:
        self.discovered_ms = end_ms
        effective_ms = end_ms + self.settings.lateness_ms
        self.outputs += decision.expire(self.ledger, now_ms=end_ms, effective_ms=effective_ms)
        if end_ms - self.active_counted_ms >= ACTIVE_EVERY_MS:
            self.active_counted_ms = end_ms
            used = self.accounts.index.used
            self.active_accounts = int((self.accounts.stats[:used, A.LAST] > end_ms - DAY_MS).sum())
        active, _ = self.coverage()
        discovery.judge_accounts(self.accounts, self.population, self.model, active)
        accused = discovery.judge_pools(
            self.links, self.accounts, self.population, active, self.settings, now_ms=end_ms
        )
        for item in accused:
            self._accuse(item, end_ms)
        self._close_idle(end_ms)
        self._update_alerts(end_ms, final=False)

    def _accuse(self, accused: discovery.Accused, end_ms: int) -> None:
        """Let an accused pool join the campaign of its members, or found one (text pools only)."""
        p = self.links.pools[accused.pool]
        kind = KINDS[int(p[P.KIND])]
        judged = accused.judged
        home = self.campaigns.get(int(p[P.CAMPAIGN]))
        if home is None:
            shares = [(campaigns.overlap(c, accused.pool, self.links), -n) for n, c in sorted(self.campaigns.items())]
            best = max(shares, default=(0.0, 0))
            if best[0] >= campaigns.OVERLAP_MIN:
                home = self.campaigns[-best[1]]
        if home is None:
            if kind not in TEXT_KINDS or not judged.cross_account:
                return
            self.campaigns_opened += 1
            home = campaigns.found(
                self.campaigns_opened,
                accused.pool,
                self.links,
                self.accounts,
                tenant=self.tenant,
                end_ms=end_ms,
                verdict=judged.verdict,
                evidence=judged.evidence,
                contains=judged.cross_account and judged.families >= self.settings.verdict.families_min,
            )
            self.campaigns[home.number] = home
        elif judged.verdict.log_odds > home.verdict.log_odds:
            home.verdict, home.evidence = judged.verdict, judged.evidence
            home.signature_ids = tuple(e.signature for e in judged.evidence if e.counted and e.log_odds > 0)
        if p[P.CAMPAIGN] == 0 and len(home.core) >= campaigns.CORE_MAX:
            return
        joined = campaigns.enlist(home, accused.pool, self.links, self.accounts, end_ms, kind)
        home.requests = max(home.requests, int(p[P.REQUESTS]))
        if not home.samples:
            home.samples = self._samples(home)
        self.population.forget(self.accounts, self._rows_of(joined))
        if home.revision == 0:
            self._publish(home, end_ms)
        self._act(home, joined, end_ms)

    def _samples(self, campaign: Campaign) -> list[tuple[str, int, str]]:
        """Name recent events that carry the campaign's links."""
        core = np.array(list(campaign.core), np.uint64)
        samples: list[tuple[str, int, str]] = []
        for pane in reversed(self.recent.panes):
            hits = np.flatnonzero(np.isin(pane.ids[:, _LINK_COLUMNS], core).any(axis=1))
            names = pane.names_of
            for row in reversed(hits.tolist()):
                account = names(pane.ids[row : row + 1, ID.ACCOUNT])[0] or b""
                samples.append((pane.event_id(row), int(pane.numbers[row, NUM.TIME]), account.decode()))
                if len(samples) >= SAMPLES_MAX:
                    return samples
        return samples

    def _act(self, campaign: Campaign, keys: list[int], end_ms: int) -> None:
        """Issue leases for members, renew those of members that acted when a quarter has run."""
        if not campaign.contains:
            return
        effective_ms = end_ms + self.settings.lateness_ms
        for key in keys:
            follower = campaign.followers[key]
            held = self.ledger.leases.get(("account", follower.name))
            if held is not None:
                span = held.end_ms - held.decision.effective_at
                if held.end_ms - effective_ms > span * 3 // 4:
                    continue
            rows = self._rows_of([key])
            made = decision.propose(
                self.ledger,
                scope="account",
                value=follower.name,
                tenant=self.tenant,
                tier_code=int(self.accounts.stats[rows[0], A.TIER]) if rows.size else 0,
                active_accounts=self.active_accounts,
                now_ms=end_ms,
                effective_ms=effective_ms,
                settings=self.settings.decision,
                mode=self.settings.mode,
                config_hash=self.config_hash,
                alert_id=alerts.alert_id(campaign),
                campaign_id=campaign.id,
                signature_ids=campaign.signature_ids,
                risk_score=alerts.risk_of(campaign),
                allow=self.allow,
            )
            if made is not None:
                self.outputs.append(made)

    def _close_idle(self, end_ms: int) -> None:
        for number, campaign in sorted(self.campaigns.items()):
            if end_ms - campaign.last_ms > self.settings.decision.campaign_idle_ms:
                campaign.closed = "idle"
                self._publish(campaign, end_ms)
                self._disband(number)

    def _disband(self, number: int) -> None:
        campaign = self.campaigns.pop(number)
        self.closed_members += self.members_of(campaign)
        self.links.pools[self.links.pools[:, P.CAMPAIGN] == number, P.CAMPAIGN] = 0
        rows = self._rows_of(list(campaign.followers))
        self.accounts.stats[rows[self.accounts.stats[rows, A.CAMPAIGN] == number], A.CAMPAIGN] = 0

    def _update_alerts(self, end_ms: int, *, final: bool) -> None:
        for _, campaign in sorted(self.campaigns.items()):
            grown = campaign.requests >= 2 * campaign.alerted_requests
            due = end_ms - campaign.alerted_ms >= self.settings.decision.update_interval_ms
            news = campaign.requests != campaign.alerted_requests
            worse = campaign.severity != alerts.severity_of(campaign)
            if campaign.revision > 0 and news and (grown or due or worse or final):
                self._publish(campaign, end_ms)

    def _publish(self, campaign: Campaign, end_ms: int) -> None:
        sizes = {}
        rows = self.links.index.find(np.array(list(campaign.core), np.uint64))
        for key, row in zip(campaign.core, rows.tolist(), strict=True):
            if row >= 0 and self.links.stats[row, L.POOL] > 0:
                pool = np.array([self.links.stats[row, L.POOL] - 1])
                column = self.links.large.columns
                crowd = bottom_k.estimate(sizes=column.sizes[pool], thetas=column.thetas[pool])
                sizes[key] = (round(float(crowd.value[0])), int(self.links.stats[row, L.REQUESTS]))
        ids = [
            lease.decision.decision_id
            for f in sorted(campaign.followers.values(), key=lambda f: f.name)
            if f.joined_ms >= 0 and (lease := self.ledger.leases.get(("account", f.name))) is not None
        ]
        self.outputs.append(
            alerts.campaign_alert(
                campaign,
                tenant=self.tenant,
                settings=self.settings,
                config_hash=self.config_hash,
                coverage=self.coverage()[1],
                link_sizes=sizes,
                decision_ids=tuple(ids[:SAMPLES_MAX]),
            )
        )
        campaign.revision += 1
        campaign.alerted_ms, campaign.alerted_requests = end_ms, campaign.requests
        campaign.severity = alerts.severity_of(campaign)

    def members_of(self, campaign: Campaign) -> list[Member]:
        """List a campaign's members by name."""
        return [
            Member(
                campaign_id=campaign.id,
                account_id=f.name,
                tenant=self.tenant,
                first_seen=f.first_ms,
                requests=f.hits,
                joined_at=f.joined_ms,
            )
            for f in sorted(campaign.followers.values(), key=lambda f: f.name)
            if f.joined_ms >= 0
        ]

    def members(self) -> list[Member]:
        """List the members of every campaign, ended ones first."""
        return self.closed_members + [m for _, c in sorted(self.campaigns.items()) for m in self.members_of(c)]
