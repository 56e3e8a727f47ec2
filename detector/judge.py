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

from detector import campaigns, decision, desk, discovery, orders
from detector.accounts import A, AccountTable
from detector.cases import Cases, Output
from detector.config import Settings, config_hash, fixed
from detector.frames import COVERED_FIELDS, ID, LINKS_FIRST, NUM, Flag, Frame, OperatorFrame
from detector.links import LinkTable
from detector.models import PopulationModel
from detector.panes import NEVER, Pane, PaneBuffer, Refused
from detector.passing import Passed
from detector.population import Population
from detector.publishing import LINK_COLUMNS
from detector.records import Coverage, Member, SignatureOff
from detector.registrations import Registrations
from detector.spill import Store
from detector.tails import Tails

I64 = npt.NDArray[np.int64]

_USER_TEXT_COLUMNS = np.concatenate([[int(ID.TEMPLATE)], np.arange(int(ID.ANCHOR), int(ID.HANDOFF))])
_USER_TEXT_COLUMNS -= LINKS_FIRST
_ELICITATION_KNOWN, _ELICITED = int(Flag.ELICITATION_KNOWN), int(Flag.ELICITED)
ACTIVE_EVERY_MS = 600_000
SPLIT_EVERY_MS = 21_600_000
DAY_MS = 86_400_000


class Judge:
    """One tenant's state and the fold over its frames."""

    def __init__(
        self, tenant: str, sources: tuple[str, ...], settings: Settings, *, store: Store | None = None
    ) -> None:
        """Start empty; the set of sources is fixed. Rows that wait beyond `rows_buffered_max` go to `store`."""
        self.tenant, self.settings = tenant, settings
        self.config_hash = config_hash(settings)
        self.buffer = PaneBuffer(
            sources,
            pane_ms=settings.pane_ms,
            lateness_ms=settings.lateness_ms,
            skew_ms_max=settings.skew_ms_max,
            store=store,
        )
        self.accounts = AccountTable(settings.tables.accounts_max)
        self.links = LinkTable(settings.tables)
        self.population = Population()
        self.tails = Tails()
        self.registrations = Registrations()
        self.passed = Passed(settings.tables.passed_max)
        self.model = PopulationModel(settings.seed)
        self.cases = Cases(
            tenant,
            settings,
            accounts=self.accounts,
            links=self.links,
            population=self.population,
            tails=self.tails,
            coverage=lambda: self.coverage()[1],
        )
        self.ask = discovery.ask  # the shell may measure around signatures
        self.note = discovery.unnoted  # and keep what they answered
        self.present = 0  # bits of COVERED_FIELDS seen so far
        self.events = 0
        self.first_ms, self.last_ms = -NEVER, NEVER
        self.active_counted_ms = NEVER
        self.discovered_ms = NEVER  # end of the last discovery interval

    # --- feeding ---------------------------------------------------------------

    def apply(self, frame: Frame) -> None:
        """Fold one frame. Raises `GapError` when it does not join."""
        self.buffer.add(frame)
        self._advance()

    def operate(self, frame: OperatorFrame) -> None:
        """Take in operators' records: they act now; timed ones when event time reaches them.

        Raises `GapError` when the frame does not join its source's last one.
        """
        for item in desk.take(self.cases.desk, frame):
            self._carry_out(item)

    def adopt(self, settings: Settings) -> None:
        """Go on under other settings, at once; only those that `config.fixed` leaves open may differ."""
        assert not fixed(self.settings, settings), fixed(self.settings, settings)
        self.settings, self.config_hash = settings, config_hash(settings)
        now_ms = max(self._decided_ms(), self.cases.stamped_ms)
        orders.adopt(self.cases, settings, now_ms=now_ms)
        self.cases.stamp(now_ms)

    def _decided_ms(self) -> int:
        """From when on what was decided up to the last boundary is in force."""
        return self.reached_ms() + self.settings.lateness_ms

    def _carry_out(self, item: desk.Waiting) -> None:
        now_ms = max(item.ingest_ms, self._decided_ms())  # an order comes after what was decided
        orders.carry_out(self.cases, item, now_ms=now_ms)
        self.cases.stamp(now_ms)

    def _operate_before(self, end_ms: int) -> None:
        """Let the timed records act that come before what is decided at a boundary takes effect."""
        while desk.due_ms(self.cases.desk) < end_ms + self.settings.lateness_ms:
            self._carry_out(self.cases.desk.waiting.pop(0))

    def tick(self, source: str, time_ms: int) -> None:
        """Let an idle source's clock advance."""
        self.buffer.tick(source, time_ms)
        self._advance()

    def end(self, source: str) -> None:
        """Close a source; when the last one ends, open panes close and discovery runs once more."""
        self.buffer.end(source)
        self._advance()
        if all(s.ended for s in self.buffer.sources.values()):
            for pane in self.buffer.open_panes():
                self._close(pane)
            if self.buffer.closed_ms > NEVER:
                self._discover(self._interval(self.buffer.closed_ms))
                self.cases.update_alerts(self.discovered_ms, final=True)
                self.cases.stamp(self.discovered_ms)

    def take_outputs(self) -> list[Output]:
        """Hand over the alerts and decisions made since the last call, in order."""
        return [output for _, output in self.take_stamped()]

    def take_stamped(self) -> list[tuple[int, Output]]:
        """The same with the event time at which each was made, which never falls: to merge several judges' outputs."""
        stamped = list(zip(self.cases.stamps, self.cases.outputs, strict=True))
        self.cases.stamps, self.cases.outputs = [], []
        return stamped

    def reached_ms(self) -> int:
        """What is made from now on is stamped no earlier than this."""
        return max(self.buffer.closed_ms, self.discovered_ms)

    def members(self) -> list[Member]:
        """List the members of every campaign, ended ones first."""
        return self.cases.members()

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
        # Of all rows, wherever they are: so a store changes no outcome.
        while self.buffer.rows > self.settings.rows_buffered_max + self.settings.rows_spilled_max:
            self._close(self.buffer.force())
        self.buffer.put_away(rows_max=self.settings.rows_buffered_max)
        mark = self.buffer.watermark_ms()
        if self.discovered_ms > NEVER and mark > NEVER:
            self._discover_until(mark // self.settings.pane_ms * self.settings.pane_ms)

    def _discover_until(self, end_ms: int) -> None:
        """Run the discoveries due before `end_ms`; intervals in which nothing can happen are skipped."""
        step = self.settings.discovery_ms
        while self.discovered_ms + step <= end_ms:
            quiet = self.accounts.n_touched == 0 and self.links.n_touched == 0
            if quiet and self.cases.quiet():
                due_ms = min(desk.due_ms(self.cases.desk), decision.buried_ms(self.cases.ledger))
                until_ms = min(end_ms, due_ms - self.settings.lateness_ms)
                skipped = max(0, (until_ms - self.discovered_ms) // step * step)
                self.discovered_ms += skipped
                if skipped:
                    continue
            self._discover(self.discovered_ms + step)

    def _close(self, number: int) -> None:
        start_ms = number * self.settings.pane_ms
        if self.discovered_ms == NEVER:
            self.discovered_ms = start_ms // self.settings.discovery_ms * self.settings.discovery_ms
        self._discover_until(start_ms)
        self._operate_before(start_ms + self.settings.pane_ms)
        pane = self.buffer.close(number)
        self.events += len(pane.order)
        self.cases.freshness.add(pane.numbers, late=self.buffer.take_late(number), end_ms=pane.end_ms)
        self._merge(pane)
        if pane.end_ms % self.settings.discovery_ms == 0:
            self._discover_until(pane.end_ms)

    def _merge(self, pane: Pane) -> None:
        names, cases = pane.names_of, self.cases
        self.passed.mark(pane.ids, pane.numbers)
        self.links.rotate(pane.end_ms)
        account_rows = self.accounts.admit(
            np.ascontiguousarray(pane.ids[:, ID.ACCOUNT]), names, pinned=cases.pinned_accounts, leaving=self._leaving
        )
        self.accounts.fold(account_rows, pane.ids, pane.numbers)
        link_rows = self.links.admit(pane.ids, LINK_COLUMNS, names, pinned=cases.pinned_links)
        self.links.fold(link_rows, pane.ids, pane.numbers)
        campaigns.shared_text(
            link_rows, _USER_TEXT_COLUMNS, self.links.stats, pane.numbers,
            account_rows, self.accounts.stats, int(A.SHARED), int(A.OPENED),
        )  # fmt: skip
        self.first_ms = min(self.first_ms, int(pane.numbers[0, NUM.TIME]))
        self.last_ms = max(self.last_ms, int(pane.numbers[-1, NUM.TIME]))
        flags = pane.numbers[:, NUM.FLAGS]
        self.population.elicitation_known += int(np.count_nonzero(flags & _ELICITATION_KNOWN))
        self.population.elicited += int(np.count_nonzero(flags & _ELICITED))
        self.present |= int(np.bitwise_or.reduce(pane.numbers[:, NUM.FIELDS]))
        cases.recent.add(pane)
        cases.match(pane, account_rows, link_rows)
        cases.stamp(pane.end_ms)

    def _leaving(self, rows: I64) -> None:
        """Account rows are about to be cleared."""
        self.population.forget(self.accounts, rows)
        self.cases.forget(rows)

    # --- discovery -------------------------------------------------------------

    def coverage(self) -> tuple[frozenset[str], Coverage]:
        """Which signatures the fields seen so far allow."""
        present = frozenset(name for bit, name in enumerate(COVERED_FIELDS) if self.present >> bit & 1)
        active, blind = discovery.coverage(present, self.settings.signatures_off)
        off = tuple(SignatureOff(signature=s, missing=missing) for s, missing in blind)
        return active, Coverage(active=tuple(sorted(active)), off=off)

    def _discover(self, end_ms: int) -> None:
        self._operate_before(end_ms)
        self.discovered_ms = end_ms
        self.cases.expire(end_ms)
        if end_ms - self.active_counted_ms >= ACTIVE_EVERY_MS:
            self.active_counted_ms = end_ms
            used = self.accounts.index.used
            self.cases.active_accounts = int((self.accounts.stats[:used, A.LAST] > end_ms - DAY_MS).sum())
            self.cases.active_tokens = int(self.accounts.tokens(np.arange(used), now_ms=end_ms).sum())
        active, _ = self.coverage()
        self.tails.refresh(self.accounts, now_ms=end_ms)
        self.registrations.refresh(self.accounts, now_ms=end_ms)
        touched = discovery.judge_accounts(self.accounts, self.population, self.tails, self.model, active, ask=self.ask)
        self.cases.review(touched, end_ms)
        for accused in discovery.judge_pools(
            self.links,
            self.accounts,
            self.population,
            self.tails,
            self.registrations,
            active,
            self.settings,
            now_ms=end_ms,
            related=bool(self.cases.campaigns),
            watched=desk.watched(self.cases.desk, now_ms=end_ms),
            ask=self.ask,
            note=self.note,
        ):
            self.cases.accuse(accused, end_ms)
        self.cases.close_idle(end_ms)
        if end_ms // SPLIT_EVERY_MS > (end_ms - self.settings.discovery_ms) // SPLIT_EVERY_MS:
            self.cases.split(end_ms)
        # At discovery only: where more links want pools than there are, they take turns of a minute.
        self.links.make_room_for_pools(self.cases.pinned_links)
        self.cases.update_alerts(end_ms, final=False)
        self.cases.stamp(end_ms)
