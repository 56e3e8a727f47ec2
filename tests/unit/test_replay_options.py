"""Replay's options: operators' records, windows, pace, approval, verification; and what explain says of the run."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from detector.records import Alert as AlertRecord
from detector.records import decode, encode, format_time, parse_time
from detector.runtime import lookup
from detector.runtime import replay as engine
from detector.runtime.explain import in_force, read_run
from detector.runtime.feed import pieces
from detector.runtime.outcome import Progress
from detector.runtime.pace import GAP_MS_MAX, Pace
from detector.runtime.scores_file import read_account
from detector.runtime.summary import print_summary
from detector.runtime.verify import differences, read_alerts
from detector.signatures.registry import ACCOUNT_SIGNATURES
from tests.laws.streams import HOUR_MS, KEY, MINUTE_MS, START_MS
from tests.unit.replaying import (
    OUTCOME,
    SETTINGS,
    assert_one_sentence,
    lines,
    outcome,
    rejects,
    replay,
    run,
    with_fields,
    write_lines,
    write_log,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the log and the files of a plain run of it."""
    folder = tmp_path_factory.mktemp("options")
    ran = replay(write_log(folder / "log.jsonl"), "--out", folder / "run")
    assert ran.exit_code == 0, ran.output
    return folder


def records_of(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


def metrics_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "metrics.json").read_bytes()))


def time_of(line: bytes) -> int:
    """When the event of a line happened."""
    return parse_time(json.loads(line)["event_time"])


def order(at_ms: int, **fields: Any) -> bytes:
    """A recorded command of kim's."""
    plain = {"tenant": "default", "by": "kim", "reason": "known", "at": at_ms, "ingest_time": format_time(at_ms)}
    return json.dumps({**plain, **fields}).encode()


def leased(done: Path) -> dict[str, Any]:
    """A decision of the plain run, early in the campaign."""
    return next(d for d in records_of(done / "run", "decisions.jsonl") if d["seq"] == 1)


def test_operators_records_act_in_their_time_whatever_blocks_and_workers(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = leased(done)
    at_ms = parse_time(first["effective_at"]) + MINUTE_MS + 7
    orders = write_lines(
        tmp_path / "orders.jsonl",
        [
            order(at_ms, command="revoke", scope="account", value=first["value"]),
            b"what is this",
            b"",
            order(at_ms, command="revoke", scope="galaxy", value="x"),
            order(START_MS + 90 * 24 * HOUR_MS, command="revoke", scope="account", value="x"),
        ],
    )
    made = []
    for number, workers in enumerate((1, 2)):
        out = tmp_path / str(number)
        ran = replay(done / "log.jsonl", "--out", out, "--operators", orders, "--workers", workers)
        assert ran.exit_code == 0, ran.output
        made.append(outcome(out))
        monkeypatch.setattr("detector.runtime.sources.BLOCK_BYTES", 30_000)
    assert made[0] == made[1]
    last = [d for d in records_of(tmp_path / "0", "decisions.jsonl") if d["value"] == first["value"]][-1]
    assert (last["state"], last["origin"], last["issued_at"]) == ("revoked", "operator", format_time(at_ms))
    assert [(r["line"], r["reason"], r.get("field")) for r in rejects(tmp_path / "0")] == [
        (2, "not_json", None),
        (4, "bad_value", "scope"),
    ]
    said = metrics_of(tmp_path / "0")["policy"]["default"]
    assert (said["operators"], said["operators_not_reached"]) == ({"revoke": 1}, 1)
    assert "1 revoke, 1 later than the last event, not acted on" in ran.stdout
    assert json.loads((tmp_path / "0" / "manifest.json").read_bytes())["operators"]["sha256"]


def test_operators_records_of_unknown_tenants_are_rejects(done: Path, tmp_path: Path) -> None:
    orders = write_lines(
        tmp_path / "orders.jsonl", [order(START_MS, command="revoke", scope="account", value="x", tenant="elsewhere")]
    )
    ran = replay(done / "log.jsonl", "--out", tmp_path / "run", "--operators", orders, "--set", 'tenants=["default"]')
    assert ran.exit_code == 0, ran.output
    assert [(r["line"], r["reason"]) for r in rejects(tmp_path / "run")] == [(1, "unknown_tenant")]


def test_since_and_until_keep_the_events_between(done: Path, tmp_path: Path) -> None:
    since, until = START_MS + HOUR_MS, START_MS + 7 * HOUR_MS
    ran = replay(
        done / "log.jsonl", "--out", tmp_path / "cut", "--since", format_time(since), "--until", format_time(until)
    )
    assert ran.exit_code == 0, ran.output
    inside = [line for line in lines() if since <= time_of(line) < until]
    assert 0 < len(inside) < len(lines())
    plain = replay(write_lines(tmp_path / "inside.jsonl", inside), "--out", tmp_path / "plain")
    assert plain.exit_code == 0, plain.output
    assert outcome(tmp_path / "cut") == outcome(tmp_path / "plain")
    assert metrics_of(tmp_path / "cut")["events_outside_window"] == len(lines()) - len(inside)
    assert f"{len(lines()) - len(inside):,} events lie outside" in ran.stdout


def test_a_paced_replay_gives_the_same_and_takes_its_time(done: Path) -> None:
    now_s, waited = [0.0], []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        now_s[0] += seconds

    pace = Pace(600.0, clock_s=lambda: now_s[0], sleep=sleep)
    plain, paced = (
        [p for p in pieces([str(done / "log.jsonl")], key=KEY, tenants=(), workers=1, **how) if not isinstance(p, str)]
        for how in ({}, {"paced": pace.parts})
    )
    assert sum(p.rows for p in paced) == sum(p.rows for p in plain) == len(lines())
    assert len(paced) > 20
    # Ranges join, and hold each row once.
    assert all(a.stop == b.first for a, b in pairwise(paced))
    events = [e for p in paced for f in p.frames for e in f.event_ids.to_pylist()]
    assert events == [e for p in plain for f in p.frames for e in f.event_ids.to_pylist()]
    span_s = (max(p.end_ms for p in plain) - time_of(lines()[0])) / 1000
    assert sum(waited) == pytest.approx(span_s / 600.0, abs=2.0)


def test_a_hole_in_the_log_is_not_waited_for(tmp_path: Path) -> None:
    far = with_fields(lines()[1], event_time=format_time(time_of(lines()[0]) + 9 * GAP_MS_MAX))
    log = write_lines(tmp_path / "log.jsonl", [lines()[0], far])
    waited: list[float] = []
    pace = Pace(1.0, clock_s=lambda: 0.0, sleep=waited.append)
    list(pieces([str(log)], key=KEY, tenants=(), workers=1, paced=pace.parts))
    assert waited == []


def test_a_fast_replay_by_the_clock_gives_the_same_files(done: Path, tmp_path: Path) -> None:
    ran = replay(done / "log.jsonl", "--out", tmp_path / "run", "--speed", "900000x")
    assert ran.exit_code == 0, ran.output
    assert outcome(tmp_path / "run") == outcome(done / "run")


def test_an_interrupt_before_anything_was_judged_is_told_as_such(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: Progress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("detector.runtime.sources.BLOCK_BYTES", 2_000)
    monkeypatch.setattr("detector.runtime.sources_streams.PIECE_BYTES", 1_000)
    result = engine.replay(
        [str(done / "log.jsonl")], out=tmp_path / "run", settings=SETTINGS, key=KEY, progress=interrupt
    )
    assert (result.interrupted, result.first_ms, result.last_ms) == (True, None, None)
    console = Console(record=True, width=120)
    print_summary(result, out=tmp_path / "run", console=console, mode="shadow")
    assert "Interrupted before the first pane" in console.export_text()
    assert metrics_of(tmp_path / "run")["first_event"] is None


def test_a_run_equals_itself_and_the_differences_of_another_are_named(done: Path, tmp_path: Path) -> None:
    fired = done / "run" / "alerts.jsonl"
    same = replay(done / "log.jsonl", "--out", tmp_path / "same", "--verify-against", fired)
    assert same.exit_code == 0, same.output
    until = format_time(START_MS + 4 * HOUR_MS)
    other = replay(done / "log.jsonl", "--out", tmp_path / "other", "--until", until, "--verify-against", fired)
    assert other.exit_code == 1
    assert "alerts differ from" in other.stderr
    assert "changed: c-" in other.stderr or "missing: c-" in other.stderr


def test_alerts_are_matched_by_id_then_by_what_their_campaigns_share(done: Path) -> None:
    fired = read_alerts(done / "run" / "alerts.jsonl")
    assert differences(fired, fired) == []
    assert [line.split(":")[0] for line in differences(fired, [])] == ["missing"] * len(fired)
    assert [line.split(":")[0] for line in differences([], fired)] == ["new"] * len(fired)
    one = fired[0]
    assert one.campaign is not None
    raw = json.loads(encode(one))
    raw |= {"alert_id": "a-other", "detected_at": START_MS, "severity": "critical"}
    raw["campaign"] |= {"accounts": 7}
    raw["entity"] |= {"value": "c-other"}
    (said,) = differences([one], [decode(json.dumps(raw).encode(), kind=AlertRecord)])
    for word in ("now c-other", f"7 accounts instead of {one.campaign.accounts}", "severity critical instead of"):
        assert word in said


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--speed", "fast"), 2, "--speed 'fast' must be max, real or a factor"),
        (("--since", "yesterday"), 2, "--since: time 'yesterday' is not RFC 3339"),
        (("--since", "2026-07-01T00:00:00Z", "--until", "2026-06-01T00:00:00Z"), 2, "is not before --until"),
        (("--approve-after", "soon"), 2, "--approve-after 'soon' must be a number and one of s, m, h, d"),
        (("--operators", "nowhere.jsonl"), 3, "--operators nowhere.jsonl: no such file"),
        (("--verify-against", "nowhere.jsonl"), 3, "--verify-against nowhere.jsonl: no such file"),
    ],
)
def test_a_wrong_option_ends_the_program_before_anything_is_written(
    done: Path, tmp_path: Path, options: tuple[str, ...], code: int, said: str
) -> None:
    assert said in assert_one_sentence(replay(done / "log.jsonl", "--out", tmp_path / "run", *options), code)
    assert not (tmp_path / "run").exists()


def test_a_format_that_nobody_knows_is_a_usage_error(done: Path, tmp_path: Path) -> None:
    ran = replay(done / "log.jsonl", "--out", tmp_path / "run", "--format", "csv")
    assert ran.exit_code == 2
    assert "'csv' is not one of 'auto', 'canonical'" in ran.stderr


def test_approval_by_the_clock_stands_in_the_manifest_and_the_decisions(done: Path, tmp_path: Path) -> None:
    tight = ("--set", "decision.contained_share_max=0.1")
    ran = replay(done / "log.jsonl", "--out", tmp_path / "run", "--approve-after", "15m", *tight)
    assert ran.exit_code == 0, ran.output
    states = {d["approval"]["state"] for d in records_of(tmp_path / "run", "decisions.jsonl")}
    assert states >= {"pending", "approved"}
    assert json.loads((tmp_path / "run" / "manifest.json").read_bytes())["approve_after_ms"] == 15 * MINUTE_MS


# --- explain ----------------------------------------------------------------------


def explained(done: Path, *arguments: object) -> str:
    ran = run("explain", *arguments, "--in", done / "run")
    assert ran.exit_code == 0, ran.output
    return str(ran.stdout)


def test_explaining_an_alert_shows_values_bounds_and_what_would_have_cleared_it(done: Path) -> None:
    alert = records_of(done / "run", "alerts.jsonl")[-1]
    said = explained(done, "alert", alert["alert_id"])
    assert said == explained(done, "alert", alert["campaign"]["id"])
    for item in alert["evidence"]:
        assert item["signature"] in said
    for word in ("threshold", "population", "What would have cleared it", "sum of prior", alert["runbook"]):
        assert word in said
    assert "DIFFERS" not in said


def test_explaining_a_member_names_its_campaign_links_and_decisions(done: Path) -> None:
    member = records_of(done / "run", "members.jsonl")[0]
    said = explained(done, "account", member["account_id"])
    assert f"member of {member['campaign_id']}" in said
    assert f"with {member['campaign_id']}: " in said
    assert "seq 1: active " in said
    before = run("explain", "account", member["account_id"], "--at", member["first_seen"], "--in", done / "run").stdout
    assert f"no campaign held it then; {member['campaign_id']} does since {member['joined_at']}" in before


def test_explaining_an_account_outside_every_campaign_says_what_it_did_and_what_it_lacks(done: Path) -> None:
    members = {m["account_id"] for m in records_of(done / "run", "members.jsonl")}
    events = [json.loads(line) for line in lines()]
    name = next(e["account_id"] for e in events if e["account_id"] not in members)
    own = [e for e in events if e["account_id"] == name]
    said = explained(done, "account", name)
    assert f"{len(own):,} requests from {own[0]['event_time']}" in said
    assert "no campaign of this run holds it" in said
    assert "needed to be a member" in said
    assert "no decision was made about it" in said


def test_explaining_an_account_says_what_it_does_by_itself_and_how_near_its_best_pool_came(done: Path) -> None:
    member = records_of(done / "run", "members.jsonl")[0]["account_id"]
    (row,) = read_account(done / "run" / "scores.parquet", member)
    said = explained(done, "account", member)
    assert f"reached log-odds {row['log_odds']:.2f}; an alert needs -20.00 and 1 families" in said
    firing = [s.id for s in ACCOUNT_SIGNATURES if (row[s.id] or 0) > 0]
    assert all(name in said.partition("by itself, at the end of the run: ")[2] for name in firing)
    # As of an earlier time nobody knows: scores are those of the end.
    assert (
        "by itself"
        not in run(
            "explain", "account", member, "--at", format_time(START_MS + 9 * HOUR_MS), "--in", done / "run"
        ).stdout
    )
    assert read_account(done / "missing.parquet", member) == []


def test_explaining_as_of_a_time_forgets_what_came_later(done: Path) -> None:
    first = leased(done)
    before, after = (START_MS + MINUTE_MS, START_MS + 9 * HOUR_MS)
    early = run("explain", "account", first["value"], "--at", format_time(before), "--in", done / "run")
    assert "seq" not in early.stdout
    assert "seq 1" in explained(done, "account", first["value"], "--at", format_time(after))
    inside = explained(done, "account", first["value"], "--at", first["effective_at"])
    assert inside.count("<- in force") == 1
    gone = run("explain", "alert", "a-unknown", "--at", format_time(before), "--in", done / "run")
    assert_one_sentence(gone, 3)


def test_explaining_an_event_names_what_it_shares_and_what_would_have_met_it(done: Path) -> None:
    read = read_run(done / "run")
    for event in (json.loads(line) for line in lines()):
        met = [d for d in in_force(read.decisions, parse_time(event["event_time"])) if d.value == event["account_id"]]
        if met:
            break
    else:
        raise AssertionError("no event falls under a decision")
    said = explained(done, "event", event["event_id"])
    assert f"it would have met {met[0].action} on account {event['account_id']}" in said
    assert f"template_fp {event['template_fp']}" in said
    assert "<- shared by c-" in said
    early = explained(done, "event", json.loads(lines()[0])["event_id"])
    assert "no decision was in force for it" in early


@pytest.mark.parametrize("what", ["alert", "account", "event"])
def test_what_a_run_does_not_know_is_said_in_one_sentence(done: Path, what: str) -> None:
    assert_one_sentence(run("explain", what, "nobody", "--in", done / "run"), 3)


def test_attributes_found_again_carry_the_names_of_the_alerts(done: Path) -> None:
    alert = read_alerts(done / "run" / "alerts.jsonl")[0]
    assert alert.campaign is not None
    member = alert.campaign.members_sample[0]
    seen = lookup.account([str(done / "log.jsonl")], member, key=KEY, until_ms=None)
    assert seen is not None
    assert {(link.kind, link.value) for link in alert.campaign.links} & set(seen.links)
    assert lookup.account([str(done / "log.jsonl"), "-"], "nobody", key=KEY, until_ms=None) is None


def test_the_summary_says_what_was_decided(done: Path, tmp_path: Path) -> None:
    ran = replay(done / "log.jsonl", "--out", tmp_path / "run")
    members = records_of(tmp_path / "run", "members.jsonl")
    for word in (
        "challenged (refused until identity is verified)",
        "computed only, nothing was enforced (shadow mode)",
        "of the requests belong to no campaign",
        "an alert needs",
        "they share",
        *OUTCOME,
    ):
        assert word in ran.stdout
    assert sum(metrics_of(tmp_path / "run")["accounts_by_strictest_action"].values()) <= len(members)
