"""A dossier for people: CommonMark with tables.

Purpose: `markdown` writes the tree that `dossier` makes.
Invariants: a stranger's string (an account, a label's note, a program's name) is literal text there: no markup, link,
HTML or line of its own. The first table is the letters' own.
Limits: tables are GitHub's extension of CommonMark; elsewhere they are lines of text.
Source: CommonMark 0.31, backslash escapes and code spans; GitHub Flavored Markdown's tables.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from detector.runtime.printing import printable

_MEANS_SOMETHING = re.compile(r"([\\`*_{}\[\]<>#!|&~@:.$^])")


def literal(text: object) -> str:
    r"""Write a string so that Markdown shows it as it is: one line, every sign that could mean something escaped.

    >>> literal("a|b <i>*x*")
    'a\\|b \\<i\\>\\*x\\*'
    """
    return _MEANS_SOMETHING.sub(r"\\\1", printable(str(text)))


def code(text: object) -> str:
    r"""Write an identifier as a code span that holds in a table's cell as well.

    >>> code("a`b|c")
    '``a`b\\|c``'
    """
    said = printable(str(text)).replace("|", r"\|") or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", said)), default=0))
    pad = " " if said[0] == "`" or said[-1] == "`" else ""
    return f"{fence}{pad}{said}{pad}{fence}"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _row(*head)
    yield _row(*("---" for _ in head))
    for row in rows:
        yield _row(*row)
    yield ""


def _amounts(counts: dict[str, int]) -> str:
    return ", ".join(f"{literal(name)} {count:,}" for name, count in counts.items()) or "-"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def markdown(told: dict[str, Any]) -> str:
    """Write a dossier for people: CommonMark with tables."""
    window, damage, pathway = told["window"], told["damage"], told["pathway"]
    state = literal(told["status"]) + (f" ({literal(told['status_reason'])})" if told["status_reason"] else "")
    cost = "" if damage["cost_usd"] is None else f", {damage['cost_usd']:,.2f} USD"
    lines = [
        f"# Campaign {code(told['campaign_id'])}",
        "",
        f"Alert {code(told['alert_id'])}, revision {told['revision']}, {state}; tenant {code(told['tenant'])}; "
        f"shape: {literal(told['shape'])}; actor: {literal(told['actor'])}.",
        "",
        *_table(
            ("Accounts", "Exchanges", "Window", "Capabilities targeted", "Pathway", "Damage"),
            [
                (
                    f"{told['accounts']['total']:,} ({told['accounts']['per_account_day']:,} requests a day each)",
                    f"{told['exchanges']:,} ({window['requests_per_day']:,} a day)",
                    f"{window['first_seen']} to {window['last_seen']} ({window['days']:,} days)",
                    _capability_words(told["capabilities"]),
                    _pathway_words(pathway),
                    f"{_number(damage['output_tokens'])} output tokens, "
                    f"{_number(damage['reasoning_tokens'])} of reasoning{cost}",
                )
            ],
        ),
        f"Detected {window['detected_at']}.",
        "",
        "## Evidence",
        "",
        *_evidence_lines(told),
        *_pathway_lines(pathway),
        "## What was done",
        "",
        *_done_lines(told["decisions"]),
        "## How it grew",
        "",
        *_table(
            ("At", "Accounts", "Exchanges", "Severity"),
            [(t["at"], f"{t['accounts']:,}", f"{t['requests']:,}", t["severity"]) for t in told["timeline"]],
        ),
        *_closing_lines(told),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _capability_words(told: list[dict[str, Any]]) -> str:
    words = [
        literal(c["capability"]) + ("" if c["share"] is None else f" ({100 * c['share']:.0f} % of requests)")
        for c in told
    ]
    return ", ".join(words) or "not told by the log"


def _pathway_words(pathway: dict[str, Any]) -> str:
    shared = f"accounts share {_amounts(pathway['links'])}"
    seen = pathway["traffic"]
    if seen is None:
        return shared
    return f"{shared}; over {_amounts(seen['networks'])}; {seen['subnets']:,} subnets, {seen['payments']:,} payments"


def _fact(name: str, fact: dict[str, Any]) -> str:
    """A number with its unit, unless the name says it, and with what it is held against."""
    unit = "" if fact["unit"] in (*name.split(), "share") else f" {literal(fact['unit'])}"
    against = (("threshold", fact["threshold"]), ("population", fact["baseline"]))
    held = ", ".join(f"{word} {_number(number)}" for word, number in against if number is not None)
    return f"{literal(name)} {_number(fact['value'])}{unit}" + (f" ({held})" if held else "")


def _evidence_lines(told: dict[str, Any]) -> Iterator[str]:
    verdict = told["verdict"]
    if verdict is not None:
        yield (
            f"Log-odds {verdict['log_odds']:.2f} against a threshold of {verdict['threshold']:.2f} "
            f"(prior {verdict['prior']:.2f})."
        )
        yield ""
    rows = []
    for item in told["evidence"]:
        facts = "; ".join(_fact(name.replace("_", " "), fact) for name, fact in item["facts"].items())
        used = f"{item['log_odds']:+.2f}" if item["counted"] else f"({item['log_odds']:+.2f})"
        rows.append((literal(item["family"]), f"{literal(item['title'])} {code(item['signature'])}", used, facts))
    yield from _table(("Family", "Signature", "Log-odds (not counted)", "Facts"), rows)


def _pathway_lines(pathway: dict[str, Any]) -> Iterator[str]:
    yield from ("## Pathway", "")
    rows = [
        (literal(n["kind"]), code(n["value"]), f"{n['accounts']:,}", f"{n['requests']:,}")
        for n in pathway["strongest_links"]
    ]
    yield from _table(("Shared by its accounts", "Value", "Accounts", "Requests"), rows)
    seen = pathway["traffic"]
    if seen is None:
        yield from ("The log was not at hand: networks, programs and models are not told.", "")
        return
    yield from _table(
        ("Also shown by its members", "Value", "Members", "Requests", "Other accounts"),
        [
            (
                literal(a["kind"]),
                code(a["value"]),
                f"{a['accounts']:,}",
                f"{a['requests']:,}",
                f"{a['other_accounts']:,}",
            )
            for a in seen["shared"]
        ],
    )
    yield f"Models: {_amounts(seen['models'])}. Seen in the log: {seen['accounts_seen']:,} of its accounts."
    yield ""


def _done_lines(done: dict[str, Any]) -> Iterator[str]:
    if not done["records"]:
        yield from ("No decision was made.", "")
        return
    yield (
        f"{done['records']:,} decisions from {done['first_at']} on ({_amounts(done['modes'])}); keys by "
        f"their strictest action: {_amounts(done['keys_by_strictest_action'])}; {done['revoked']:,} revoked."
    )
    yield ""


def _closing_lines(told: dict[str, Any]) -> Iterator[str]:
    if told["labels"]:
        yield from ("## Analysts' words", "")
        rows = [(n["at"], literal(n["verdict"]), literal(n["by"]), literal(n["note"] or "-")) for n in told["labels"]]
        yield from _table(("At", "Verdict", "By", "Note"), rows)
    yield from ("## Limits", "")
    for off in told["blind"]:
        yield f"- {code(off['signature'])} could not judge: {literal(', '.join(off['missing']))}"
    yield f"- Techniques (MITRE ATLAS): {literal(', '.join(told['techniques']))}"
    yield "- Who is behind it is not said: accounts are joined by what they share, not by who owns them."
    if told["runbook"]:
        yield f"- Runbook: {code(told['runbook'])}"
    yield f"- Settings {code(told['producer']['config_hash'])}, version {literal(told['producer']['version'])}"
