"""Generated worlds through the engine as installed, and the scores of `evaluate`; no files."""

from typing import Any

import numpy as np

from detector.config import Settings
from detector.encode import encode
from detector.hashing import DEVELOPMENT_KEY
from detector.judge import Judge
from detector.records import Alert, Decision
from detector.tuning.evaluate import evaluate, labels_from
from detector.tuning.generate import generate
from tests.conftest import data_path


def scores(scenario: str, *, seed: int, part: str, **sizes: Any) -> dict[str, Any]:
    """Generate a world on one part of the texts, judge it, score it."""
    world = generate(scenario, texts_dir=data_path(), part=part, seed=seed, **sizes)
    batches = list(world.batches())
    judge, at = Judge("default", ("log",), Settings()), 0
    for batch in batches:
        positions = np.arange(at, at + len(batch))
        for frame in encode(
            batch, positions=positions, source="log", first=at, stop=at + len(batch), key=DEVELOPMENT_KEY
        ):
            judge.apply(frame)
        at += len(batch)
    judge.end("log")
    outputs = judge.take_outputs()
    alerts = [o for o in outputs if isinstance(o, Alert)]
    decisions = [o for o in outputs if isinstance(o, Decision)]
    made = evaluate(
        batches, labels=labels_from(world.labels), alerts=alerts, decisions=decisions, members=judge.members()
    )
    return made | {"campaign_alerts": len({a.alert_id for a in alerts if a.kind == "campaign"})}
