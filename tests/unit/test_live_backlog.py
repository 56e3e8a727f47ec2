"""How far encode may run ahead of the judges."""

import msgspec
import pytest

from detector.config import Settings
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.kafka.connection import Connection
from detector.runtime.kafka.encode_role import Clock, EncodeRole
from detector.runtime.kafka.publishing import Progress, SourcePlace
from detector.runtime.kafka.tally import Tally


def progress(tenant: str, **positions: int) -> Progress:
    return Progress(
        tenant=tenant,
        origin=0,
        frame_offset=1,
        pane_end_ms=None,
        sources={name.replace("_", "/"): SourcePlace(position=at) for name, at in positions.items()},
        config_hash="c",
        version="v",
    )


@pytest.fixture
def role() -> EncodeRole:
    settings = msgspec.structs.replace(Settings(), tenants=("a", "b"))
    made = EncodeRole(Connection(), settings, key=DEVELOPMENT_KEY, tally=Tally())
    made.clocks = {0: Clock(1_000, 5, 5), 1: Clock(300, 5, 5)}
    made.begun = {0: 900, 1: 300}
    return made


def test_a_judge_that_has_not_begun_stands_where_encode_began(role: EncodeRole) -> None:
    assert role.backlog() == 100
    role.progress = {0: progress("a", access_0=-1, access_1=-1), 1: progress("b", access_0=-1, access_1=-1)}
    assert role.backlog() == 100


def test_the_judge_furthest_behind_counts_and_what_another_worker_sent_too(role: EncodeRole) -> None:
    role.progress = {0: progress("a", access_0=1_000, access_1=300), 1: progress("b", access_0=400, access_1=250)}
    assert role.backlog() == 650


def test_a_partition_that_is_only_recalled_is_no_backlog(role: EncodeRole) -> None:
    role.begun = {}
    assert role.backlog() == 0
