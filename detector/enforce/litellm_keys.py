"""LiteLLM's own blocks and limits: its keys, over the proxy's management API.

Purpose: for a proxy that cannot load our callback: challenge and block become `/key/block`, a throttle becomes the
key's `rpm_limit` and `tpm_limit`; what the operator had set comes back when the lease ends.
Invariants: a key is touched only after what it had stands in the journal on disk, so that whoever starts next can give
it back. A lease never loosens what the operator had set; what someone changed meanwhile is left as they want it.
Limits: the API knows no end: a lease ends because this process ends it. Stopped, it leaves blocks standing until it
starts again, or until `release`. Keys that an account makes under a lease are found at its renewal. Scopes: api_key
(its hash), account (a user's keys), org (an organisation's or team's): LiteLLM's blocks of end users have no way back.
Source: LiteLLM's documentation of virtual keys: `/key/block`, `/key/unblock`, `/key/update`, `/key/info`, `/key/list`.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import orjson
import urllib3

from detector.enforce.leases import Lease
from detector.enforce.push import CopyError
from detector.enforce.transitions import Key, Transition
from detector.records import ConfigError

TIMEOUT_S: Final = 10.0
PAGE: Final = 100
LIMITS: Final = ("rpm_limit", "tpm_limit")
_HASH: Final = re.compile("[0-9a-f]{64}")
_FILTERS: Final = {"account": ("user_id",), "org": ("organization_id", "team_id")}
_OWNERS: Final = {"account": ("user_id",), "org": ("org_id", "organization_id", "team_id")}


class State(msgspec.Struct, frozen=True):
    """What LiteLLM holds of a key, as far as we change it."""

    blocked: bool = False
    rpm_limit: int | None = None
    tpm_limit: int | None = None


class Kept(msgspec.Struct):
    """A key that leases cover: what it had, what it has by us, and which leases those are."""

    was: State
    ours: State
    by: list[Key] = []


class LitellmCopy:
    """Blocks and limits in a proxy's database."""

    def __init__(self, url: str, *, admin_key: str, journal: Path, tenant: str = "default") -> None:
        """Nothing connects yet. Raises `ConfigError` where the journal does not read."""
        self.url, self.tenant, self.journal = url.rstrip("/"), tenant, journal
        self._headers = {"Authorization": f"Bearer {admin_key}", "Content-Type": "application/json"}
        self._pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)
        self._leases: dict[Key, Lease] = {}
        self._sure: set[str] = set()  # keys that have what we think, as of this run
        try:
            self.kept = msgspec.json.decode(journal.read_bytes(), type=dict[str, Kept]) if journal.exists() else {}
        except (msgspec.DecodeError, OSError) as wrong:
            raise ConfigError(
                f"journal {journal} does not read ({wrong}): it says what to give back to which key; repair it, or "
                "move it away and look after the keys that it names yourself"
            ) from wrong

    def reconcile(self, wanted: set[Key]) -> None:
        """Give back what nobody wants. Raises `CopyError`."""
        self._sure.clear()
        self._leases = {key: lease for key, lease in self._leases.items() if key in wanted}
        for kept in self.kept.values():
            kept.by = [key for key in kept.by if key in wanted]
        self._give_back()

    def take(self, transitions: list[Transition], enforcement: str) -> None:
        """Apply all. Raises `CopyError`."""
        del enforcement  # the kill switch comes as transitions
        for key, lease in transitions:
            if key[0] == self.tenant:
                self._cover(key, lease)
        due: list[tuple[str, State, State]] = []
        for token, kept in self.kept.items():
            leases = [self._leases[key] for key in kept.by if key in self._leases]
            target = _wanted(kept.was, leases)
            if not leases or (token in self._sure and target == kept.ours):  # those of a journal wait to be told
                continue
            now = kept.ours if token in self._sure else self._state(token, None)
            kept.ours = target
            if now is not None:
                due.append((token, now, target))
        if due:
            self._write()
        for token, now, target in due:
            self._bring(token, now, target)
            self._sure.add(token)
        self._give_back()

    def release(self) -> int:
        """Give everything back, whatever leases there are; returns how many keys. Raises `CopyError`."""
        number = len(self.kept)
        self.reconcile(set())
        return number

    def _cover(self, key: Key, lease: Lease | None) -> None:
        """Note which of the proxy's keys a lease is about now."""
        covered = self._keys_of(key) if lease is not None else []
        for token, kept in self.kept.items():
            kept.by = sorted({*kept.by, key} if token in covered else {*kept.by} - {key})
        for token in covered:
            if token not in self.kept and (was := self._state(token, key)) is not None:
                self.kept[token] = Kept(was, was, [key])
                self._sure.add(token)
        self._leases.pop(key, None)
        if lease is not None:
            self._leases[key] = lease

    def _give_back(self) -> None:
        gone = [token for token, kept in self.kept.items() if not kept.by]
        try:
            for token in gone:
                kept, now = self.kept[token], self._state(token, None)
                if now is not None:
                    # What someone else has changed since is theirs.
                    mine = {f: v for f, v in msgspec.structs.asdict(kept.was).items() if _same(now, kept.ours, f)}
                    self._bring(token, now, msgspec.structs.replace(now, **mine))
                del self.kept[token]
                self._sure.discard(token)
        finally:
            if gone:
                self._write()

    def _bring(self, token: str, now: State, target: State) -> None:
        """Let a key have what it is to have; only what differs is said."""
        if target.blocked != now.blocked:
            self._call("POST", "/key/block" if target.blocked else "/key/unblock", body={"key": token})
        limits = {name: getattr(target, name) for name in LIMITS}
        if any(getattr(now, name) != value for name, value in limits.items()):
            self._call("POST", "/key/update", body={"key": token, **limits})

    # --- the API ---------------------------------------------------------------

    def _keys_of(self, key: Key) -> list[str]:
        """The hashes of the keys that a lease is about; none for a scope that LiteLLM cannot name."""
        _, scope, value = key
        named = [value] if scope in ("api_key", "account") and _HASH.fullmatch(value) else []
        found = [token for name in _FILTERS.get(scope, ()) for token in self._listed(name, value)]
        return sorted({*named, *found})

    def _listed(self, name: str, value: str) -> Iterable[str]:
        page, pages = 1, 1
        while page <= pages:
            said = self._call("GET", "/key/list", query={name: value, "page": page, "size": PAGE}) or {}
            yield from (token for token in said.get("keys") or () if isinstance(token, str))
            page, pages = page + 1, said.get("total_pages") or 0

    def _state(self, token: str, key: Key | None) -> State | None:
        """What a key has; None where there is none, or where it is not what the lease is about."""
        said = self._call("GET", "/key/info", query={"key": token})
        if said is None:
            return None
        about = said.get("info") or {}
        if key is not None and token != key[2]:
            owners = [about.get(name) for name in _OWNERS.get(key[1], ())]
            if key[2] not in owners:  # proxies of some versions list by a part of a name
                return None
        try:
            return msgspec.convert({**about, "blocked": bool(about.get("blocked"))}, State)
        except msgspec.ValidationError as wrong:
            raise CopyError("LiteLLM: /key/info answered with another form") from wrong

    def _call(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, query: dict[str, Any] | None = None
    ) -> Any:
        """Ask the proxy; None where it knows no such key. Raises `CopyError`."""
        raw = orjson.dumps(body) if body is not None else None
        try:
            answer = self._pool.request(method, self.url + path, body=raw, fields=query, headers=self._headers)
        except urllib3.exceptions.HTTPError as wrong:
            raise CopyError(f"LiteLLM: {type(wrong).__name__}") from wrong
        if answer.status == 404 or (answer.status == 400 and path == "/key/info"):
            return None
        if answer.status >= 300:
            hint = ", is the key its master key?" if answer.status in (401, 403) else ""
            raise CopyError(f"LiteLLM: {path} answered {answer.status}{hint}")
        try:
            return orjson.loads(answer.data)
        except orjson.JSONDecodeError as wrong:
            raise CopyError(f"LiteLLM: {path} answered with no JSON") from wrong

    def _write(self) -> None:
        part = self.journal.with_name(self.journal.name + ".part")
        try:
            with part.open("wb") as file:
                file.write(msgspec.json.encode(self.kept))
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.journal)
        except OSError as wrong:
            raise CopyError(f"journal {self.journal}: {wrong.strerror}") from wrong


def _same(one: State, other: State, name: str) -> bool:
    return bool(getattr(one, name) == getattr(other, name))


def _tighter(one: int | None, other: int | None) -> int | None:
    """The lower of two limits, where None is no limit.

    >>> _tighter(None, 5), _tighter(3, 5), _tighter(None, None)
    (5, 3, None)
    """
    return min((limit for limit in (one, other) if limit is not None), default=None)


def _wanted(was: State, leases: list[Lease]) -> State:
    """What leases make of what the operator had set: never less strict."""
    rpm, tpm = was.rpm_limit, was.tpm_limit
    for lease in leases:
        if lease.action == "throttle":
            rpm = _tighter(rpm, lease.record.params.requests_per_minute)
            tpm = _tighter(tpm, lease.record.params.tokens_per_minute)
    contained = any(lease.action in ("challenge", "block") for lease in leases)
    return State(was.blocked or contained, rpm, tpm)
