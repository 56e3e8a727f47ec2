"""An alert as a page for a terminal: what happened, why, what it takes to be wrong, what was lost, what to do."""

from collections import Counter
from collections.abc import Iterator

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from detector import story
from detector.cli.output import console
from detector.records import Alert, format_time
from detector.runtime.printing import printable
from detector.story import Bar
from detector.vocabulary import Severity

BAR_WIDTH = 20
MEMBERS_SHOWN = 5
WIDTH_MIN = 90  # of a terminal that has room for words beside the bars
INDENT = (0, 0, 0, 2)
COLOURS: dict[Severity, str] = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}


def write_page(alert: Alert) -> None:
    """Print an alert. Strings of strangers are printable text and nothing else."""
    out = console()
    for part in _parts(alert, story.tell(alert), narrow=out.width < WIDTH_MIN):
        out.print(part)


def _text(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold")


def _indented(what: RenderableType) -> Padding:
    return Padding(what, INDENT, expand=False)


def _parts(alert: Alert, told: story.Story, *, narrow: bool) -> Iterator[RenderableType]:
    yield _text(told.headline, COLOURS[alert.severity])
    reason = f" ({alert.status_reason})" if alert.status_reason else ""
    stands = f"{alert.alert_id} revision {alert.revision}, {alert.status}{reason}"
    yield _text(f"{stands}; detected {format_time(alert.detected_at)}", "dim")
    yield _text(told.summary)
    if told.why:
        yield _heading("Why")
        yield _indented(_bars(told.why, narrow=narrow))
        yield _indented(_text(told.verdict))
    for heading, lines in (
        ("It would be wrong", told.wrong),
        ("Left the building", (told.lost,)),
        ("Do now", (told.todo,)),
        ("Shared", _shared(alert)),
        ("Read on", (told.read_on,)),
    ):
        if any(lines):
            yield _heading(heading)
            yield from (_indented(_text(line)) for line in lines)


def _bars(why: tuple[Bar, ...], *, narrow: bool) -> Table:
    """A bar for each piece of evidence: accusing ones red, what speaks against green, what is not counted dim.

    What it says stands beside its bar, on a narrow terminal below it.
    """
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    if not narrow:
        for justify in ("left", "left", "right"):
            table.add_column(justify=justify, no_wrap=True)
    table.add_column(overflow="fold")
    width = max(len(bar.family) for bar in why)
    for bar in why:
        style = "dim" if not bar.counted else "red" if bar.log_odds > 0 else "green"
        title = bar.title if bar.counted else f"{bar.title} (not counted)"
        said = _text(f"{title}: {bar.facts}" if bar.facts else title)
        drawn, odds = story.drawn(bar.log_odds, full=bar.full, width=BAR_WIDTH), f"{bar.log_odds:+.1f}"
        if narrow:
            table.add_row(_text(f"{bar.family:<{width}}  {drawn}  {odds:>5}", style))
            table.add_row(_indented(said))
        else:
            table.add_row(_text(bar.family, style), Text(drawn, style), Text(odds), said)
    return table


def _shared(alert: Alert) -> tuple[str, ...]:
    block = alert.campaign
    if block is None:
        return ()
    kinds = Counter(link.kind for link in block.links)
    shown = block.members_sample[:MEMBERS_SHOWN]
    more = f" and {block.accounts - len(shown):,} more" if block.accounts > len(shown) else ""
    # Each name by itself: one that a stranger chose may look like the end of a list.
    return (
        ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "nothing that a link names",
        f"by {', '.join(map(repr, shown))}{more}",
    )
