"""What a worker process counts of its own work, for those who watch it.

Purpose: plain integers that the roles add to and a scrape reads; they outlive a role that is
started again, so counters fall only when the process ends.
Invariants: nothing here is read by the engine: measuring changes no outcome. A signature is
timed around its own function (`ask`), with the clock of this module. No value is named after
an account: names are topics' partitions, reasons, signatures and words of closed sets.
Limits: one process, one thread.
Source: buckets as Prometheus counts them.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from detector.cases import Output
from detector.panes import Refused
from detector.records import Alert, Decision
from detector.runtime.histogram import Histogram
from detector.signatures.contract import Answer, Signature

log = logging.getLogger("stillwatch.judge")

WORK_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
PUBLISH_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
# From the first request of a campaign to its alert: minutes to a fortnight.
DETECT_S: Final = (300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0, 259_200.0, 604_800.0, 1_209_600.0)


class Timed:
    """One signature's seconds, and the strongest log-odds that it gave when it was last asked."""

    def __init__(self) -> None:
        """Start unasked."""
        self.seconds, self.asked, self.score = 0.0, 0, 0.0


class Tally:
    """The counts of one worker process."""

    def __init__(self) -> None:
        """Start at zero."""
        self.events: Counter[tuple[str, str]] = Counter()  # (source, result)
        self.dead: Counter[str] = Counter()  # by reason
        self.refused: Counter[str] = Counter()  # by reason: late, duplicate, future_time
        self.rebalances: Counter[str] = Counter()  # by role
        self.work: dict[str, Histogram] = {}  # by role
        self.alerts: Counter[tuple[str, str, str]] = Counter()  # (signature, severity, mode)
        self.decisions: Counter[tuple[str, str, str, str]] = Counter()  # (action, scope, mode, origin)
        self.detected, self.published = Histogram(DETECT_S), Histogram(PUBLISH_S)
        self.signatures: dict[str, Timed] = {}

    # --- encode ----------------------------------------------------------------

    def encoded(self, source: str, *, rows: int, reasons: Iterable[str]) -> None:
        """Count a batch of records: those that became rows, and why the others did not."""
        self.events[source, "ok"] += rows
        for reason in reasons:
            self.dead[reason] += 1
            self.events[source, "raw_content" if reason == "raw_content" else "invalid"] += 1

    def worked(self, role: str, seconds: float) -> None:
        """Count the time that a batch took, from when it was handed over."""
        self.work.setdefault(role, Histogram(WORK_S)).add(seconds)

    # --- judge -----------------------------------------------------------------

    def refuse(self, rows: Iterable[Refused]) -> None:
        """Count rows that the judge did not apply."""
        for row in rows:
            self.refused[row.reason] += 1
            self.events[row.source, row.reason if row.reason in ("late", "duplicate") else "invalid"] += 1

    def publish(self, outputs: Sequence[tuple[int, Output]], *, partition: int, seconds: float) -> None:
        """Count and announce what a transaction published, `seconds` after the first of it was made."""
        for offset, output in outputs:
            if isinstance(output, Alert):
                self._alert(output, partition, offset)
                continue
            self.published.add(seconds)
            if not isinstance(output, Decision):
                continue  # a tombstone, or the kill switch's word passed on
            self.decisions[output.action, output.scope, output.mode, output.origin] += 1
            at: dict[str, Any] = {"partition": partition, "offset": offset, "decision_id": output.decision_id}
            log.debug("%s, %s", output.action, output.state, extra={"action": "decision.published", **at})

    def _alert(self, alert: Alert, partition: int, offset: int) -> None:
        if alert.revision == 0:
            self.alerts[page_of(alert), alert.severity, alert.mode] += 1
            if alert.kind == "campaign":
                self.detected.add((alert.detected_at - alert.first_seen) / 1000)
        at: dict[str, Any] = {"partition": partition, "offset": offset, "alert_id": alert.alert_id}
        said = (alert.kind, alert.status, alert.severity, alert.revision)
        log.info("%s alert, %s, %s, revision %d", *said, extra={"action": "alert.published", **at})

    def ask(self, signature: Signature, judge: Callable[[Any], Answer], view: Any) -> Answer:
        """Ask a signature, and note how long it took."""
        begun_s = time.perf_counter()
        answer = judge(view)
        timed = self.signatures.setdefault(signature.id, Timed())
        timed.seconds += time.perf_counter() - begun_s
        timed.asked += 1
        if signature.unit == "link" or judge is not signature.judge:  # of pools: one account fires or is quiet
            timed.score = float(answer.log_odds.max(initial=0.0))
        return answer


def page_of(alert: Alert) -> str:
    """The name of an alert's runbook: that of its strongest signature, or what is operational about it."""
    return PurePosixPath(alert.runbook or "none").stem
