"""Rendering: sections become one page of HTML.

Purpose: the only place where blocks turn into markup, for the report and for the live page.
Invariants: every value is escaped by the template engine, whatever it is, and what cannot be
printed is replaced before (control characters, bidirectional overrides). A page loads nothing:
its policy allows its own style sheet, by digest, and nothing else. The live page may also run
its one script and ask its own server.
Limits: strings of logs never stand in an attribute, an address, a style or a script.
Source: Content Security Policy, level 3; OWASP's page on cross-site scripting.
"""

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from detector.pages.blocks import Section
from detector.runtime.printing import printable


def _shown(value: Any) -> Any:
    """What the template writes for a value."""
    assert value is not None, "a page shows what it has words for"
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("detector.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


@cache
def asset(name: str) -> str:
    """The text of a file that pages carry or ask for: `style.css`, `live.js`."""
    return (files("detector.pages") / "templates" / name).read_text()


@cache
def style_policy() -> str:
    """The policy's source of our style sheet: its digest."""
    digest = hashlib.sha256(asset("style.css").encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


class Page(NamedTuple):
    """A whole page: its name, a line under it, and its parts."""

    title: str
    lead: str
    sections: Sequence[Section]


def report_html(page: Page) -> str:
    """The page as one file that loads nothing and runs nothing."""
    policy = f"default-src 'none'; style-src {style_policy()}; base-uri 'none'; form-action 'none'"
    style = Markup(asset("style.css"))  # noqa: S704 - our own file
    return _environment().get_template("report.html").render(page=page, policy=policy, style=style)


def live_html(page: Page, *, refresh_s: int) -> str:
    """The page that asks its server for new parts."""
    return _environment().get_template("live.html").render(page=page, refresh_s=refresh_s)


def live_parts(page: Page) -> str:
    """The parts alone, for the script to put in place."""
    return _environment().get_template("sections.html").render(page=page)
