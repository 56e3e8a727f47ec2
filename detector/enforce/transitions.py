"""What an enforcer outside this process must be told, and when: a lease begins, changes or ends.

Purpose: turn a table of leases into a queue of transitions for adapters that hold a copy
elsewhere (Redis, a webhook, a gateway's own lists).
Invariants: for each key the last transition handed out says what acts now; one that could
not be delivered stays due, and is replaced by what is true when it is tried again, so a
copy that was away never gets a stale order. Moments of effect and end are found without
walking the table.
Limits: as old as the call of `due`. One heap entry for each record and moment; entries of
replaced records are dropped when their moment comes.
Source: reconcile loops, as the bouncers that lose decisions silently lack them.
"""

import heapq
from typing import NamedTuple

from detector.enforce.leases import Lease, LeaseTable

Key = tuple[str, str, str]  # tenant, scope, value


class Transition(NamedTuple):
    """What must hold of a key from now on; None: nothing."""

    key: Key
    lease: Lease | None


class Transitions:
    """Follows one table for one consumer."""

    def __init__(self, table: LeaseTable) -> None:
        """Begin with everything that the table holds due."""
        self._moments: list[tuple[int, Key]] = []
        self._due: dict[Key, None] = {}
        self._shown: dict[Key, Lease] = {}
        self.follow(table)

    def follow(self, table: LeaseTable) -> None:
        """Go on with this table, such as one that was read anew: all that was shown or is held is due."""
        self.table = table
        self._due |= dict.fromkeys(self._shown)
        for key in table:
            self.touch(key)

    def touch(self, key: Key) -> None:
        """A record of this key has come."""
        self._due[key] = None
        tenant, scope, value = key
        held = self.table.get(tenant=tenant, scope=scope, value=value)
        for lease in (held.now, held.before) if held is not None else ():
            if lease is not None:
                for moment_ms in (lease.effective_ms, lease.expires_ms):
                    heapq.heappush(self._moments, (moment_ms, key))

    def touch_all(self) -> None:
        """Something that concerns every key has come: the kill switch."""
        self._due |= dict.fromkeys(self._shown)
        self._due |= dict.fromkeys(self.table)

    def due(self, *, now_ms: int) -> list[Transition]:
        """What a consumer does not know yet, in the order in which it became due. `delivered` takes it off."""
        while self._moments and self._moments[0][0] <= now_ms:
            self._due.setdefault(heapq.heappop(self._moments)[1])
        out = []
        for key in list(self._due):
            lease = self._now(key, now_ms)
            if lease == self._shown.get(key):
                del self._due[key]
            else:
                out.append(Transition(key, lease))
        return out

    def delivered(self, transition: Transition) -> None:
        """The consumer knows; should the truth have changed since, it is due again."""
        if transition.lease is None:
            self._shown.pop(transition.key, None)
        else:
            self._shown[transition.key] = transition.lease

    def forget(self) -> None:
        """The consumer has lost its copy: everything that is to be held is due."""
        self._shown.clear()
        self.touch_all()

    def effect_ms(self, key: Key, *, now_ms: int) -> int:
        """Since when, or from when on, what holds of a key holds; 0 where nothing is known of it."""
        tenant, scope, value = key
        held = self.table.get(tenant=tenant, scope=scope, value=value)
        if held is None or held.removed:
            return 0
        ended = held.now.record.state == "active" and held.now.expires_ms <= now_ms
        return held.now.expires_ms if ended else held.now.effective_ms

    @property
    def shown(self) -> int:
        """How many keys the consumer holds."""
        return len(self._shown)

    def _now(self, key: Key, now_ms: int) -> Lease | None:
        tenant, scope, value = key
        return self.table.in_force(tenant=tenant, scope=scope, value=value, now_ms=now_ms)
