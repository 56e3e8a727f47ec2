"""Law 9, in part: innocent traffic, mixed and each twin by itself, yields no campaign and no decision.

The worlds are generated from published texts and measured rates at test size; full size is `evaluate`'s matter.
"""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from detector.config import Settings
from detector.encode import encode
from detector.hashing import DEVELOPMENT_KEY
from detector.judge import Judge
from detector.records import Alert, Decision
from detector.tuning.generate import generate
from tests.conftest import data_path

ROWS_PER_FRAME = 4_096
# The innocent twins of a campaign: many accounts on one program, one text, one prefix or one queue.
TWINS = ("coding_harness", "byok_tutor", "byok_writer", "cgnat", "nightly_eval_0", "retrieval", "judge_vendor")


@cache
def world() -> tuple[pa.RecordBatch, pa.Array]:
    """A benign world's events, and the population of each."""
    made = generate("benign", texts_dir=data_path(), accounts=600, days=1.0, seed=41)
    events = pa.Table.from_batches(list(made.batches())).combine_chunks().to_batches()[0]
    labels = made.labels.combine_chunks()
    at = pc.index_in(events.column("account_id"), value_set=labels.column("account_id").combine_chunks())
    return events, labels.column("population").combine_chunks().take(at)


def outputs_of(events: pa.RecordBatch) -> list[Alert | Decision]:
    """What the judge, as installed, says of a log."""
    judge = Judge("default", ("log",), Settings())
    for first in range(0, len(events), ROWS_PER_FRAME):
        part = events.slice(first, ROWS_PER_FRAME)
        positions = np.arange(first, first + len(part))
        (frame,) = encode(
            part, positions=positions, source="log", first=first, stop=first + len(part), key=DEVELOPMENT_KEY
        )
        judge.apply(frame)
    judge.end("log")
    assert judge.events == len(events)
    return judge.take_outputs()


def test_innocent_traffic_yields_no_campaign_and_no_decision() -> None:
    events, _ = world()
    assert len(events) > 5_000
    assert outputs_of(events) == []


@pytest.mark.parametrize("twin", TWINS)
def test_a_twin_by_itself_yields_none_either(twin: str) -> None:
    events, populations = world()
    alone = events.filter(pc.equal(populations, twin))
    assert len(alone) > 0
    assert outputs_of(alone) == []
