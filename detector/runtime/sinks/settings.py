"""Which sinks there are: the `[[sinks]]` tables of the configuration file.

Purpose: one frozen value for each sink; unknown keys are errors.
Invariants: names are unique, because a sink's place in the topic is kept under its name. A secret is
read when a sink is made, comes from a file or the environment only, and is part of no value here.
Limits: one configuration file; the alerts of all tenants go to every sink.
Source: the `kind`s are those of the operators' handbook.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import msgspec

from detector.records import ConfigError
from detector.sinks.lines import AlertFormat

PAGERDUTY_VARIABLE: Final = "STILLWATCH_PAGERDUTY_KEY"
SLACK_VARIABLE: Final = "STILLWATCH_SLACK_TOKEN"
WEBHOOK_VARIABLE: Final = "STILLWATCH_WEBHOOK_TOKEN"
ALERTMANAGER_VARIABLE: Final = "STILLWATCH_ALERTMANAGER_TOKEN"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,47}")
_URL: Final = re.compile(r"https?://[^\s@]+")


class Common(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every sink has. Times in milliseconds of wall clock.

    `name` is the kind's unless given; `runbooks` is the URL under which the runbooks are published.
    """

    name: str = ""
    runbooks: str = ""
    timeout_ms: int = 10_000
    back_off_ms: int = 1_000
    back_off_ms_max: int = 60_000


class PagerDuty(Common, frozen=True, kw_only=True, tag_field="kind", tag="pagerduty"):
    """Events API v2; the integration key is in `key_file` or the environment."""

    url: str = "https://events.pagerduty.com/v2/enqueue"
    key_file: str = ""


class Alertmanager(Common, frozen=True, kw_only=True, tag_field="kind", tag="alertmanager"):
    """An Alertmanager's own URL; alerts that are open are sent again every `resend_ms`, as it expects."""

    url: str
    token_file: str = ""
    resend_ms: int = 60_000


class Slack(Common, frozen=True, kw_only=True, tag_field="kind", tag="slack"):
    """A bot's token in `token_file` or the environment; `channel` is the channel's id."""

    channel: str
    url: str = "https://slack.com/api"
    token_file: str = ""


class Webhook(Common, frozen=True, kw_only=True, tag_field="kind", tag="webhook"):
    """Any URL: the alert as it is, or inside a CloudEvent (structured mode)."""

    url: str
    cloudevents: bool = False
    token_file: str = ""


class Lines(Common, frozen=True, kw_only=True, tag_field="kind", tag="file"):
    """A file of lines, one an alert's revision, appended to."""

    path: str
    format: AlertFormat = "ocsf"


class Topic(Common, frozen=True, kw_only=True, tag_field="kind", tag="topic"):
    """Another topic of the same brokers, by its name without the prefix."""

    topic: str
    format: AlertFormat = "ocsf"


SinkSettings = PagerDuty | Alertmanager | Slack | Webhook | Lines | Topic


def sinks_from(text: str) -> tuple[SinkSettings, ...]:
    r"""Read the `[[sinks]]` tables of a configuration file. Raises `ConfigError`.

    >>> sinks_from('[[sinks]]\nkind = "pagerduty"')[0].name
    'pagerduty'
    """
    try:
        tables: Any = tomllib.loads(text).get("sinks", [])
        found = msgspec.convert(tables, tuple[SinkSettings, ...])
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as wrong:
        raise ConfigError(f"settings: sinks: {wrong}") from wrong
    kinds = (str(table["kind"]) for table in tables)
    named = tuple(s if s.name else msgspec.structs.replace(s, name=k) for s, k in zip(found, kinds, strict=True))
    for at, sink in enumerate(named):
        _check(sink, place=f"sinks[{at}]")
        if sink.name in [other.name for other in named[:at]]:
            raise ConfigError(f"sinks[{at}].name={sink.name!r} is taken: give each sink a name of its own")
    return named


def _check(sink: SinkSettings, *, place: str) -> None:
    if not _NAME.fullmatch(sink.name):
        raise ConfigError(f"{place}.name={sink.name!r} must be lower-case letters, digits and dashes, at most 48")
    for field in ("timeout_ms", "back_off_ms", "back_off_ms_max", "resend_ms"):
        if getattr(sink, field, 1) <= 0:
            raise ConfigError(f"{place}.{field}={getattr(sink, field):_} must be positive")
    if sink.runbooks and not (_URL.fullmatch(sink.runbooks) and sink.runbooks.endswith("/")):
        raise ConfigError(f"{place}.runbooks={sink.runbooks!r} must be a http(s) URL that ends in /")
    if not isinstance(sink, Lines | Topic) and not _URL.fullmatch(sink.url):
        # What stands before an @ may be a password, so the value is not repeated.
        raise ConfigError(f"{place}.url must be a http(s) URL without a password; secrets come from files")


def secret_of(path: str, variable: str, *, place: str, needed: bool) -> str:
    """Read a secret from its file, else the environment. Raises `ConfigError` where it is needed and missing."""
    try:
        found = Path(path).read_text().strip() if path else os.environ.get(variable, "").strip()
    except (OSError, UnicodeDecodeError) as wrong:
        raise ConfigError(f"{place}: {path} does not read: {type(wrong).__name__}") from wrong
    if needed and not found:
        raise ConfigError(f"{place} needs a secret: a file that holds it, or {variable}")
    if not found.isascii() or not found.isprintable():
        raise ConfigError(f"{place}: the secret must be one line of ASCII")
    return found
