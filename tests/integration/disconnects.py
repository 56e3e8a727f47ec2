"""An enforcer whose connections are cut at random, held against a plain model of what it must know.

A proxy on loopback stands between the client and a real broker: it passes frames on, names itself
where brokers name their address, and cuts as it is told: closed in order, reset, in the middle of a frame, after
a silence, with or without a time in which nobody answers. In each round decisions are issued, renewed, raised,
revoked, buried or left to lapse while the client is cut off; the clock is the harness's own. At the cut nothing
that is held may change; while it lasts leases end when their time comes, no other does; after it every key must come
to what the model says.
"""

import random
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Literal, NamedTuple

import msgspec
from kafka import KafkaProducer

from detector.enforce.client import DecisionClient
from detector.records import Decision, decision_key, encode
from detector.runtime.kafka.connection import Connection
from tests.integration.live import wait_until
from tests.unit.leasing import decision

Cut = Literal["close", "reset", "mid-frame", "silence"]
CUTS: Final[tuple[Cut, ...]] = ("close", "reset", "mid-frame", "silence")
KEYS: Final = 40
BEGIN_MS: Final = 1_900_000_000_000
RECOVER_S: Final = 30.0
_RESET: Final = struct.pack("ii", 1, 0)


class Proxy:
    """Between clients and one broker, frame by frame."""

    def __init__(self, bootstrap: str) -> None:
        """Listen; `address` stands for `bootstrap`."""
        host, port = bootstrap.rsplit(":", 1)
        self._upstream = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        own = int(self._listener.getsockname()[1])
        self.address = f"{host}:{own}"
        self._names = host.encode() + struct.pack(">i", int(port)), host.encode() + struct.pack(">i", own)
        self._open: list[tuple[socket.socket, socket.socket]] = []
        self._lock = threading.Lock()
        self.away = threading.Event()  # nobody is let in
        self.silent = threading.Event()  # nothing is passed on
        self.torn = threading.Event()  # the next frame is passed on in part, then its connection ends
        self.connections = 0
        self._started(self._accept)

    def _started(self, run: object, *arguments: object) -> None:
        threading.Thread(target=run, args=arguments, daemon=True).start()  # type: ignore[arg-type]  # one of ours

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.away.is_set():
                client.close()
                continue
            try:
                broker = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open.append((client, broker))
                self.connections += 1
            self._started(self._pass_on, client, broker)
            self._started(self._pass_on, broker, client)

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while head := _exactly(source, 4):
                frame = head + _exactly(source, int.from_bytes(head, "big")).replace(*self._names)
                while self.silent.is_set():
                    time.sleep(0.005)
                if self.torn.is_set():
                    self.torn.clear()
                    target.sendall(frame[: max(1, len(frame) // 2)])
                    break
                target.sendall(frame)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self, *, reset: bool) -> int:
        """End every connection; returns how many there were."""
        with self._lock:
            pairs, self._open = self._open, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    if reset:
                        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    else:
                        end.shutdown(socket.SHUT_RDWR)
                end.close()
        return len(pairs)

    def close(self) -> None:
        """End."""
        self._listener.close()
        self.silent.clear()
        self.cut(reset=True)


def _exactly(source: socket.socket, size: int) -> bytes:
    """So many bytes; fewer where the connection ends. Raises `OSError` where it ends within them."""
    parts = []
    while size:
        part = source.recv(size)
        if not part:
            if parts:
                raise OSError("the connection ended within a frame")
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


class Endured(NamedTuple):
    """What came of it: rounds, records written, how often each kind of error was seen, seconds to know all again."""

    rounds: int
    records: int
    connections: int
    stale: int
    missing: int
    flushed: int
    recovered_s: list[float]


class Truth:
    """The plain model: each key's newest record, nothing else."""

    def __init__(self, chance: random.Random) -> None:
        """Know nothing yet."""
        self.chance = chance
        self.newest: dict[str, Decision | None] = {}
        self.seqs = {f"a-{number}": 0 for number in range(KEYS)}

    def changes(self, now_ms: int) -> Iterator[tuple[bytes, bytes | None]]:
        """Some random records, made at a time; the model knows them."""
        for name in self.chance.sample(sorted(self.seqs), self.chance.randint(1, 12)):
            key, held = decision_key(tenant="default", scope="account", value=name), self.newest.get(name)
            what = self.chance.choice(("issue", "issue", "renew", "revoke", "bury"))
            if what == "bury" and held is not None and held.state == "revoked":
                self.newest[name] = None
                yield key, None
                continue
            self.seqs[name] += 1
            made = decision(
                name,
                seq=self.seqs[name],
                state="revoked" if what == "revoke" and held is not None else "active",
                action=self.chance.choice(("throttle", "challenge", "block")),
                issued_at=now_ms,
                effective_at=now_ms,
                expires_at=now_ms + self.chance.choice((900, 4_000, 60_000)),
            )
            self.newest[name] = made
            yield key, encode(made)

    def action(self, name: str, now_ms: int) -> str | None:
        """What applies to an account."""
        held = self.newest.get(name)
        acts = held is not None and held.state == "active" and held.effective_at <= now_ms < held.expires_at
        return held.action if held is not None and acts else None


class Clock:
    """Moves only as it is told."""

    def __init__(self) -> None:
        """Begin somewhere."""
        self.now_ms = BEGIN_MS

    def __call__(self) -> int:
        return self.now_ms


def _seen(client: DecisionClient, names: list[str]) -> dict[str, str | None]:
    leases = {name: client.lookup({"account": name}) for name in names}
    return {name: lease.action if lease is not None else None for name, lease in leases.items()}


def _knows(client: DecisionClient, truth: Truth, name: str) -> bool:
    """Whether the newest record of a key has come."""
    held = client.table.get(tenant="default", scope="account", value=name)
    if truth.newest.get(name) is None:
        return held is None or held.removed
    return held is not None and held.seq == truth.seqs[name]


@contextmanager
def _cut_off(proxy: Proxy, chance: random.Random) -> Iterator[None]:
    """Cut the client off; let it back in at the end of the block, sometimes at once."""
    kind = chance.choice(CUTS)
    if kind == "silence":
        proxy.silent.set()
        time.sleep(chance.uniform(0, 0.2))
    if kind == "mid-frame":
        proxy.torn.set()
        time.sleep(chance.uniform(0, 0.15))
    if chance.random() < 0.5:
        proxy.away.set()
    proxy.cut(reset=kind in ("reset", "silence"))
    proxy.silent.clear()
    try:
        yield
        time.sleep(chance.uniform(0, 0.1) if proxy.away.is_set() else 0)
    finally:
        proxy.away.clear()


def endure(connection: Connection, *, rounds: int, seed: int) -> Endured:
    """Cut a client off so many times; returns what it got wrong."""
    chance, clock = random.Random(seed), Clock()
    truth, names = Truth(chance), [f"a-{number}" for number in range(KEYS)]
    proxy = Proxy(connection.bootstrap)
    client = DecisionClient(msgspec.structs.replace(connection, bootstrap=proxy.address), clock_ms=clock)
    producer = KafkaProducer(bootstrap_servers=connection.bootstrap, acks="all")
    records = stale = missing = flushed = 0
    recovered_s: list[float] = []

    def write() -> int:
        made = list(truth.changes(clock.now_ms))
        for key, value in made:
            producer.send(connection.topic("decisions"), key=key, value=value)
        producer.flush()
        return len(made)

    try:
        assert client.start(timeout_s=RECOVER_S)
        for _ in range(rounds):
            before = _seen(client, names)
            with _cut_off(proxy, chance):
                flushed += sum(now != before[name] for name, now in _seen(client, names).items())
                clock.now_ms += chance.choice((0, 500, 1_000, 5_000))
                expected = {name: truth.action(name, clock.now_ms) for name in names}
                stale += sum(now is not None and expected[name] is None for name, now in _seen(client, names).items())
                if chance.random() < 0.7:
                    records += write()
            if chance.random() < 0.7:
                records += write()
            begun_s = time.monotonic()
            with suppress(AssertionError):
                wait_until(
                    lambda: all(_knows(client, truth, name) for name in names), timeout_s=RECOVER_S, every_s=0.002
                )
            recovered_s.append(time.monotonic() - begun_s)
            for name, now in _seen(client, names).items():
                wanted = truth.action(name, clock.now_ms)
                missing += wanted is not None and now != wanted
                stale += now is not None and wanted is None
    finally:
        client.stop()
        proxy.close()
        producer.close()
    return Endured(rounds, records, proxy.connections, stale, missing, flushed, recovered_s)
