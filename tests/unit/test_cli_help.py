"""Help: every page reads as it was written, and every verb has what all verbs have."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from rich.text import Text
from typer.core import TyperGroup

from detector.__main__ import VERBS, load
from tests.unit.replaying import run


def commands(name: str) -> Iterator[Any]:
    """A verb, and where it is a group what is in it."""
    command = load(name)
    yield command
    if isinstance(command, TyperGroup):
        yield from command.commands.values()


@pytest.mark.parametrize("name", VERBS)
def test_what_a_help_page_is_written_from_is_no_markup_and_no_emoji(name: str) -> None:
    for command in commands(name):
        said = [command.help, *(part for p in command.params for part in (getattr(p, "help", None), p.metavar))]
        for text in filter(None, said):
            # Help is rendered as rich's markup: `A:B:STEP` is read as a blood group, `[[sinks]]` as a style.
            assert Text.from_markup(text, emoji=True).plain == text


def test_a_help_page_has_no_emoji_and_no_style_names() -> None:
    for words in ((), ("sweep",), ("replay",), ("sinks",), ("decisions", "add")):
        page = run(*words, "--help").output
        assert "Usage" in page
        assert not re.findall(r"[\U0001f000-\U0001ffff\u2600-\u27bf\u2b00-\u2bff\ufe0f]", page)
        assert not re.findall(r"\[/?(?:bold|dim|red|green|yellow|italic|/)\]", page)


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_takes_what_all_verbs_take(name: str) -> None:
    for command in commands(name):
        options = [option for p in command.params for option in p.opts]
        assert options.count("--color") == options.count("--verbose") == options.count("-v") == 1


def test_colours_are_written_when_they_are_asked_for_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.setenv(name, "1")  # so that what the program sets is taken back
        monkeypatch.delenv(name)
    wrong = ("explain", "alert", "a", "--in", "no-such-directory")
    assert "\x1b" not in run(*wrong).stderr
    assert "\x1b[31m" in run(*wrong, "--color", "always").stderr
    assert "\x1b" not in run(*wrong, "--color", "never").stderr
