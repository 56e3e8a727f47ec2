"""The decisions that stand, for whoever must answer "may this request pass?" in microseconds.

Purpose: fold records of the decisions topic into a table, and look up a request's strictest
decision in it.
Invariants: a record counts only if its `seq` is greater than the last one of its key; a
record acts from its `effective_at` on, and until then the one before it does; a lease ends
at its `expires_at` by the clock that is passed in, whatever else is heard or not heard. The
order in which keys arrive, and records that arrive twice, change nothing. A record that
does not read, or stands under a key that is not its own, changes nothing and is counted.
Limits: a sequence number is remembered until the last lease of its key has ended; then a
record of the past can no longer act by itself. Two records of one key whose times of effect
lie ahead: the newer one replaces the other. Values match by equality, subnets by containment.
Source: the contract's life of a decision; CrowdSec's users' complaints about un-bans that
wait for a time to live, and about flushes on disconnect.
"""

import ipaddress
import socket
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

import msgspec
import orjson

from detector.operators import Control, loosens, overrides
from detector.records import ACTIONS, DecisionParams, SchemaError, decode
from detector.vocabulary import Enforcement, Scope

CONTROL_KEY: Final = b"__control__"
SCOPES: Final[tuple[str, ...]] = get_args(Scope)
_RANK: Final[dict[str, int]] = {action: rank for rank, action in enumerate(ACTIONS)}
_NO_PARAMS: Final = DecisionParams()

Attributes = Mapping[str, str | Sequence[str]]
Network = tuple[int, int, int]  # bits of the address family, length of the prefix, the prefix as a number
At = tuple[str, Any]  # tenant, and the value; a `Network` where it is a subnet


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a consumer needs of `decision.v1`; words that it does not know are kept as they are."""

    decision_id: str
    seq: int
    state: str = "active"
    tenant: str
    scope: str
    value: str
    action: str
    params: DecisionParams = _NO_PARAMS
    models: tuple[str, ...] = ("*",)
    issued_at: int
    effective_at: int
    expires_at: int
    reason_code: str = ""
    reason: str = ""
    campaign_id: str | None = None
    origin: str = "detector"
    fallback_action: str = "observe"


class Lease(NamedTuple):
    """One record in force: what to apply, and the whole of it for whoever wants to know why.

    `rank` counts rungs of the ladder: 0 observe, 1 throttle, 2 challenge, 3 block; `models` is None for all.
    """

    rank: int
    effective_ms: int
    expires_ms: int
    models: frozenset[str] | None
    record: Record

    @property
    def action(self) -> str:
        """What to apply: the record's action, or its fallback where that is unknown here."""
        return ACTIONS[self.rank]


class Held(NamedTuple):
    """What is held of one key: the newest record, the one that acts until it does, and how long to remember."""

    seq: int
    now: Lease
    before: Lease | None
    ends_ms: int
    removed: bool


def _network(value: str) -> Network | None:
    """A subnet as a number that a shift of an address can equal; None for other text."""
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return None
    bits = network.max_prefixlen
    return bits, network.prefixlen, int(network.network_address) >> (bits - network.prefixlen)


def _address(value: str) -> tuple[int, int, int] | None:
    """The bits of its family, the length and the number of an address or prefix; None for other text.

    >>> _address("10.0.0.0/24")
    (32, 24, 167772160)
    """
    address, _, length = value.partition("/")
    family, bits = (socket.AF_INET6, 128) if ":" in address else (socket.AF_INET, 32)
    try:
        return bits, int(length or bits), int.from_bytes(socket.inet_pton(family, address))
    except (OSError, ValueError):
        return None


def _names(key: bytes | None) -> tuple[str, str, str] | None:
    """Tenant, scope and value that a record's key names; None for other keys.

    >>> _names(b'["default","account","a-1"]'), _names(b'["default",["account"],"a-1"]')
    (('default', 'account', 'a-1'), None)
    """
    try:
        tenant, scope, value = parts = orjson.loads(key or b"")
    except (orjson.JSONDecodeError, TypeError, ValueError):
        return None
    well = type(parts) is list and all(type(part) is str for part in parts)
    return (tenant, scope, value) if well else None


def _lease(record: Record) -> Lease:
    rank = _RANK.get(record.action, _RANK.get(record.fallback_action, 0))
    if record.state != "active":
        rank = 0
    models = None if "*" in record.models else frozenset(record.models)
    return Lease(rank, record.effective_at, record.expires_at, models, record)


class LeaseTable:
    """Every decision that stands. Not safe for several writers; readers may run beside one writer."""

    def __init__(self) -> None:
        """Start with nothing held and enforcement on."""
        self.enforcement: Enforcement = "on"
        self.control: Control | None = None
        self.unread = 0  # records that do not read, or of scopes that are unknown here
        self._held: dict[str, dict[At, Held]] = {}
        self._prefixes: Counter[tuple[int, int]] = Counter()  # (bits, length) -> how many subnets are held

    # --- writing ---------------------------------------------------------------

    def apply(self, key: bytes | None, value: bytes | None) -> bool:
        """Fold one record of the topic in; returns whether anything changed."""
        if key == CONTROL_KEY:
            return self._apply_control(value)
        if value is None:
            return self._forget(key)
        try:
            record = decode(value, kind=Record)
        except SchemaError:
            self.unread += 1
            return False
        if record.scope not in SCOPES or _names(key) != (record.tenant, record.scope, record.value):
            self.unread += 1
            return False
        at = self._at(record.tenant, record.scope, record.value)
        if at is None:
            self.unread += 1
            return False
        rows = self._held.setdefault(record.scope, {})
        old = rows.get(at)
        if old is not None and record.seq <= old.seq:
            return False
        if old is None and record.scope == "subnet":
            self._prefixes[at[1][:2]] += 1
        lease = _lease(record)
        before = None
        if old is not None and not old.removed:
            # Until the new record acts, what acted when it was made goes on.
            before = old.now if old.before is None or old.now.effective_ms <= record.issued_at else old.before
        ends_ms = max(lease.expires_ms, old.ends_ms if old else 0)
        rows[at] = Held(record.seq, lease, before, ends_ms, removed=False)
        return True

    @staticmethod
    def _at(tenant: str, scope: str, value: str) -> At | None:
        """Where a key is held; None for a subnet that is none."""
        if scope != "subnet":
            return tenant, value
        network = _network(value)
        return None if network is None else (tenant, network)

    def _apply_control(self, value: bytes | None) -> bool:
        if value is None:
            self.enforcement, self.control = "on", None
            return True
        try:
            control = decode(value, kind=Control)
        except SchemaError:
            self.unread += 1
            return False
        if not overrides(control, self.control):
            return False
        self.enforcement, self.control = control.enforcement, control
        return True

    def loosens(self, value: bytes | None) -> bool:
        """Whether a kill switch's record would let more requests pass than now do."""
        try:
            said = decode(value, kind=Control) if value is not None else None
        except SchemaError:
            return False
        return said is not None and loosens(said, self.enforcement)

    def _forget(self, key: bytes | None) -> bool:
        """A tombstone: nothing of the key acts any more, its sequence number is still known."""
        named = _names(key)
        if named is None:
            self.unread += 1
            return False
        tenant, scope, value = named
        rows = self._held.get(scope, {})
        at = self._at(tenant, scope, value)
        old = rows.get(at) if at is not None else None
        if at is None or old is None or old.removed:
            return False
        rows[at] = old._replace(removed=True, before=None)
        return True

    def prune(self, *, now_ms: int) -> int:
        """Drop keys whose last lease has ended; returns how many."""
        dropped = 0
        for scope, rows in self._held.items():
            ended = [at for at, held in rows.items() if held.ends_ms <= now_ms]
            for at in ended:
                del rows[at]
                if scope == "subnet":
                    self._prefixes[at[1][:2]] -= 1
            dropped += len(ended)
        self._prefixes += Counter()  # drops lengths that no subnet has
        return dropped

    # --- reading ---------------------------------------------------------------

    def __len__(self) -> int:
        """How many keys are held."""
        return sum(len(rows) for rows in self._held.values())

    def holds(self, scope: str) -> bool:
        """Whether anything of a scope is held, ended or not."""
        return bool(self._held.get(scope))

    def leases(self, *, now_ms: int) -> Iterator[Lease]:
        """Every lease in force, by scope, tenant and value: those that only observe too."""
        for scope in sorted(self._held):
            found = [_in_force(held, now_ms) for held in list(self._held[scope].values())]
            yield from sorted((lease for lease in found if lease is not None), key=_named)

    def get(self, *, tenant: str, scope: str, value: str) -> Held | None:
        """What is held of one key, ended or not."""
        at = self._at(tenant, scope, value)
        return None if at is None else self._held.get(scope, {}).get(at)

    def in_force(self, *, tenant: str, scope: str, value: str, now_ms: int) -> Lease | None:
        """What is to be applied to one key now; None where nothing is, or where it would only be observed."""
        held = self.get(tenant=tenant, scope=scope, value=value)
        lease = _in_force(held, now_ms) if held is not None and self.enforcement == "on" else None
        return lease if lease is not None and lease.rank else None

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Tenant, scope and value of every key that is held, ended or not."""
        for rows in list(self._held.values()):
            for held in list(rows.values()):
                record = held.now.record
                yield record.tenant, record.scope, record.value

    def lookup(self, attributes: Attributes, *, tenant: str = "default", model: str = "", now_ms: int) -> Lease | None:
        """The strictest lease in force that one of a request's attributes falls under; None where none does.

        `attributes`: scope to the request's own value, or values (`anchor_fp`); `subnet` may be an address.
        The kill switch: `off` answers None, `observe_only` never answers more than observe.
        """
        if self.enforcement == "off":
            return None
        found: Lease | None = None
        for scope, rows in self._held.items():
            given = attributes.get(scope)
            if not given or not rows:
                continue
            values: Sequence[Any] = (given,) if isinstance(given, str) else given
            if scope == "subnet":
                values = self._networks(values)
            for value in values:
                held = rows.get((tenant, value))
                if held is None:
                    continue
                lease = _in_force(held, now_ms)
                if lease is None or (lease.models is not None and model not in lease.models):
                    continue
                if found is None or (lease.rank, lease.expires_ms) > (found.rank, found.expires_ms):
                    found = lease
        if found is not None and self.enforcement == "observe_only":
            return found._replace(rank=0)
        return found

    def _networks(self, values: Sequence[str]) -> list[Network]:
        """Every prefix of a length that is held and that one of the addresses or prefixes lies in."""
        out = []
        for value in values:
            given = _address(value)
            if given is not None:
                bits, longest, number = given
                out += [(b, n, number >> (b - n)) for b, n in self._prefixes if b == bits and n <= longest]
        return out


def _named(lease: Lease) -> tuple[str, str]:
    return lease.record.tenant, lease.record.value


def _in_force(held: Held, now_ms: int) -> Lease | None:
    """The lease of a key that acts now."""
    if held.removed:
        return None
    lease = held.now
    if now_ms < lease.effective_ms:
        if held.before is None:
            return None
        lease = held.before
        if now_ms < lease.effective_ms:
            return None
    if now_ms >= lease.expires_ms or lease.record.state != "active":
        return None
    return lease
