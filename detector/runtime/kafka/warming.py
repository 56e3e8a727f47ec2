"""Load the compiled kernels before they are needed: a worker judges a little sample log, and forgets it.

Purpose: a kernel is compiled, or loaded from its cache, where it is first called. In the fold that would be while an
operator waits, or while the group does.
Invariants: nothing of the sample leaves here; no state is shared with the worker's own.
Limits: what the sample does not call (rare forms of input) loads later.
Source: the sample log that comes with the program.
"""

import io
import itertools
import threading
from pathlib import Path
from typing import Final

import numpy as np
import zstandard

from detector import hashing
from detector.config import Settings, TableSettings
from detector.decode import decode_lines
from detector.encode import DEFAULT_TENANT, encode
from detector.frames import wire
from detector.judge import Judge
from detector.runtime.feed import with_fingerprints
from detector.runtime.kafka.session import fold
from detector.snapshot import snapshot

SAMPLE: Final = Path(__file__).parents[2] / "tuning" / "demo" / "events.jsonl.zst"
EVENTS: Final = 800  # four hours: a campaign opens in them
TABLES: Final = TableSettings(accounts_max=1_024, links_max=4_096, promoted_max=256, admission_cells=1 << 12)
SETTINGS: Final = Settings(pane_ms=60_000, discovery_ms=600_000, tables=TABLES)


def warm() -> int:
    """Judge the sample; returns how many outputs it made."""
    key, source = hashing.DEVELOPMENT_KEY, "sample"
    with SAMPLE.open("rb") as file:
        lines = list(itertools.islice(io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file)), EVENTS))
    decoded = decode_lines(lines)
    rows = decoded.batch if decoded.content is None else with_fingerprints(decoded.batch, decoded.content, key=key)
    positions = np.arange(len(rows))
    judge = Judge(DEFAULT_TENANT, (source,), SETTINGS)
    for frame in encode(rows, positions=positions, source=source, first=0, stop=len(rows), key=key):
        fold(judge, wire(frame))
    judge.end(source)
    snapshot(judge, key=key)
    return len(judge.take_outputs())


def warm_beside() -> None:
    """Warm up in a thread that nobody waits for: joining the group takes longer."""
    threading.Thread(target=warm, name="stillwatch-warming", daemon=True).start()
