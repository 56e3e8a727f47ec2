"""Parked alerts: those that a receiver refused for good, what became of them since, and another try.

Purpose: read the letters that sinks wrote, and tell one sink what it was not told.
Invariants: a letter is tried again only while it is news: nobody told the sink that revision or a later one
(its memory knows), and the topic has no later one, which comes by itself. So nothing is told twice, and nothing old
after something new. What the receiver takes goes into the sink's memory; a letter stays where it is.
Limits: the memory is a file: to be run where the sinks run. An alert that its topic has dropped is gone; a receiver
that is away is not waited for.
Source: the contract's letters; a full snapshot makes every earlier one needless.
"""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, Literal, NamedTuple

from detector.records import Alert
from detector.runtime.kafka import dead_letters
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.dead_letters import Letter
from detector.runtime.kafka.reading import read_topic
from detector.runtime.kafka.views import alert_of
from detector.runtime.sinks.memory import Memory
from detector.runtime.sinks.running import sink_of
from detector.runtime.sinks.settings import SinkSettings

REFUSED: Final = "sink_refused"
# parked: to be tried again; told: the sink knows it, or what came after; later: a newer revision is on its way;
# gone: its topic has dropped it; foreign: what stands there is no alert.
State = Literal["parked", "told", "later", "gone", "foreign"]


class Parked(NamedTuple):
    """A letter of a sink, the alert that it is about, and where that stands now."""

    letter: Letter
    alert: Alert | None
    state: State


class Tried(NamedTuple):
    """What became of a parked alert."""

    parked: Parked
    outcome: Literal["taken", "refused", "away"]
    why: str


def parked(connection: Connection, names: Iterable[str]) -> list[Parked]:
    """Every letter of these sinks, oldest first in each partition."""
    wanted = set(names)
    letters = [x for x in dead_letters.letters(connection) if x.reason == REFUSED and x.sink in wanted]
    if not letters:
        return []
    places = {(x.source_partition, x.source_offset) for x in letters}
    there: dict[tuple[int, int], Alert | None] = {}
    newest: dict[str, int] = {}
    for record in read_topic(connection, "alerts"):
        alert = alert_of(record)
        if alert is not None:
            newest[alert.alert_id] = max(alert.revision, newest.get(alert.alert_id, -1))
        if (record.partition, record.offset) in places:
            there[record.partition, record.offset] = alert
    made = []
    memories = {name: Memory(Path(connection.state_directory), sink=name) for name in sorted({x.sink for x in letters})}
    try:
        for letter in letters:
            place = (letter.source_partition, letter.source_offset)
            alert = there.get(place)
            state: State = "gone" if place not in there else "foreign"
            if alert is not None:
                state = _state(alert, memories[letter.sink], newest=newest[alert.alert_id])
            made.append(Parked(letter, alert, state))
    finally:
        for memory in memories.values():
            memory.close()
    return made


def _state(alert: Alert, memory: Memory, *, newest: int) -> State:
    told = memory.get(alert.alert_id)
    if told is not None and told.revision >= alert.revision:
        return "told"
    return "later" if newest > alert.revision else "parked"


async def retry(connection: Connection, sinks: Sequence[SinkSettings], chosen: Sequence[Parked]) -> list[Tried]:
    """Tell the sinks what is parked of `chosen`; a sink whose receiver is away is left after its first try.

    Raises `ConfigError` where a secret is missing.
    """
    tried = []
    for given in sinks:
        async with AsyncExitStack() as stack:
            memory = Memory(Path(connection.state_directory), sink=given.name)
            stack.callback(memory.close)
            sink = await sink_of(given, connection, stack)
            for one in chosen:
                if one.letter.sink != given.name or one.state != "parked" or one.alert is None:
                    continue
                told = memory.get(one.alert.alert_id)
                if told is not None and told.revision >= one.alert.revision:
                    continue  # two letters about one revision, or a later one that was told meanwhile
                outcome = await sink.take(one.alert, memory)
                said: Literal["taken", "refused", "away"] = "away" if outcome.kind == "later" else outcome.kind
                tried.append(Tried(one, said, outcome.why))
                if said == "away":
                    break
    return tried
