r"""Escaping: what strangers wrote, made harmless for each place that shows it.

Purpose: the one home of the rules for terminals, CEF and Slack; JSON and CSV build on the first.
Invariants: `printable` text has no control character (so no escape sequence and no line of
its own), no bidirectional or zero-width one, no separator but the blank.
Limits: look-alike letters stay. Slack has no escape for bold, italic and struck text, so a stranger's
string goes into a span of code, where they mean nothing; in a sentence of ours they may show.
Source: Unicode's categories as `str.isprintable` has them; ArcSight's Common Event Format,
revision 25; Slack's page on formatting text.
"""

from typing import Final

REPLACED: Final = "\ufffd"


def printable(text: str) -> str:
    r"""Replace every character that is not printable.

    >>> printable("a\x1b[31mb\u202ec")
    'a�[31mb�c'
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else REPLACED for c in text)


def shortened(text: str, *, chars_max: int) -> str:
    """Cut a text, and show that it was cut.

    >>> shortened("abcdef", chars_max=4)
    'abc…'
    """
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def cef_header(text: str) -> str:
    r"""Write a field of CEF's header: backslash and pipe are escaped.

    >>> cef_header("a|b\\")
    'a\\|b\\\\'
    """
    return printable(text).replace("\\", "\\\\").replace("|", "\\|")


def cef_value(text: str) -> str:
    r"""Write a value of CEF's extension: backslash and equals sign are escaped.

    >>> cef_value("x cs1=y\n")
    'x cs1\\=y�'
    """
    return printable(text).replace("\\", "\\\\").replace("=", "\\=")


def mrkdwn(text: str) -> str:
    """Write text for Slack: its three control characters as entities, so that it links and mentions nobody.

    A backtick becomes an apostrophe, since it might end a span or a block of code.

    >>> mrkdwn("<!channel> & `co`")
    "&lt;!channel&gt; &amp; 'co'"
    """
    return printable(text).replace("`", "'").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def mrkdwn_code(text: str) -> str:
    """Write a stranger's string for Slack as code, in which no style is read.

    >>> mrkdwn_code("*a* `b`")
    "`*a* 'b'`"
    """
    return f"`{mrkdwn(text) or ' '}`"
