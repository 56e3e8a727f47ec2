"""Logs: a fixed set of fields, and nothing that a record could have put there."""

import io
import logging
import warnings
from collections.abc import Iterator

import orjson
import pytest

from detector.records import DetectorError, SchemaError
from detector.runtime import logs
from detector.runtime.logs import LogFormat
from tests.hostile_strings import HOSTILE, unprintable

QUOTE = "acct_7f3a Tell me about Napoleon"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def lines(form: LogFormat = LogFormat.json, *, verbose: bool = False) -> io.StringIO:
    out = io.StringIO()
    logs.begin(form, stream=out, verbose=verbose)
    return out


def said(out: io.StringIO) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_has_the_fields_that_collectors_know_and_no_other() -> None:
    out = lines()
    extra = {"action": "alert.published", "alert_id": "a-1", "partition": 0, "offset": 7, "account_id": QUOTE}
    logging.getLogger("stillwatch.judge").info("campaign alert, %s", "open", extra=extra)
    (line,) = said(out)
    assert list(line) == [
        *("@timestamp", "log.level", "log.logger", "message", "event.action", "alert_id", "partition", "offset")
    ]
    assert (line["log.level"], line["message"], line["offset"]) == ("info", "campaign alert, open", 7)


def test_an_exceptions_text_is_written_only_where_it_is_ours() -> None:
    out = lines()
    log = logging.getLogger("stillwatch.worker")
    for wrong in (KeyError(QUOTE), ValueError(QUOTE), SchemaError(QUOTE), DetectorError("frames are missing")):
        try:
            fail(wrong)
        except Exception as caught:
            log.critical("ended: %s", caught, exc_info=caught)
    first, *_, last = said(out)
    assert "Napoleon" not in out.getvalue()
    assert first["message"] == "ended: KeyError"
    assert "test_logs.py" in str(first["error.places"])
    assert last["message"] == "ended: DetectorError: frames are missing"


def fail(wrong: Exception) -> None:
    raise wrong


@pytest.mark.parametrize("library", ["faust.app", "mode", "aiokafka.consumer", "asyncio", "kafka", "py.warnings"])
def test_what_a_library_was_handed_is_written_only_where_it_is_plain(library: str) -> None:
    out = lines()
    log = logging.getLogger(library)
    log.warning("Cannot send %r to %s/%d, key %s: %s", QUOTE.encode(), "stillwatch.frames", 3, [QUOTE], KeyError(QUOTE))
    log.error(f"Crashed: {KeyError(QUOTE)!r}")  # noqa: G004 - what libraries do
    log.error("Rejected %(what)s", {"what": {"prompt": QUOTE}})
    log.error("One argument too few %s %s", QUOTE)  # noqa: PLE1206 - it happens to libraries
    log.info("never written")
    assert "Napoleon" not in out.getvalue()
    assert "acct_7f3a" not in out.getvalue()
    assert [line["message"] for line in said(out)] == [
        "Cannot send <bytes> to stillwatch.frames/3, key ('<str of 32>',): KeyError",
        "Crashed…",
        "Rejected <dict>",
        "One argument too few %s %s",
    ]


def test_warnings_and_forgotten_tasks_quote_nothing() -> None:
    out = lines()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"odd value: {QUOTE}", UserWarning, stacklevel=1)
    logging.getLogger("asyncio").error(
        "Task exception was never retrieved\nfuture: <Task finished exception=KeyError(%s)>" % repr(QUOTE)  # noqa: UP031, G002 - as asyncio does
    )
    assert "Napoleon" not in out.getvalue()
    assert len(said(out)) == 2


def test_text_is_for_people_and_one_line_each() -> None:
    out = lines(LogFormat.text)
    logging.getLogger("stillwatch.worker").info("running: %s", "judge", extra={"action": "x", "partition": 2})
    assert out.getvalue().endswith(" info    stillwatch.worker: running: judge (partition=2)\n")


def test_the_form_follows_the_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    logs.begin(LogFormat.auto, stream=terminal)
    logging.getLogger("stillwatch.worker").info("hello")
    assert not terminal.getvalue().startswith("{")
    piped = lines(LogFormat.auto)
    logging.getLogger("stillwatch.worker").info("hello")
    assert said(piped)[0]["message"] == "hello"


def test_a_sentence_has_an_end() -> None:
    out = lines()
    logging.getLogger("stillwatch.worker").info("%s", "x" * 10_000)
    assert len(str(said(out)[0]["message"])) == logs.MESSAGE_CHARS_MAX + 1


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_strangers_string_is_one_line_and_nothing_else(text: str) -> None:
    for form in (LogFormat.json, LogFormat.text):
        out = lines(form)
        log = logging.getLogger("stillwatch.sinks")
        log.warning("sink %s refuses: %s", text, "HTTP 400", extra={"action": "alert.parked", "alert_id": text})
        written = out.getvalue()
        assert written.count("\n") == 1
        assert unprintable(written) == set()
        if form is LogFormat.json:
            (line,) = said(out)
            assert line["alert_id"] == text
