"""The README is true: its commands exist, its excerpt is what the demo prints, figures and names aside."""

import re
from pathlib import Path

import pytest

from detector.__main__ import VERBS
from detector.cli import common
from detector.runtime.replay import FILES
from tests.conftest import ROOT
from tests.unit.replaying import run

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)


def masked(line: str) -> str:
    """A line without its figures and made-up names."""
    named = re.sub(r"\b(c|acct)[-_][0-9a-f]{16}\b", r"\1", line.strip())
    return re.sub(r"\d[\d,.:TZ-]*", "#", named)


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    done = run("demo", "--out", tmp_path / "demo")
    assert done.exit_code == 0, done.output
    printed = iter(masked(line) for line in done.stdout.splitlines())
    for shown in (line for language, block in BLOCKS if language == "text" for line in block.splitlines() if line):
        pattern = re.escape(masked(shown)).replace("…", ".*")
        assert any(re.fullmatch(pattern, line) for line in printed), f"not printed, or not in this order: {shown}"
    assert done.stdout.count("Blast-radius cap reached") == 1  # though it lasts for hours


def test_the_readme_names_every_command_file_and_exit_code() -> None:
    assert set(re.findall(r"^\| `stillwatch (\w+)", README, re.MULTILINE)) == set(VERBS)
    assert [name for name in FILES if f"`{name}`" not in README] == []
    codes = {value for name, value in vars(common).items() if name.startswith("EXIT_")}
    said = re.search(r"Exit codes: (.*?)\n\n", README, re.DOTALL)
    assert said is not None
    assert codes <= {int(code) for code in re.findall(r"\b\d+\b", said[1])}


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", README)) - {"--help"}))
def test_the_readmes_options_exist(option: str) -> None:
    verbs = ("replay", "report", "fingerprint", "evaluate", "run", "produce", "alerts show")
    helps = [run(*verb.split(), "--help").output for verb in verbs]
    assert any(re.search(rf"{option}\b", text) for text in helps)


def test_what_the_readme_says_of_ci_is_what_ci_runs() -> None:
    install = next(block for language, block in BLOCKS if "requirements.lock" in block)
    assert "--require-hashes" in install
    script = (ROOT / ".ci" / "run").read_text()
    assert "--require-hashes -r requirements.lock" in script
    assert "stillwatch demo" in script
    assert "pytest" in script
