"""`replay --alert-format`: alerts in another's format beside their own."""

from pathlib import Path

import pytest

from detector.records import Alert, decode
from detector.sinks.lines import line_of
from detector.vocabulary import AlertFormat
from tests.unit.replaying import OUTCOME, outcome, replay, write_log

FILES: dict[AlertFormat, str] = {"ocsf": "alerts.ocsf.jsonl", "cef": "alerts.cef"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[AlertFormat, Path]:
    """A replay for each format."""
    log = write_log(tmp_path_factory.mktemp("log") / "log.jsonl")
    made = {form: tmp_path_factory.mktemp(form) for form in FILES}
    for form, folder in made.items():
        ran = replay(log, "--out", folder, "--alert-format", form)
        assert ran.exit_code == 0, ran.output
    return made


@pytest.mark.parametrize("form", FILES)
def test_every_revision_is_a_line_and_equals_what_is_made_of_the_record(
    runs: dict[AlertFormat, Path], form: AlertFormat
) -> None:
    native = [decode(line, kind=Alert) for line in (runs[form] / "alerts.jsonl").read_bytes().splitlines()]
    assert native
    lines = (runs[form] / FILES[form]).read_bytes().split(b"\n")
    assert lines == [*(line_of(alert, form=form) for alert in native), b""]


def test_what_the_engine_says_does_not_depend_on_the_format(runs: dict[AlertFormat, Path]) -> None:
    one, *others = (outcome(folder) for folder in runs.values())
    assert set(one) == set(OUTCOME)
    assert all(other == one for other in others)
