"""One fold of a log by the engine of whichever checkout stands first on the path: what `bench_engine` starts.

Measured: processor time of reading and encoding, and of judging, without the first tenth of
the events, which compiles, loads and fills. Printed as one line of JSON.
Limits: it may use only what the engines of both checkouts have: `feed.pieces`, `Settings`, `Judge`.
Run by `bench_engine`, with the checkout as PYTHONPATH: `python engine_run.py LOG CHECKOUT`.
"""

import json
import sys
import time
from pathlib import Path

import detector
from detector.config import Settings
from detector.judge import Judge
from detector.runtime.feed import Piece, pieces

LEFT_OUT = 0.1
KEY = b"bench-engine-key-of-32-bytes...."


def folded(log: str) -> dict[str, float]:
    """Fold a log; processor seconds of each part and the rows that they took."""
    spent = {"encode": 0.0, "judge": 0.0}
    rows = taken = 0
    judge: Judge | None = None
    feed = pieces([log], key=KEY, tenants=(), workers=1)
    while True:
        start = time.process_time()
        piece = next(feed, None)
        encoded = time.process_time()
        if not isinstance(piece, Piece):
            if judge is not None:
                judge.end(log)  # closes the panes that lateness held open, and discovers once more
            spent["judge"] += time.process_time() - encoded
            break
        judge = judge or Judge(piece.frames[0].tenant, (log,), Settings())
        for frame in piece.frames:
            judge.apply(frame)
        judge.take_outputs()
        judge.take_refused()
        judged = time.process_time()
        rows += piece.rows
        if piece.share is not None and piece.share > LEFT_OUT:
            spent["encode"] += encoded - start
            spent["judge"] += judged - encoded
            taken += piece.rows
    return spent | {"rows": taken, "all": rows}


def main() -> None:
    """Fold the log and print what it took."""
    log, checkout = sys.argv[1:]
    assert detector.__file__ is not None
    assert Path(detector.__file__).is_relative_to(checkout), f"{detector.__file__} is not of {checkout}"
    print(json.dumps(folded(log)))


if __name__ == "__main__":
    main()
