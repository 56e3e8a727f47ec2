"""Generated worlds through the engine as installed, and the scores of `evaluate`; no files."""

from typing import Any

from detector.tuning.evaluate import evaluate, labels_from
from detector.tuning.generate import generate
from tests.bench.cells import judged
from tests.conftest import data_path


def scores(scenario: str, *, seed: int, part: str, **sizes: Any) -> dict[str, Any]:
    """Generate a world on one part of the texts, judge it, score it."""
    world = generate(scenario, texts_dir=data_path(), part=part, seed=seed, **sizes)
    batches = list(world.batches())
    alerts, decisions, members = judged(batches)
    made = evaluate(batches, labels=labels_from(world.labels), alerts=alerts, decisions=decisions, members=members)
    return made | {"campaign_alerts": len({a.alert_id for a in alerts if a.kind == "campaign"})}
