"""A client of decisions whose connections are cut at random; `tests.bench.bench_disconnects` cuts a thousand times."""

import random
from collections.abc import Callable

import pytest

from detector.runtime.kafka.connection import Connection
from tests.integration.disconnects import endure
from tests.integration.test_enforce import collected

__all__ = ["collected"]
SEEDS = (1, random.randrange(1 << 30))


@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", SEEDS)
def test_no_lease_is_stale_and_none_is_missing(installation: Callable[..., Connection], seed: int) -> None:
    done = endure(installation(), rounds=12, seed=seed)
    assert (done.stale, done.missing, done.flushed) == (0, 0, 0), f"seed {seed}: {done}"
    assert done.connections > done.rounds
    assert done.records > done.rounds
