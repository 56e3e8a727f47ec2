"""The walk that the README shows: from traffic to a refusal and back."""

from collections.abc import Callable
from pathlib import Path

import pytest

from detector.runtime.kafka.connection import Connection
from tests.integration.live import stillwatch
from tests.integration.walk import parts, show, traffic, walk


@pytest.mark.timeout(600)  # an environment may have to be made first
def test_the_walk_goes_through(installation: Callable[..., Connection], tmp_path: Path) -> None:
    connection = installation()
    with parts(connection, tmp_path) as made:
        steps = walk(made, traffic(tmp_path))
        assert "contained_share" in stillwatch("decisions", "caps", *made.options)
    print(show(steps))  # noqa: T201 - each step's time, for whoever asks pytest to show it
    assert [step.name for step in steps][-1] == "and is told as an event"
