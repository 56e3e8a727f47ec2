"""Verify: a run's alerts against those that really fired.

Purpose: `replay --verify-against`: would these settings, on this log, have said the same?
Invariants: alerts are matched by id, then by the attributes that their campaigns share,
since an id names the moment of opening; only last revisions are compared.
Limits: operational alerts speak of policy and are not compared; the list is short.
"""

from collections.abc import Iterable
from pathlib import Path

from detector.records import Alert, decode, format_time

SHOWN_MAX = 20
SAME_LINKS_MIN = 0.5


def read_alerts(path: Path) -> list[Alert]:
    """Read the last revision of every campaign alert of a file. Raises `OSError` and `SchemaError`."""
    with path.open("rb") as file:
        alerts = [decode(raw, kind=Alert) for raw in file if raw.strip()]
    return list({a.alert_id: a for a in alerts if a.kind == "campaign"}.values())


def _links(alert: Alert) -> set[tuple[str, str]]:
    return {(link.kind, link.value) for link in alert.campaign.links} if alert.campaign is not None else set()


def matched(fired: list[Alert], found: list[Alert]) -> list[tuple[Alert | None, Alert | None]]:
    """Pair the alerts of two runs: by id, else by what their campaigns share; None where there is no counterpart."""
    left = {a.alert_id: a for a in found}
    pairs: list[tuple[Alert | None, Alert | None]] = []
    unmatched = []
    for alert in fired:
        same = left.pop(alert.alert_id, None)
        if same is None:
            unmatched.append(alert)
        else:
            pairs.append((alert, same))
    for alert in unmatched:
        mine = _links(alert)
        like = [a for a in left.values() if len(mine & _links(a)) >= SAME_LINKS_MIN * max(1, min(len(mine), 64))]
        best = max(like, key=lambda a: (len(mine & _links(a)), a.alert_id), default=None)
        if best is not None:
            del left[best.alert_id]
        pairs.append((alert, best))
    return pairs + [(None, a) for a in left.values()]


def differences(fired: Iterable[Alert], found: Iterable[Alert]) -> list[str]:
    """Say where two sets of alerts differ, a line each; empty when they say the same."""
    out = []
    for was, now in matched(list(fired), [a for a in found if a.kind == "campaign"]):
        if now is None:
            assert was is not None
            out.append(f"missing: {was.entity.value} ({was.title}), detected {format_time(was.detected_at)}")
        elif was is None:
            out.append(f"new: {now.entity.value} ({now.title}), detected {format_time(now.detected_at)}")
        else:
            said = list(changes(was, now))
            if said:
                out.append(f"changed: {was.entity.value}: {'; '.join(said)}")
    return out


def changes(was: Alert, now: Alert) -> Iterable[str]:
    """Say in which ways an alert differs from its counterpart."""
    if was.entity.value != now.entity.value:
        yield f"now {now.entity.value}"
    if was.detected_at != now.detected_at:
        yield f"detected {format_time(now.detected_at)} instead of {format_time(was.detected_at)}"
    if was.campaign is not None and now.campaign is not None and was.campaign.accounts != now.campaign.accounts:
        yield f"{now.campaign.accounts:,} accounts instead of {was.campaign.accounts:,}"
    for name in ("status", "severity", "recommended_action"):
        if getattr(was, name) != getattr(now, name):
            yield f"{name.replace('_', ' ')} {getattr(now, name)} instead of {getattr(was, name)}"
    if set(was.signature_ids) != set(now.signature_ids):
        yield f"signatures {', '.join(now.signature_ids)} instead of {', '.join(was.signature_ids)}"
