"""Cells of the detection matrix: one world, one coverage of fields, judged and scored.

A cell's result is kept in a file named after a digest of the code and the cell, so that only
what changed is run again. Cells of one world share its generation. Worker processes are few:
a world and a judge take a gigabyte.
"""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from detector.config import Settings
from detector.encode import encode
from detector.events import EventBatch
from detector.hashing import DEVELOPMENT_KEY
from detector.judge import Judge
from detector.records import Alert, Decision
from detector.tuning.evaluate import evaluate, labels_from
from detector.tuning.generate import Size, generate
from detector.tuning.generate.render import project
from tests.bench.bench_fingerprint import data_directory
from tests.bench.measure import ROOT

WORKERS = 2


class Cell(NamedTuple):
    """One point of the matrix; None takes the family's default."""

    family: str
    fields: str = "full"
    part: str = "validation"
    seed: int = 1
    accounts: int = 2_000  # ordinary ones; the twins come on top
    days: float = 3.0
    attackers: int | None = None
    per_day: float | None = None
    cover: float = 0.0
    disguise: str | None = None
    approve_after_ms: int = -1

    @property
    def world(self) -> "Cell":
        """What the world depends on."""
        return self._replace(fields="full", approve_after_ms=-1)


def code_digest() -> str:
    """A digest of everything that a result depends on: the package and this file."""
    files = sorted(p for p in (ROOT / "detector").rglob("*") if p.suffix in {".py", ".toml"})
    digest = hashlib.blake2b(digest_size=16)
    for path in [*files, Path(__file__)]:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cell_path(cell: Cell, *, folder: Path, code: str) -> Path:
    """Where a cell's result is kept."""
    name = hashlib.blake2b(orjson.dumps([code, *cell]), digest_size=12).hexdigest()
    return folder / f"{cell.family}-{cell.fields}-{name}.json"


def judged(batches: list[EventBatch], *, approve_after_ms: int = -1) -> tuple[list[Alert], list[Decision], Any]:
    """What the engine, as installed, says of a log: alerts, decisions, members."""
    judge, at = Judge("default", ("log",), Settings()), 0
    judge.cases.desk.approve_after_ms = approve_after_ms
    for batch in batches:
        stop = at + len(batch)
        for frame in encode(
            batch, positions=np.arange(at, stop), source="log", first=at, stop=stop, key=DEVELOPMENT_KEY
        ):
            judge.apply(frame)
        at = stop
    judge.end("log")
    outputs = judge.take_outputs()
    alerts = [o for o in outputs if isinstance(o, Alert)]
    return alerts, [o for o in outputs if isinstance(o, Decision)], judge.members()


def run_world(cells: list[Cell]) -> list[dict[str, Any]]:
    """Generate the world that the cells share, and score each."""
    first = cells[0]
    size = Size(accounts=first.attackers, requests_per_day=first.per_day, cover=first.cover, disguise=first.disguise)
    world = generate(
        first.family,
        texts_dir=data_directory(),
        part=first.part,
        seed=first.seed,
        accounts=first.accounts,
        days=first.days,
        attack=size,
    )
    batches, labels = list(world.batches()), labels_from(world.labels)
    out = []
    for cell in cells:
        seen = [project(batch, fields=cell.fields) for batch in batches]
        alerts, decisions, members = judged(seen, approve_after_ms=cell.approve_after_ms)
        scores = evaluate(seen, labels=labels, alerts=alerts, decisions=decisions, members=members)
        out.append({"cell": cell._asdict(), "scores": scores})
    return out


def results(cells: list[Cell], *, folder: Path) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Scores of every cell as they come, from the folder where they are known."""
    folder.mkdir(parents=True, exist_ok=True)
    code = code_digest()
    worlds: dict[Cell, list[Cell]] = {}
    for cell in cells:
        path = cell_path(cell, folder=folder, code=code)
        if path.exists():
            yield cell, orjson.loads(path.read_bytes())["scores"]
        else:
            worlds.setdefault(cell.world, []).append(cell)
    if not worlds:
        return
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        waiting = {pool.submit(run_world, group): group for group in worlds.values()}
        for done in as_completed(waiting):
            for cell, result in zip(waiting[done], done.result(), strict=True):
                path = cell_path(cell, folder=folder, code=code)
                part = path.with_suffix(".part")
                part.write_bytes(orjson.dumps(result))
                part.replace(path)
                yield cell, result["scores"]
