"""The command line's table of verbs: each is there, and none is loaded before it is called."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from detector.__main__ import VERBS, Verb, app, load
from tests.unit.replaying import replay, write_log

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


# The program as it is where only the base is installed: what the extras bring cannot be found.
BASE = """
import importlib.util, sys
HIDDEN = {"aiokafka", "kafka", "faust", "mode", "redis", "grpc", "prometheus_client", "aiohttp", "structlog"}
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *at: None if name in HIDDEN else found(name, *at)
from detector.__main__ import app
log, folder, alert = sys.argv[1:]
for asked in (
    ["alerts", "list", "--in", folder],
    ["alerts", "show", alert, "--in", folder],
    ["alerts", "show", alert, "--in", folder, "--dossier", "-o", "json"],
    ["decisions", "simulate", log, "--in", folder],
    ["indicators", "export", alert, "--in", folder, "--lab", "a"],
    ["alerts", "list"],
    ["alerts", "label", alert, "tp", "--by", "kim"],
    ["indicators", "export", alert, "--lab", "a"],
):
    code = app(asked, standalone_mode=False)
    print("CODE", code or 0, *asked[:2])
"""


def test_what_needs_a_directory_alone_needs_no_extra(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    write_log(log)
    done = replay(log, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    alert = json.loads((tmp_path / "run" / "alerts.jsonl").read_bytes().splitlines()[0])["alert_id"]
    ran = subprocess.run(
        [sys.executable, "-c", BASE, str(log), str(tmp_path / "run"), alert],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    answers = re.split(r"^CODE (\d+) .*\n", ran.stdout, flags=re.MULTILINE)
    assert answers[1::2] == ["0"] * 5 + ["2"] * 3, ran.stderr
    listed, shown, dossier, simulated, shared = (json.loads(text) for text in answers[0:10:2])
    assert alert in [row["alert_id"] for row in listed]
    assert shown["alert_id"] == alert
    assert dossier["alert_id"] == alert
    assert simulated["total"]["contained"] > 0
    assert shared["type"] == "bundle"
    assert ran.stderr.count("pip install 'stillwatch[kafka]'") == 3
