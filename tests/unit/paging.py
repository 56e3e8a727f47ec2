"""What the tests of pages share: a small labelled run, a hostile one, and how a page is read."""

import csv
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pyarrow as pa

from detector.config import Settings
from detector.pages.rendering import report_html
from detector.pages.report import report_page
from detector.pages.run_files import Growth, RunFiles
from detector.records import Alert, Decision, LinkSummary, Sample, decision_key
from detector.runtime.kafka.publishing import Progress, SourcePlace
from detector.runtime.kafka.situation import Situation
from detector.runtime.kafka.watching import Seen
from tests.unit.replaying import SMALL, batch, run, write_log

VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})


def labelled_run(folder: Path, *words: str) -> Path:
    """Replay the small log with labels: those who harvest, and two who never came."""
    log, labels, out = write_log(folder / "log.jsonl"), folder / "labels.csv", folder / "out"
    names = sorted(set(batch().column("account_id").to_pylist()))
    with labels.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["account_id", "campaign", "population"])
        writer.writerows(
            [name, "harvest" if harvests(name) else "", "" if harvests(name) else "people"] for name in names
        )
        writer.writerows([[f"absent-{n}", "unseen", ""] for n in range(2)])
    result = run("replay", log, "--out", out, "--labels", labels, "--no-progress", *SMALL, *words)
    assert result.exit_code == 0, result.stderr
    return out


def harvests(name: str) -> bool:
    """Whether an account of the small log belongs to its campaign."""
    return name.startswith("h")


class Read(HTMLParser):
    """A page as a browser would have it: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(attrs))))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(sorted(attrs))))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")


def hostile_alert(base: Alert, text: str, number: int) -> Alert:
    """An alert in which an attacker chose whatever may be chosen."""
    assert base.campaign is not None
    return msgspec.structs.replace(
        base,
        alert_id=f"a-{number}",
        title=text,
        summary=text,
        status_reason=text,
        runbook=text or None,
        entity=msgspec.structs.replace(base.entity, value=text, tenant=text, tier=text),
        campaign=msgspec.structs.replace(
            base.campaign,
            id=text,
            members_sample=(text,),
            links=(LinkSummary(kind=text, value=text, accounts=2, requests=3),),
        ),
        samples=(Sample(event_id=text, event_time=0, account_id=text),),
    )


def hostile_run(held: RunFiles, texts: list[str]) -> RunFiles:
    """The run with these strings wherever a log or a label may put one."""
    base = held.campaigns[0]
    alerts = [hostile_alert(base, text, number) for number, text in enumerate(texts)]
    assert held.accounts is not None
    assert held.timeline is not None
    metrics = json.loads(json.dumps(held.metrics))
    truth = metrics["scores"]
    some = truth["campaigns"]["harvest"]
    truth["campaigns"] = {text: some | {"found": not number % 2} for number, text in enumerate(texts)}
    truth["benign"]["populations"] = dict.fromkeys(texts, truth["benign"]["populations"]["people"])
    for name in ("state", "policy", "coverage"):
        metrics[name] = dict.fromkeys(texts, next(iter(metrics[name].values())))
    number = len(texts)
    accounts = {name: pa.array([held.accounts[name][0].as_py()] * number) for name in held.accounts.column_names}
    accounts |= {name: pa.array(texts) for name in ("account_id", "population", "account_tier", "sdk_name", "asn")}
    accounts |= {"campaign": pa.array([""] * number), "acted_on": pa.array([True] * number)}
    line = {name: pa.array([held.timeline[name][0].as_py()] * number) for name in held.timeline.column_names}
    manifest = held.manifest | {"command": texts, "inputs": [{"path": text} for text in texts], "format": texts[0]}
    return held._replace(
        alerts=alerts,
        growth={a.alert_id: [Growth(1, 1, 1), Growth(2, 2, 2)] for a in alerts},
        metrics=metrics,
        manifest=manifest,
        accounts=pa.table(accounts),
        timeline=pa.table(line | {"campaign": pa.array(texts)}),
    )


def report_of(held: RunFiles) -> str:
    """The page's markup."""
    return report_html(report_page(held, other=held))


def seen_of(alerts: list[Alert], decisions: list[Decision], *, now_ms: int) -> Seen:
    """What a watcher would have read."""
    situation = Situation()
    for alert in alerts:
        situation.alerts[alert.alert_id] = alert
    for d in decisions:
        situation.log[decision_key(tenant=d.tenant, scope=d.scope, value=d.value)] = d
    situation.judges["default"] = judge(now_ms)
    return Seen(situation, complete=True, trouble="", since_ms=now_ms)


def judge(now_ms: int) -> Progress:
    """How far a judge has come."""
    return Progress(
        tenant="default",
        origin=0,
        frame_offset=1,
        pane_end_ms=now_ms,
        sources={"access/0": SourcePlace(position=1, time_ms=now_ms)},
        settings=Settings(),
        config_hash="0" * 16,
        version="0",
    )


def chunks(texts: list[str], size: int) -> Iterator[list[str]]:
    """Texts in groups."""
    for start in range(0, len(texts), size):
        yield texts[start : start + size]
