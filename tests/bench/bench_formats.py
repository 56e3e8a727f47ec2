"""Foreign formats to access.v1: what conversion adds to decoding, against parsing the same lines.

Floor: one core that parses each line with orjson and drops it.
Measured: `formats.convert` of full records (every field that a format has, with raw text), and
`decode_text` of what it made, on the same core; the share of conversion in both together.
Not measured: fingerprinting of the text, and reading of files.
Run: `python -m tests.bench.bench_formats [--events N] [--only kong]`.
"""

import argparse
import importlib
from typing import Any

import orjson

from detector.decode import decode_text
from detector.formats import FORMATS, convert
from tests.bench.measure import arguments, best_seconds, figure, headline

EVENTS = 10_000


def record_of(name: str) -> Any:
    """The full record of a format's test."""
    module = importlib.import_module(f"tests.unit.formats.test_{name}")
    return module.API if name == "cloudflare" else module.FULL


def measure(name: str, *, events: int) -> None:
    """Print one format's figures."""
    line = orjson.dumps(record_of(name))
    data = b"\n".join([line] * events)
    lines = data.split(b"\n")
    made = convert(data, form=FORMATS[name])
    assert decode_text(made.data).batch.num_rows == events
    floor = events / best_seconds(lambda: [orjson.loads(one) for one in lines], passes=3)
    converting = best_seconds(lambda: convert(data, form=FORMATS[name]), passes=3)
    decoding = best_seconds(lambda: decode_text(made.data), passes=3)
    headline(name, events=events, bytes_per_event=len(line), bytes_made_per_event=len(made.data) // events)
    figure("orjson.loads (the floor)", floor, "events/s", ratio=1.0)
    figure("convert", events / converting, "events/s", ratio=events / converting / floor)
    figure("convert", 1e6 * converting / events, "us/event")
    figure("decode what it made", 1e6 * decoding / events, "us/event")
    figure("conversion's share of both", converting / (converting + decoding), "")


def main() -> None:
    """Print every format's figures."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--events", type=int, default=EVENTS, help="records of each format")

    options = arguments(__doc__, own)
    for name in sorted(FORMATS):
        if name.startswith(options.only):
            measure(name, events=options.events)


if __name__ == "__main__":
    main()
