"""Inputs as verbs take them: files as they are named, topics as the ranges that they have now."""

from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from detector.cli.common import EXIT_USAGE, Format, fail
from detector.formats import AUTO, CANONICAL
from detector.runtime.sources import TOPIC_SCHEME, Opener, open_input


def resolved(inputs: Sequence[str], *, config: Path | None, form: Format) -> tuple[list[str], Opener]:
    """The inputs' names, a topic's one for each partition, and how to open them."""
    if not any(name.startswith(TOPIC_SCHEME) for name in inputs):
        return list(inputs), partial(open_input, form=form.value)
    if form.value not in {AUTO, CANONICAL}:
        raise fail(
            f"--format {form.value}: topics hold access.v1; files of another format are a run of their own",
            code=EXIT_USAGE,
        )
    if find_spec("aiokafka") is None:
        raise fail("a topic as input needs the extra `kafka`: pip install 'stillwatch[kafka]'", code=EXIT_USAGE)
    names: list[str]
    opener: Opener
    names, opener = import_module("detector.cli.live_inputs").with_topics(inputs, config=config)
    return names, opener
