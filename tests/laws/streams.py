"""Streams for the laws: a small world with a campaign in it, and arbitrary little streams.

A `Stream` holds, for each source, one event batch in order of arrival; positions are
row numbers. Steps say how it reaches a judge: ranges of a source, ticks, ends.
"""

import random
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import strategies as st

from detector import hashing, records
from detector.config import DecisionSettings, Settings, TableSettings
from detector.encode import encode
from detector.encode_operators import encode_operators
from detector.events import EventBatch, event_batch
from detector.frames import Frame, OperatorFrame
from detector.judge import Judge
from detector.operators import Received
from detector.snapshot import snapshot
from tests.laws.orders import HOUR_MS, MINUTE_MS, START_MS, TENANT, some_orders

KEY = hashing.DEVELOPMENT_KEY
TINY = TableSettings(accounts_max=2_048, links_max=4_096, promoted_max=256, admission_cells=1 << 12)
# Wide panes and short leases: hours of events see every step of a lease in few discoveries.
SETTINGS = Settings(
    pane_ms=MINUTE_MS,
    discovery_ms=10 * MINUTE_MS,
    lateness_ms=MINUTE_MS // 2,
    tables=TINY,
    decision=DecisionSettings(
        throttle_ttl_ms=HOUR_MS // 2, contain_ttl_ms=HOUR_MS, campaign_idle_ms=2 * HOUR_MS, contained_share_max=0.5
    ),
)

# Tables so small that accounts, links, pools and the gate's generations come and go;
# discovery at every pane, so that the model sees enough rows to pass its first window.
TIGHT = msgspec.structs.replace(
    SETTINGS,
    discovery_ms=MINUTE_MS,
    tables=TableSettings(accounts_max=1_024, links_max=1_024, promoted_max=32, admission_cells=1 << 10),
)

Event = dict[str, Any]


class Stream(NamedTuple):
    """Event batches by source, in order of arrival, and their rows' ingest times where they have any.

    `orders` are recorded operators' records, known from the start, that act in their time.
    """

    batches: dict[str, EventBatch]
    ingest_ms: dict[str, npt.NDArray[np.int64]] = {}  # noqa: RUF012 - never written to
    orders: tuple[Received, ...] = ()


class Range(NamedTuple):
    """Rows [first, stop) of a source reach the judge as one frame."""

    source: str
    first: int
    stop: int


class Tick(NamedTuple):
    """A source says that nothing before `time_ms` will come from it."""

    source: str
    time_ms: int


class End(NamedTuple):
    """A source has no more."""

    source: str


Step = Range | Tick | End


def stamped(stream: Stream) -> Stream:
    """Give every row its event time as ingest time, as a broker close by would."""
    return stream._replace(ingest_ms={s: b.column("event_time").to_numpy() for s, b in stream.batches.items()})


# --- events ----------------------------------------------------------------------


def event(number: int, time_ms: int, account: str, **fields: Any) -> Event:
    return {
        "event_id": f"e-{number}",
        "event_time": time_ms,
        "account_id": account,
        "request_model": "m-1",
        "input_tokens": 120,
        "output_tokens": 300,
    } | fields


def batch_of(events: list[Event]) -> EventBatch:
    names = sorted({name for e in events for name in e})
    whole = event_batch({}, rows=0).schema
    columns = {n: pa.array([e.get(n) for e in events], whole.field(n).type) for n in names}
    return event_batch(columns, rows=len(events))


def _harvest(rng: random.Random, count: int) -> list[Event]:
    """`count` young accounts on one program and template, each with a request every ten minutes or so."""
    events = []
    for account in range(count):
        time = START_MS + rng.randrange(15 * MINUTE_MS)
        for item in range(26):
            time += rng.randrange(8 * MINUTE_MS, 14 * MINUTE_MS)
            events.append(
                event(
                    0,
                    time,
                    f"h-{account}",
                    org_id=f"ho-{account}",
                    account_tier="paygo",
                    account_created_at=START_MS - rng.randrange(24) * HOUR_MS,
                    payment_fp=f"card-{account % 2}",
                    client_ip=f"198.51.{account}.7",
                    sdk_name="sdk-h",
                    stream=False,
                    max_tokens=4096,
                    temperature=0.7,
                    tool_count=0,
                    turn_index=0,
                    output_tokens=rng.randrange(2_500, 4_000),
                    reasoning_tokens=500,
                    template_fp="t-harvest",
                    anchor_fps=[7_001, 7_002],
                    prompt_fp=f"p-{account}-{item}",
                    prompt_chars=rng.randrange(900, 1_100),
                    prompt_style=0,
                    first_token_class="verb",  # noqa: S106 - a class of words
                    finish_reason="stop",
                    elicitation={"cot": 0.9},
                )
            )
    return events


def _ordinary(rng: random.Random, count: int) -> list[Event]:
    """`count` older accounts with programs, templates and paces of their own."""
    events = []
    for account in range(count):
        shared: Event = {"sdk_name": rng.choice(["sdk-a", "sdk-b", "sdk-c"])}
        shared["account_tier"] = rng.choice(["free", "enterprise"])
        created = START_MS - rng.randrange(30, 900) * 24 * HOUR_MS
        for item in range(rng.choice([1, 2, 14, 28])):
            fields: Event = {
                "org_id": f"o-{account}",
                "account_created_at": created,
                "payment_fp": f"card-o-{account}",
                "client_ip": f"203.0.113.{account % 5}",
                "prompt_fp": f"p-o-{account}-{item // 2}",
                "template_fp": rng.choice([None, f"t-{rng.randrange(6)}"]),
                "system_prompt_fp": rng.choice([None, "s-1", "s-2"]),
                "prompt_chars": rng.randrange(20, 3_000),
                "output_tokens": rng.randrange(10, 900),
                "turn_index": rng.randrange(4),
                "conversation_id": f"conversation-{account}-{item // 4}",
                "reasoning_signature_fp": f"r-{account}-{item}",
                # Some are handed on, to organisations that are given by several.
                "reasoning_signature_echo_fp": f"r-{account - 1 - item % 3}-{item}",
                "tool_count": rng.randrange(2),
                "prompt_style": rng.randrange(64),
                "finish_reason": "stop",
                "first_token_class": "noun",
                "elicitation": {"cot": 0.0},
                "stream": True,
                "max_tokens": 1_000,
                "reasoning_tokens": 0,
            }
            events.append(event(0, START_MS + rng.randrange(9 * HOUR_MS), f"a-{account}", **shared, **fields))
    return events


def _disturb(rng: random.Random, events: list[Event]) -> list[Event]:
    """Put events in an order of arrival: a little disorder, a late row, a repeat and a wrong clock now and then."""
    arrivals = []
    for number, e in enumerate(events):
        e["event_id"] = f"e-{number}"
        lag = rng.choice([0, 0, 0, rng.randrange(20_000), 3 * MINUTE_MS if rng.random() < 0.05 else 0])
        arrivals.append((e["event_time"] + lag, number, e))
        if rng.random() < 0.03:
            arrivals.append((e["event_time"] + lag + 1, number, dict(e)))
    return [e for _, _, e in sorted(arrivals, key=lambda a: a[:2])]


@cache
def world(seed: int, *, sources: int, disturbed: bool = True) -> Stream:
    """Nine hours of 48 ordinary accounts, dealt out to sources; for the first five, 20 more harvest."""
    rng = random.Random(seed)
    events = sorted(_harvest(rng, 20) + _ordinary(rng, 48), key=lambda e: e["event_time"])
    for number, e in enumerate(events):
        e["event_id"] = f"e-{number}"
    arrivals = _disturb(rng, events) if disturbed else events
    dealt: dict[str, list[Event]] = {f"s-{i}": [] for i in range(sources)}
    for e in arrivals:
        dealt[f"s-{rng.randrange(sources)}"].append(e)
    orders = some_orders(random.Random(seed)) if seed % 2 else ()
    return Stream({name: batch_of(held) for name, held in dealt.items()}, orders=orders)


def hostile(account: npt.NDArray[np.int64], *, sharing: int, step_ms: int, from_ms: int = START_MS) -> EventBatch:
    """One row for each of `account`; `sharing` accounts in turn show one template, payment and prefix."""
    rows = account.size
    n = np.arange(rows)
    shared = account // sharing

    def text(prefix: str, numbers: npt.NDArray[np.int64]) -> pa.Array:
        return pa.array([f"{prefix}-{i}" for i in numbers.tolist()])

    columns = {
        "event_id": text(f"e{from_ms}", n),
        "event_time": pa.array(from_ms + n * step_ms),
        "account_id": text("x", account),
        "request_model": text("m", n % 7),
        "output_tokens": pa.array(np.full(rows, 500)),
        "template_fp": text("t", shared),
        "payment_fp": text("c", shared),
        "org_id": text("o", account // 2),
        "client_ip": pa.array([f"10.{i >> 8 & 255}.{i & 255}.1" for i in shared.tolist()], pa.string()),
        "prompt_fp": text("p", n),
    }
    return event_batch(columns, rows=rows)


@cache
def crowd(*, sources: int) -> Stream:
    """Half a day of 300 regulars and 4,500 accounts seen once, far more than `TIGHT` has rows for."""
    rng = random.Random(1)
    n = np.arange(9_000)
    batch = hostile(np.where(n % 2 == 0, n // 2 % 300, 300 + n // 2), sharing=30, step_ms=5_000)
    owner = np.array([rng.randrange(sources) for _ in range(len(batch))])
    return Stream({f"s-{i}": batch.take(pa.array(np.flatnonzero(owner == i))) for i in range(sources)})


# --- strategies ------------------------------------------------------------------

WORLDS = st.builds(world, st.integers(0, 3), sources=st.integers(1, 3))

_SMALL_EVENT = st.fixed_dictionaries(
    {
        "source": st.integers(0, 2),
        "step_ms": st.one_of(st.integers(-90_000, 90_000), st.integers(0, 2 * HOUR_MS)),
        "number": st.integers(0, 30),  # few ids, so that some repeat
        "account": st.integers(0, 12),
        "template": st.integers(0, 2),
        "payment": st.integers(0, 3),
    }
)


def _small(drawn: list[dict[str, int]]) -> Stream:
    dealt: dict[str, list[Event]] = {f"s-{i}": [] for i in range(3)}
    time = START_MS
    for d in drawn:
        time += d["step_ms"]
        template = f"t-{d['template']}" if d["template"] else None
        made = event(d["number"], time, f"a-{d['account']}", template_fp=template, payment_fp=f"card-{d['payment']}")
        dealt[f"s-{d['source']}"].append(made)
    return Stream({name: batch_of(held) for name, held in dealt.items()})


SMALL = st.lists(_SMALL_EVENT, max_size=60).map(_small)
UNSTAMPED = st.one_of(SMALL, WORLDS)
STREAMS = st.one_of(UNSTAMPED, UNSTAMPED.map(stamped))


@st.composite
def cuts(draw: st.DrawFn, stream: Stream) -> dict[str, list[Range]]:
    """Cut every source of a stream into ranges, some of them empty."""
    out = {}
    for source, batch in stream.batches.items():
        inner = draw(st.lists(st.integers(0, len(batch)), max_size=6)) if len(batch) else []
        edges = [0, *sorted(inner), len(batch)]
        out[source] = [Range(source, a, b) for a, b in pairwise(edges)]
    return out


@st.composite
def interleaved(draw: st.DrawFn, ranges: dict[str, list[Range]]) -> list[Step]:
    """Merge the sources' ranges in any order that keeps each source's own."""
    labels = [source for source, held in ranges.items() for _ in held]
    order = draw(st.permutations(labels))
    waiting = {source: iter(held) for source, held in ranges.items()}
    return [next(waiting[source]) for source in order]


# --- running ---------------------------------------------------------------------


def frame_of(stream: Stream, step: Range) -> Frame:
    batch = stream.batches[step.source].slice(step.first, step.stop - step.first)
    (frame,) = encode(
        batch,
        positions=np.arange(step.first, step.stop),
        source=step.source,
        first=step.first,
        stop=step.stop,
        key=KEY,
        ingest_ms=stream.ingest_ms[step.source][step.first : step.stop] if stream.ingest_ms else None,
        tenants=(TENANT,),
    )
    return frame


def orders_of(stream: Stream) -> OperatorFrame:
    """A stream's recorded orders as one frame."""
    numbered = list(enumerate(stream.orders))
    return encode_operators(
        numbered, tenant=TENANT, source="operators", first=0, stop=len(numbered), key=KEY, timed=True
    )


def judge_for(stream: Stream, *, settings: Settings = SETTINGS) -> Judge:
    judge = Judge(TENANT, tuple(stream.batches), settings)
    judge.operate(orders_of(stream))
    return judge


def feed(judge: Judge, stream: Stream, steps: Iterable[Step]) -> Iterator[bytes]:
    """Apply steps; yields the lines of the outputs that each one made."""
    for step in steps:
        if isinstance(step, Range):
            judge.apply(frame_of(stream, step))
        elif isinstance(step, Tick):
            judge.tick(step.source, step.time_ms)
        else:
            judge.end(step.source)
        yield b"".join(records.encode(o) + b"\n" for o in judge.take_outputs())


def whole(stream: Stream) -> list[Range]:
    """One range per source."""
    return [Range(source, 0, len(batch)) for source, batch in stream.batches.items()]


def ends(stream: Stream) -> list[Step]:
    return [End(source) for source in stream.batches]


class Outcome(NamedTuple):
    """All that a run leaves behind; refused rows in order of position."""

    outputs: bytes
    members: bytes
    refused: tuple[tuple[str, int, str], ...]
    snapshot: bytes


def outcome(judge: Judge, outputs: Iterable[bytes]) -> Outcome:
    written = b"".join(outputs)
    refused = tuple(sorted(tuple(r) for r in judge.take_refused()))
    members = b"".join(records.encode(m) + b"\n" for m in judge.members())
    return Outcome(written, members, refused, snapshot(judge, key=KEY))


def run(stream: Stream, steps: Iterable[Step], *, settings: Settings = SETTINGS) -> Outcome:
    """Judge a stream from the start by the given steps."""
    judge = judge_for(stream, settings=settings)
    return outcome(judge, feed(judge, stream, steps))
