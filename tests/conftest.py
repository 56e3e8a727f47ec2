"""What every test shares: the published data's place and hypothesis' profiles.

Invariants: a test that needs the published prompts and traces fails with a sentence where they
are absent; it never skips. Under the profile `ci` (the default wherever CI is set) examples are
the same in every run; HYPOTHESIS_PROFILE picks another.
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# No deadline: the first example of a test may wait for a kernel's compilation.
settings.register_profile("dev", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True, print_blob=True)
settings.register_profile(
    "long", deadline=None, max_examples=2_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


def data_path(name: str = "") -> Path:
    """Find a file of the published data: under STILLWATCH_DATA, else `../shared/data` beside the checkout."""
    directory = Path(os.environ.get("STILLWATCH_DATA", ROOT.parent / "shared" / "data"))
    path = directory / name
    if not path.exists():
        pytest.fail(f"published data {path} not found: set STILLWATCH_DATA to the directory that holds {name or 'it'}")
    return path


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Take away what a verb run inside the test has set up: its stream is gone when the next one logs."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-broker", action="store_true", help="where no Kafka can be had, leave its tests out instead of failing"
    )


@pytest.fixture(scope="session")
def published_data() -> Path:
    """The directory of the published prompts and traces."""
    return data_path()
