"""Policy: what may be done to one account, given what was asked, and what stands already.

Purpose: the ladder's limits in one pure function: tier ceilings, caps on blocking and on
containing, staleness, and what needs a human.
Invariants: `rule` never answers more than was asked for; whoever stands at an action
already is not counted against its cap again. An approval lifts an enterprise's ceiling,
the cap of its campaign and the cap on containing; the caps on blocks by the hour, by
share of accounts and by share of tokens stay, so that one slip of a hand cannot shut out a customer base.
Limits: hours are those of event time (tumbling), so two neighbouring hours may hold
twice the cap within sixty minutes. Shares are of the accounts that acted in 24 h, and of the tokens of about a day
(`volume`); where no request's tokens are known there is no share of them to exceed.
Source: the operators' safety policy (conservative defaults, shadow on install).
"""

from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from detector.config import DecisionSettings
from detector.events import TIERS
from detector.frames import NUM
from detector.records import ACTIONS
from detector.vocabulary import Action

TIER_CEILING: dict[str, Action] = {"internal": "observe", "enterprise": "throttle"}
# The ceilings that a human may lift.
LIFTABLE = frozenset({"enterprise"})
HOUR_MS = 3_600_000


def stricter(action: Action, than: Action) -> bool:
    """Compare two rungs of the ladder.

    >>> stricter("block", "challenge")
    True
    """
    return ACTIONS.index(action) > ACTIONS.index(than)


def contains(action: Action | None) -> bool:
    """Say whether an action keeps requests out until something happens."""
    return action in ("challenge", "block")


def ceiling(tier_code: int, *, approved: bool = False) -> Action:
    """The strictest action that an account's tier allows; unknown tiers allow all."""
    tier = TIERS[tier_code - 1] if tier_code else ""
    return "block" if approved and tier in LIFTABLE else TIER_CEILING.get(tier, "block")


def wanted(*, contains_campaign: bool, confidence: float | None, settings: DecisionSettings) -> Action:
    """What the engine itself asks for: block only where a calibrated confidence says so."""
    if not contains_campaign:
        return "throttle"
    return "block" if confidence is not None and confidence >= settings.block_confidence_min else "challenge"


def in_canary(digest: int, settings: DecisionSettings) -> bool:
    """Say whether a key is among those that are enforced on; `digest` is its keyed hash, so nobody can choose to be.

    >>> in_canary(1 << 63, DecisionSettings(canary_share=0.4)), in_canary(1 << 62, DecisionSettings(canary_share=0.4))
    (False, True)
    """
    return digest < settings.canary_share * 2.0**64


class Counts(NamedTuple):
    """What stands: accounts contained and blocked, those that acted in the last 24 h, and tokens of about a day."""

    contained: int
    blocked: int
    blocked_of_campaign: int
    blocks_in_hour: int
    active: int
    tokens: int  # of the account in question
    tokens_blocked: int  # of the accounts that are blocked, before they were
    tokens_active: int  # of all accounts


class Ruling(NamedTuple):
    """What is done, what a human may raise it to, and what stood in the way."""

    action: Action
    proposed: Action | None
    vetoes: tuple[str, ...]
    caps: tuple[str, ...]


def _block_cap(counts: Counts, settings: DecisionSettings, *, approved: bool) -> str | None:
    if counts.blocks_in_hour + 1 > settings.blocks_per_hour_max:
        return "blocks_per_hour"
    if counts.blocked + 1 > settings.blocked_share_max * counts.active:
        return "blocked_share"
    if counts.tokens_blocked + counts.tokens > settings.blocked_tokens_share_max * counts.tokens_active:
        return "blocked_tokens_share"
    if not approved and counts.blocked_of_campaign + 1 > settings.blocks_per_campaign_max:
        return "blocks_per_campaign"
    return None


def rule(
    asked: Action,
    *,
    held: Action | None,
    tier_code: int,
    approved: bool,
    stale: bool,
    counts: Counts,
    settings: DecisionSettings,
) -> Ruling:
    """Hold one request for an action against policy; `held` is what the account stands at now."""
    action, human = asked, False
    vetoes: list[str] = []
    caps: list[str] = []
    limit = ceiling(tier_code, approved=approved)
    if stricter(action, limit):
        action, human = limit, limit != "observe"
        vetoes += ["tier", "approval"] if human else ["tier"]
    if action == "block" and held != "block":
        cap = _block_cap(counts, settings, approved=approved)
        if stale:
            vetoes.append("stale")
            action = "challenge"
        elif cap is not None:
            caps.append(cap)
            action, human = "challenge", human or cap == "blocks_per_campaign"
    room = settings.contained_share_max * counts.active
    if contains(action) and not contains(held) and not approved and counts.contained + 1 > room:
        caps.append("contained_share")
        action, human = "throttle", True
    vetoes += ["cap"] * len(caps)
    return Ruling(action, asked if human else None, tuple(vetoes), tuple(caps))


class Freshness(msgspec.Struct):
    """Whether input keeps up, as frames with ingest times say it: lag of the last pane, late rows of two hours."""

    lag_ms: int = -1  # -1: no row with an ingest time was seen
    hour: int = 0
    rows: int = 0
    late: int = 0
    rows_before: int = 0
    late_before: int = 0

    def add(self, numbers: npt.NDArray[np.int64], *, late: int, end_ms: int) -> None:
        """Take in a closed pane: its rows, and the rows refused as late while it was current."""
        hour = end_ms // HOUR_MS
        if hour != self.hour:
            near = hour == self.hour + 1
            self.rows_before, self.late_before = (self.rows, self.late) if near else (0, 0)
            self.hour, self.rows, self.late = hour, 0, 0
        self.rows += len(numbers)
        self.late += late
        stamped = numbers[:, NUM.INGEST] >= 0
        if stamped.any():
            # The freshest row speaks for the pane: a few that were held up somewhere do not veto.
            self.lag_ms = int((numbers[stamped, NUM.INGEST] - numbers[stamped, NUM.TIME]).min())

    def is_stale(self, settings: DecisionSettings) -> bool:
        """Say whether input lags or comes late; never for input without ingest times."""
        if self.lag_ms < 0:
            return False
        late = self.late + self.late_before
        rows = self.rows + self.rows_before + late
        return self.lag_ms > settings.stale_ms or late > settings.late_share_max * rows
