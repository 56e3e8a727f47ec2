"""The command line's table of verbs: each is there, and none is loaded before it is called."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from detector.__main__ import VERBS, Verb, app, load

ROOT = Path(__file__).resolve().parents[2]
HEAVY = """
import sys
from detector.__main__ import app
for asked in (["--version"], ["--help"]):
    app(asked, standalone_mode=False)
print(*sorted({"numba", "numpy", "pyarrow", "river", "scipy"} & set(sys.modules)))
"""


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_of_the_table_is_there_and_says_what_it_does(name: str) -> None:
    command = load(name)
    assert command.name == name
    assert command.help
    assert VERBS[name].brief.endswith(".")


def test_the_version_and_the_list_of_verbs_wait_for_no_engine() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HEAVY],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == ""
    assert all(name in done.stdout for name in VERBS)


def test_a_verb_whose_extra_is_missing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(VERBS, "doctor", Verb("doctor", "Needs what nobody has.", ("no_such_module",)))
    assert app(["doctor", "--any", "option"], standalone_mode=False) == 2
    assert "pip install" in capsys.readouterr().err
