"""Time line: what went through a run, window by window.

Purpose: `timeline.parquet`, for whoever draws a run or asks when it happened. Every run has a row for each
window with events, of the whole log (`campaign` is null): requests and output tokens. Labels add what was slowed and
contained, and rows for each campaign of the truth (`tuning.detail`).
Invariants: counts are exact, and depend on the events alone; windows begin at multiples of their width.
Limits: at most some `WINDOWS_MAX` windows, however long the run; a record given twice counts twice, one that
came too late for its pane counts too.
Source: the replay handbook's files of DIR.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet

from detector.frames import NUM, Frame

FILE: Final = "timeline.parquet"
WINDOWS_MAX: Final = 240
WINDOW_STEPS_MS: Final = tuple(60_000 * minutes for minutes in (10, 30, 60, 180, 360, 720, 1_440, 10_080))
SCHEMA: Final = pa.schema(
    [
        ("window_start_ms", pa.int64()),
        ("campaign", pa.string()),  # of the truth; null: the whole log
        *((name, pa.int64()) for name in ("requests", "output_tokens")),
        # Null without labels.
        *((name, pa.int64()) for name in ("slowed_output_tokens", "contained_output_tokens")),
    ]
)
I64 = npt.NDArray[np.int64]


def window_ms_for(span_ms: tuple[int, int]) -> int:
    """The width of the windows.

    >>> window_ms_for((0, 86_400_000)) // 60_000
    10
    """
    whole = span_ms[1] - span_ms[0]
    return next((step for step in WINDOW_STEPS_MS if whole <= step * WINDOWS_MAX), -(-whole // WINDOWS_MAX))


class Timeline:
    """Counts by the finest window, until the run's span is known."""

    def __init__(self) -> None:
        """Start at zero."""
        self._held: dict[int, tuple[int, int]] = {}  # window of the finest width: requests, output tokens

    def add(self, frames: Iterable[Frame]) -> None:
        """Count the rows of frames."""
        for frame in frames:
            windows, places = np.unique(frame.numbers[:, NUM.TIME] // WINDOW_STEPS_MS[0], return_inverse=True)
            requests = np.bincount(places, minlength=windows.size)
            tokens: I64 = np.zeros(windows.size, np.int64)
            np.add.at(tokens, places, np.maximum(frame.numbers[:, NUM.OUTPUT], 0))
            for window, *counts in zip(windows.tolist(), requests.tolist(), tokens.tolist(), strict=True):
                before = self._held.get(window, (0, 0))
                self._held[window] = (before[0] + counts[0], before[1] + counts[1])

    def write(self, path: Path, *, span_ms: tuple[int, int]) -> None:
        """Write the file of a run whose events lie within `span_ms`."""
        finest = WINDOW_STEPS_MS[0]
        width = -(-window_ms_for(span_ms) // finest)
        rows: dict[int, tuple[int, int]] = {}
        for window, (requests, tokens) in sorted(self._held.items()):
            start_ms = window // width * width * finest
            before = rows.get(start_ms, (0, 0))
            rows[start_ms] = (before[0] + requests, before[1] + tokens)
        counts = {"requests": [r for r, _ in rows.values()], "output_tokens": [t for _, t in rows.values()]}
        write_rows(path, {"window_start_ms": list(rows)} | counts)


def write_rows(path: Path, columns: Mapping[str, list[int] | list[str | None] | I64]) -> None:
    """Write columns of the schema; those that are missing are null."""
    rows = len(columns["window_start_ms"])
    made = [pa.array(columns[f.name], f.type) if f.name in columns else pa.nulls(rows, f.type) for f in SCHEMA]
    pyarrow.parquet.write_table(pa.table(made, schema=SCHEMA), path, compression="zstd")
