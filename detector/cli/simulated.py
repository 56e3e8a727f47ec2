"""What `stillwatch decisions simulate` answers, wherever the decisions come from."""

from collections.abc import Sequence
from typing import Annotated

import orjson
import typer

from detector.cli.forms import Answers
from detector.cli.output import Listing
from detector.records import Decision
from detector.tuning.simulate import Reach
from detector.tuning.simulate import simulate as held_against

Logs = Annotated[list[str], typer.Argument(metavar="IN", help="logs: what the decisions are held against")]
Top = Annotated[int, typer.Option(min=0, help="show so many decisions, those with most requests")]
REACHED = {"requests": "requests", "contained": "contained", "slowed": "slowed"}


def write_simulated(
    answers: Answers, decisions: Sequence[Decision], inputs: list[str], *, top: int, key: bytes
) -> None:
    """Answer with what decisions do to a log. Raises `DetectorError` or `OSError`."""
    result = held_against(decisions, inputs, key=key)
    tiers = [{"tier": name, **reach._asdict()} for name, reach in result.tiers.items()]
    keys = [{**_named(named), **reach._asdict()} for named, reach in _most(result.keys, top)]
    total, more = result.total, len(result.keys) - len(keys)
    if answers.form in (Listing.json, Listing.jsonl):
        answers.one({"total": total._asdict(), "tiers": tiers, "decisions": keys, "keys": len(result.keys)})
    elif answers.form is Listing.csv:
        named = {name: name for name in ("tier", "tenant", "scope", "value")}
        answers.rows([*tiers, *keys], named | REACHED, nothing="")
    else:
        answers.rows(tiers, {"tier": "tier", **REACHED}, nothing="no event")
        typer.echo()
        if keys:
            answers.rows(keys, {"tenant": "tenant", "scope": "scope", "value": "value", **REACHED}, nothing="")
            typer.echo(f"and {more:,} more keys: --top\n" if more else "")
        typer.echo(
            f"{total.requests:,} requests, {total.contained:,} contained and {total.slowed:,} slowed by decisions "
            f"under {len(result.keys):,} keys"
        )


def _most(keys: dict[bytes, Reach], top: int) -> list[tuple[bytes, Reach]]:
    return sorted(keys.items(), key=lambda item: (-item[1].requests, item[0]))[:top]


def _named(key: bytes) -> dict[str, str]:
    return dict(zip(("tenant", "scope", "value"), orjson.loads(key), strict=True))
