"""Compare: peers and ours on the same logs, each at the same collateral.

Purpose: `compare` gives every peer the threshold at which it contains no more benign requests of the validation log
than ours does there, and scores all of them on the test log by the one `evaluate`.
Invariants: thresholds are chosen on the validation log alone, by its labels; the test log's labels serve only to score.
A request is refused while its score is at the threshold or above, and by what the peer goes by (account, prefix,
template), so a peer's daily limit frees at midnight.
Limits: peers open no campaigns, so of them leak and collateral are compared, not what was found. A peer's refusals
feed nothing back into its own counts. A peer that needs text is left out of logs without.
Source: the comparison that the contract's scores are made for; equal collateral as equal false positive rates are.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from detector.config import Settings
from detector.encode import DEFAULT_TENANT
from detector.records import Decision
from detector.runtime.replay import replay
from detector.tuning.evaluate import Labels, Scores, by_account, evaluate
from detector.tuning.peers import PEERS
from detector.tuning.peers.log import F64, Bools, Keys, Log, part, read, rows_of
from detector.tuning.scoring import Inputs, read_labels, score_run

OURS = "stillwatch"
SCOPES = frozenset({"account", "subnet", "template_fp"})
FOREVER_MS = (1 << 42) - 1
EVENT_MS = 1  # a decision begins with the request that it refuses


class Given(NamedTuple):
    """A log, its labels, and where it lies."""

    inputs: Sequence[str]
    labels_path: Path
    labels: Labels
    log: Log
    benign: Bools  # by row


class Outcome(NamedTuple):
    """A peer's figures on the test log."""

    name: str
    threshold: float | None
    validation_ppm: float
    scores: Scores


def given(inputs: Sequence[str], *, labels: Path, key: bytes) -> Given:
    """Read a log and its labels. Raises `InputError` or `LabelsError`."""
    truth, log = read_labels(labels), read(inputs, key=key)
    events = Inputs(inputs, scopes=frozenset(), first_ms=0, last_ms=FOREVER_MS, key=key)
    whose = by_account(truth, events=events)
    innocent = np.array([not whose.get(name, ("", ""))[0] for name in log.account.names])
    return Given(inputs, labels, truth, log, innocent[log.account.codes])


def ours(it: Given, *, settings: Settings, key: bytes) -> Scores:
    """What this program comes to on a log."""
    with TemporaryDirectory() as temporary:
        replay(list(it.inputs), out=Path(temporary), settings=settings, key=key)
        return score_run(Path(temporary), labels=it.labels_path, inputs=[], key=key)


def threshold_at(levels: F64, benign: Bools, *, refused_max: int) -> float:
    """The lowest threshold at which at most `refused_max` benign requests are refused.

    >>> threshold_at(np.array([1.0, 2.0, 2.0, 3.0, 9.0]), np.array([True, True, True, True, False]), refused_max=1)
    3.0
    """
    high = np.sort(levels[benign & np.isfinite(levels)])[::-1]
    if high.size <= refused_max:
        return float(np.min(levels[np.isfinite(levels)], initial=np.inf))
    # The lowest score above the one that is too many: of equal scores all stay below.
    over = levels[np.isfinite(levels) & (levels > high[refused_max])]
    return float(over.min(initial=np.inf))


def decisions_of(log: Log, levels: F64, *, scope: str, threshold: float) -> list[Decision]:
    """The decisions that refuse what scores at the threshold or above: one for each run of a key's requests."""
    keys: Keys = {"account": log.account, "subnet": log.subnet, "template_fp": log.template}[scope]
    out = []
    for rows in rows_of(keys.codes):
        over = levels[rows] >= threshold
        if not over.any():
            continue
        value = keys.names[int(keys.codes[rows[0]])]
        edges = np.flatnonzero(np.diff(np.r_[False, over, False].astype(np.int8)))
        for seq, (start, stop) in enumerate(edges.reshape(-1, 2).tolist(), 1):
            begins = int(log.time_ms[rows[start]])
            ends = int(log.time_ms[rows[stop]]) if stop < rows.size else FOREVER_MS
            out.append(_refusal(scope, value, seq=seq, begins_ms=begins, ends_ms=max(ends, begins + EVENT_MS)))
    return out


def _refusal(scope: str, value: str, *, seq: int, begins_ms: int, ends_ms: int) -> Decision:
    return Decision(
        decision_id=f"peer-{scope}-{value}",
        seq=seq,
        tenant=DEFAULT_TENANT,
        scope=scope,  # type: ignore[arg-type]  # one of SCOPES
        value=value,
        action="challenge",
        issued_at=begins_ms,
        effective_at=begins_ms,
        expires_at=ends_ms,
        reason_code="peer",
        reason="peer",
        config_hash="",
    )


def peer(name: str, *, test: Given, validation: Given, collateral_ppm: float, key: bytes) -> Outcome:
    """Fit one peer's threshold on the validation log and score it on the test log."""
    module, reference = PEERS[name], part(validation.log, validation.benign)
    scored: F64 = module.levels(validation.log, reference)
    refused_max = int(collateral_ppm * int(validation.benign.sum()) / 1e6)
    threshold = threshold_at(scored, validation.benign, refused_max=refused_max)
    refused = int((scored[validation.benign] >= threshold).sum())
    made = decisions_of(test.log, module.levels(test.log, reference), scope=module.SCOPE, threshold=threshold)
    events = Inputs(test.inputs, scopes=frozenset({module.SCOPE}), first_ms=0, last_ms=FOREVER_MS, key=key)
    scores = evaluate(events, labels=test.labels, alerts=[], decisions=made, members=[])
    ppm = round(1e6 * refused / max(int(validation.benign.sum()), 1), 3)
    return Outcome(name, threshold if np.isfinite(threshold) else None, ppm, scores)


def names_for(log: Log, wanted: Iterable[str]) -> list[str]:
    """The peers asked for that the log allows."""
    return [name for name in wanted if log.has_text or not PEERS[name].NEEDS_TEXT]


def row(outcome: Outcome) -> dict[str, Any]:
    """An outcome as a flat record: all campaigns together, then each."""
    scores = outcome.scores
    campaigns = scores["campaigns"]
    requests = sum(c["requests"] for c in campaigns.values())
    leaked = sum(c["leaked_requests"] for c in campaigns.values())
    return {
        "peer": outcome.name,
        "threshold": outcome.threshold,
        "validation_ppm": outcome.validation_ppm,
        "collateral_ppm": scores["benign"]["collateral_ppm"],
        "leak": round(leaked / requests, 6) if requests else None,
        "campaigns": {name: {"leak": c["leak"], "leak_interval": c["leak_interval"]} for name, c in campaigns.items()},
    }


def better(mine: npt.ArrayLike, other: npt.ArrayLike) -> bool:
    """Whether one interval lies wholly below another: less leaks, and it is no chance.

    >>> better([0.01, 0.05], [0.06, 0.2]), better([0.01, 0.05], [0.04, 0.2])
    (True, False)
    """
    return bool(np.asarray(mine)[1] < np.asarray(other)[0])
