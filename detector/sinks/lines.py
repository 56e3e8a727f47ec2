"""Lines: an alert in each format that a log or a topic may carry.

Purpose: one way to write a revision as native JSON, OCSF, ECS or CEF.
Invariants: UTF-8 without a newline, so that a file of them has one alert a line; equal alerts give
equal bytes.
Limits: none of its own.
Source: JSON Lines; the formats' own modules.
"""

from typing import Literal

import orjson

from detector.records import Alert, encode
from detector.sinks import cef, ecs, ocsf

AlertFormat = Literal["native", "ocsf", "ecs", "cef"]


def line_of(alert: Alert, *, form: AlertFormat, runbooks: str = "") -> bytes:
    """The bytes of one revision. `runbooks` is the runbooks' URL."""
    if form == "native":
        return encode(alert)
    if form == "cef":
        return cef.line_of(alert, runbooks=runbooks).encode()
    conversion = ocsf.finding_of if form == "ocsf" else ecs.document_of
    return orjson.dumps(conversion(alert, runbooks=runbooks))
