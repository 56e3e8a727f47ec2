"""A read API as CrowdSec's, so that every bouncer that speaks it enforces our decisions.

Purpose: `/v1/decisions` (what stands, by value) and `/v1/decisions/stream` (what changed since
a bouncer's last pull), from the same transitions that other copies get.
Invariants: a pull after `startup=true` gets every change since the pull before, some twice
(an overlap, as bouncers expect), none never; deletions have negative durations. A bouncer
whose last pull is older than what is kept gets everything, as on startup.
Limits: ends are kept for `KEPT_MS`, at most `KEPT_MAX` of them. Bouncers are told apart by
their API key. Values are one effective decision each: `dedup=false` changes nothing.
Source: CrowdSec's local API; types and scopes as its bouncers rank them.
"""

import hashlib
import ipaddress
import threading
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from detector.enforce.client import now_ms
from detector.enforce.leases import Lease
from detector.enforce.transitions import Key, Transition

TYPES: Final = {"throttle": "throttle", "challenge": "captcha", "block": "ban"}
SCOPES: Final = {"account": "username", "subnet": "Range"}
OVERLAP_MS: Final = 2_000
KEPT_MS: Final = 86_400_000
KEPT_MAX: Final = 200_000


class Ended(NamedTuple):
    """A decision that does not stand any more."""

    at_ms: int
    key: Key
    lease: Lease


class Asked(NamedTuple):
    """A query's filters; empty means all."""

    scopes: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    containing: tuple[str, ...] = ()
    not_containing: tuple[str, ...] = ()


class CrowdsecCopy:
    """What stands and what has ended, for any number of bouncers."""

    def __init__(self, *, tenant: str = "default") -> None:
        """Bouncers know no tenants: one is served."""
        self.tenant = tenant
        self._lock = threading.Lock()
        self._held: dict[Key, tuple[int, Lease]] = {}  # when it began to stand here, and it
        self._ended: list[Ended] = []
        self._pulled: dict[str, int] = {}

    def reconcile(self, wanted: set[Key]) -> None:
        """End what nobody wants."""
        with self._lock:
            for key in [key for key in self._held if key not in wanted]:
                self._end(key, now_ms())

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        """Note what changed."""
        del enforcement  # the kill switch comes as transitions
        at_ms = now_ms()
        with self._lock:
            for key, lease in transitions:
                if key[0] != self.tenant:
                    continue
                if lease is None:
                    self._end(key, at_ms)
                else:
                    self._held[key] = (at_ms, lease)
            self._ended = [e for e in self._ended if at_ms - e.at_ms < KEPT_MS][-KEPT_MAX:]

    def _end(self, key: Key, at_ms: int) -> None:
        held = self._held.pop(key, None)
        if held is not None:
            self._ended.append(Ended(at_ms, key, held[1]))

    def stream(self, bouncer: str, *, startup: bool, asked: Asked) -> dict[str, list[dict[str, Any]] | None]:
        """The body of `/v1/decisions/stream`."""
        at_ms = now_ms()
        with self._lock:
            last_ms = self._pulled.get(bouncer)
            self._pulled[bouncer] = at_ms
            since_ms = 0 if startup or last_ms is None or at_ms - last_ms >= KEPT_MS else last_ms - OVERLAP_MS
            new = [lease for began_ms, lease in self._held.values() if began_ms >= since_ms]
            gone = [e.lease for e in self._ended if e.at_ms >= since_ms and e.key not in self._held]
        made = _shown(new, asked, at_ms), _shown(gone, asked, at_ms, ended=True)
        return {"new": made[0] or None, "deleted": made[1] or None}

    def matching(self, *, values: Iterable[str], asked: Asked, kind: str = "") -> list[dict[str, Any]] | None:
        """The body of `/v1/decisions`: what stands of these values (none: all); null where nothing does.

        An address or a prefix matches the subnets that it lies in.
        """
        wanted, at_ms = set(values), now_ms()
        for value in list(wanted):
            wanted.update(prefixes(value))
        with self._lock:
            leases = [lease for key, (_, lease) in self._held.items() if not wanted or key[2] in wanted]
        found = _shown(leases, asked, at_ms)
        return [row for row in found if not kind or row["type"] == kind] or None


def prefixes(value: str) -> list[str]:
    """Every prefix that an address or prefix lies in, itself too; empty for other text.

    >>> prefixes("10.1.2.3")[:3], prefixes("acct")
    (['10.1.2.3/32', '10.1.2.2/31', '10.1.2.0/30'], [])
    """
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return []
    return [str(network.supernet(new_prefix=length)) for length in range(network.prefixlen, 0, -1)]


def _shown(leases: list[Lease], asked: Asked, at_ms: int, *, ended: bool = False) -> list[dict[str, Any]]:
    rows = [_row(lease, at_ms, ended=ended) for lease in leases if ended or lease.expires_ms > at_ms]
    return [row for row in rows if _fits(row, asked)]


def _fits(row: dict[str, Any], asked: Asked) -> bool:
    scenario = row["scenario"]
    return (
        (not asked.scopes or row["scope"].lower() in asked.scopes)
        and (not asked.origins or row["origin"].lower() in asked.origins)
        and (not asked.containing or any(word in scenario for word in asked.containing))
        and not any(word in scenario for word in asked.not_containing)
    )


def _value(lease: Lease) -> str:
    address, _, length = lease.record.value.partition("/")
    whole = "128" if ":" in address else "32"
    return address if lease.record.scope == "subnet" and length == whole else lease.record.value


def _row(lease: Lease, at_ms: int, *, ended: bool) -> dict[str, Any]:
    record = lease.record
    value = _value(lease)
    scope = "Ip" if record.scope == "subnet" and value != record.value else SCOPES.get(record.scope, record.scope)
    left_ms = lease.expires_ms - at_ms
    return {
        # Bouncers want a number: the same for the same decision, and safe in JSON readers that know doubles only.
        "id": int.from_bytes(hashlib.blake2b(record.decision_id.encode(), digest_size=6).digest()),
        "uuid": record.decision_id,
        "origin": "stillwatch",
        "type": TYPES[lease.action],
        "scope": scope,
        "value": value,
        "duration": duration(min(left_ms, -1_000) if ended else left_ms),
        "scenario": f"stillwatch/{record.reason_code or 'decision'}",
        "simulated": False,
    }


def duration(ms: int) -> str:
    """Write a duration as Go does.

    >>> duration(14_397_600), duration(-1_000)
    ('3h59m57.6s', '-1s')
    """
    sign, rest = ("-", -ms) if ms < 0 else ("", ms)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds = f"{rest / 1_000:.3f}".rstrip("0").rstrip(".")
    head = f"{hours}h" if hours else ""
    return sign + head + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"
