"""Others' indicators in the fold: which link they mean, how long they speak, and how little."""

import random
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import desk
from detector.desk import WATCHED_MAX, Desk
from detector.encode import encode
from detector.encode_operators import link_digest
from detector.frames import ID
from detector.operators import Fault, Indicator, Received, read
from detector.records import Alert
from detector.records import encode as encode_record
from detector.snapshot import restore, snapshot
from detector.tuning.kept import SIGNATURE_IDS, Keeper, Kept, neutral
from detector.vocabulary import IndicatorKind
from tests.laws.orders import indicator
from tests.laws.streams import (
    HOUR_MS,
    KEY,
    SETTINGS,
    START_MS,
    Stream,
    _harvest,
    _ordinary,
    batch_of,
    event,
    frame_of,
    judge_for,
    whole,
)

PROGRAM = "sdk=sdk-h stream=False max_tokens=4096 temperature=0.7 model=m-1"
COLUMN = SIGNATURE_IDS.index("i1_shared_indicator")


@cache
def harvested() -> Stream:
    """A harvest of twenty accounts among six hundred others."""
    rng = random.Random(0)
    events = sorted(_harvest(rng, 20) + _ordinary(rng, 600), key=lambda e: e["event_time"])
    return Stream({"s-0": batch_of([e | {"event_id": f"e-{at}"} for at, e in enumerate(events)])})


def kept_with(*orders: Received) -> Kept:
    """What the signatures answer where operators wrote `orders`."""
    stream, keeper = harvested()._replace(orders=orders), Keeper()
    judge = judge_for(stream, settings=neutral(SETTINGS))
    keeper.watch(judge)
    for step in whole(stream):
        judge.apply(frame_of(stream, step))
    judge.end("s-0")
    return keeper.kept()


@pytest.mark.parametrize(
    ("kind", "value", "column", "fields"),
    [
        ("ja4", "t13d_a b", ID.JA4, {"ja4": "t13d_a b"}),
        ("subnet", "198.51.100.0/24", ID.SUBNET, {"client_ip": "198.51.100.77"}),
        ("subnet", "2001:db8:1:2::/64", ID.SUBNET, {"client_ip": "2001:db8:1:2::9"}),
        ("template_fp", "ab" * 16, ID.TEMPLATE, {"template_fp": "ab" * 16}),
        ("system_prompt_fp", "cd" * 16, ID.SYSTEM, {"system_prompt_fp": "cd" * 16}),
        ("anchor_fp", "00000000000000ff", ID.ANCHOR, {"anchor_fps": [255]}),
        ("program", "sdk=my sdk model=m-1", ID.PROGRAM, {"sdk_name": "my sdk"}),
        ("program", "stream=True max_tokens=5 model=m-1", ID.PROGRAM, {"stream": True, "max_tokens": 5}),
        ("program", "temperature=0.7 model=m-1", ID.PROGRAM, {"temperature": 0.7}),
    ],
)
def test_an_indicator_means_the_link_of_the_events_that_show_it(
    kind: IndicatorKind, value: str, column: ID, fields: dict[str, object]
) -> None:
    batch = batch_of([event(0, START_MS, "a", **fields)])
    (frame,) = encode(batch, positions=np.zeros(1, np.int64), source="s", first=0, stop=1, key=KEY)
    assert link_digest(kind, value, key=KEY) == int(frame.ids[0, column]) != 0


@given(kind=st.sampled_from(["anchor_fp", "subnet", "program"]), value=st.text(max_size=30))
def test_whatever_a_value_says_it_is_a_link_or_none(kind: IndicatorKind, value: str) -> None:
    assert 0 <= link_digest(kind, value, key=KEY) < 1 << 64


def test_a_watched_link_speaks_until_the_watch_expires_and_no_other_does() -> None:
    from_ms, end_ms = START_MS + 3 * HOUR_MS, START_MS + 4 * HOUR_MS
    kept = kept_with(indicator("program", PROGRAM, from_ms, end_ms=end_ms))
    spoke = kept.log_odds[:, COLUMN] > 0
    assert spoke.any()
    assert {kept.pool[at] for at in np.flatnonzero(spoke)} == {f"default/program/{PROGRAM}"}
    assert from_ms < kept.at_ms[spoke].min()
    assert kept.at_ms[spoke].max() <= end_ms + SETTINGS.lateness_ms
    assert float(kept.log_odds[:, COLUMN].max()) == 1.0


def test_a_later_record_for_the_same_link_ends_the_watch() -> None:
    at_ms = START_MS + HOUR_MS
    watch = indicator("program", PROGRAM, at_ms, end_ms=at_ms + 30 * HOUR_MS)
    ended = indicator("program", PROGRAM, at_ms + 1, end_ms=at_ms)
    assert not kept_with(watch, ended).log_odds[:, COLUMN].any()


def test_it_adds_at_most_one_and_decides_nothing_alone() -> None:
    orders = tuple(
        indicator(kind, value, START_MS, end_ms=START_MS + 90 * HOUR_MS)
        for kind, value in (("program", PROGRAM), ("template_fp", "t-harvest"), ("anchor_fp", f"{7_001:016x}"))
    )
    without, with_them = kept_with(), kept_with(*orders)
    assert without.pool == with_them.pool
    others = np.delete(with_them.log_odds, COLUMN, axis=1)
    assert np.array_equal(others, np.delete(without.log_odds, COLUMN, axis=1))
    # An ordinary program that a false indicator names: no alert comes of it.
    stream = harvested()._replace(
        orders=tuple(
            indicator(
                "program", f"sdk={sdk} stream=True max_tokens=1000 model=m-1", START_MS, end_ms=START_MS + 90 * HOUR_MS
            )
            for sdk in ("sdk-a", "sdk-b", "sdk-c")
        )
    )
    judge = judge_for(stream)
    for step in whole(stream):
        judge.apply(frame_of(stream, step))
    judge.end("s-0")
    alerts = [o for o in judge.take_outputs() if isinstance(o, Alert)]
    assert {name for a in alerts if a.campaign for name in a.campaign.members_sample} <= {f"h-{n}" for n in range(20)}


def test_a_snapshot_keeps_what_is_watched() -> None:
    order = indicator("program", PROGRAM, START_MS, end_ms=START_MS + 90 * HOUR_MS)
    stream = harvested()._replace(orders=(order,))
    judge = judge_for(stream)
    for step in whole(stream):
        judge.apply(frame_of(stream, step))
    again = restore(snapshot(judge, key=KEY), settings=SETTINGS, key=KEY)
    assert again.cases.desk.watched == judge.cases.desk.watched
    assert [held.value for held in again.cases.desk.watched.values()] == [PROGRAM]


def test_watches_are_bounded_and_the_unknown_is_counted() -> None:
    held = Desk()
    one = indicator("ja4", "j", 0, end_ms=100).record
    assert isinstance(one, Indicator)
    outcomes = [desk.watch(held, one, digest=digest, now_ms=1) for digest in range(WATCHED_MAX + 2)]
    assert outcomes[0] == "indicator_unknown"
    assert set(outcomes[1:-1]) == {"indicator"}
    assert outcomes[-1] == "indicator_refused"
    assert desk.watch(held, one, digest=7, now_ms=1) == "indicator"  # one that is there is written anew
    assert len(desk.watched(held, now_ms=99)) == WATCHED_MAX
    assert desk.watched(held, now_ms=100) == frozenset()
    assert held.watched == {}


def test_a_recorded_line_is_an_indicator_only_with_an_end() -> None:
    record = indicator("ja4", "j", START_MS, end_ms=START_MS + HOUR_MS).record
    whole_line = msgspec.json.decode(encode_record(record)) | {"ingest_time": START_MS}
    found = read(msgspec.json.encode(whole_line))
    assert isinstance(found, Received)
    assert (found.kind, found.record) == ("indicator", record)
    endless = {name: said for name, said in whole_line.items() if name != "expires_at"}
    assert read(msgspec.json.encode(endless)) == Fault("missing_field", "expires_at")
    assert read(msgspec.json.encode(whole_line | {"kind": "account"})) == Fault("bad_value", "kind")
