"""Sweep and calibrate, held against what the engine itself does with the demo log."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector.config import ConfigError, Settings, VerdictSettings, parse
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.replay import replay
from detector.signatures.registry import SIGNATURES
from detector.tuning import kept as answers
from detector.tuning import sweep as engine
from detector.tuning.calibrate import Budget, calibrate, fragment
from detector.tuning.kept import Kept, KeptError
from detector.tuning.redecide import cases, verdicts
from detector.tuning.scored import Log, scored
from detector.tuning.scoring import read_labels, score_run
from detector.tuning.sweep import at_point, grid
from detector.verdict import weigh
from tests.conftest import ROOT
from tests.unit.replaying import run

DEMO = ROOT / "detector" / "tuning" / "demo"
EVENTS, LABELS = str(DEMO / "events.jsonl.zst"), DEMO / "labels.csv"
HOUR_MS = 3_600_000


def kept_of(rows: list[list[float]], *, members: list[list[int]] | None = None, at_ms: list[int] | None = None) -> Kept:
    count = len(rows)
    named = members or [[] for _ in rows]
    return Kept(
        at_ms=np.array(at_ms or range(count), np.int64),
        tenant=["default"] * count,
        pool=[f"p{at}" for at in range(count)],
        founding=np.ones(count, bool),
        requests=np.full(count, 100, np.int64),
        size=np.array([len(m) for m in named], np.int64),
        log_odds=np.array(rows, np.float32).reshape(count, len(SIGNATURES)),
        members=[np.array(m, np.int32) for m in named],
        accounts=[f"a{at}" for at in range(1 + max((c for m in named for c in m), default=0))],
    )


def answered(**odds: float) -> list[float]:
    return [odds.get(s.id, 0.0) for s in SIGNATURES]


STRONG = answered(c1_shared_template=5.0, a7_machine_pace=3.0, c10_short_lived=3.0)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Log, Path]:
    folder = tmp_path_factory.mktemp("scored")
    log = scored([EVENTS], settings=Settings(), key=DEVELOPMENT_KEY, labels=read_labels(LABELS), keep=folder)
    return log, folder


SOME_ODDS = st.lists(
    st.sampled_from([0.0, 0.0, -3.0, -0.25, 0.5, 1.25, 3.0, 5.0]), min_size=len(SIGNATURES), max_size=len(SIGNATURES)
)


@given(rows=st.lists(SOME_ODDS, min_size=1, max_size=5), cap=st.sampled_from([0.5, 2.0, 9.0]))
def test_a_verdict_taken_again_is_the_engines(rows: list[list[float]], cap: float) -> None:
    settings = VerdictSettings(family_cap=cap, families_min=2, threshold=-2.0, log_odds_max={"c1_shared_template": 1.0})
    taken = verdicts(kept_of(rows), settings)
    for at, row in enumerate(rows):
        capped = [min(x, settings.log_odds_max.get(s.id, x)) for s, x in zip(SIGNATURES, row, strict=True)]
        judged = weigh([(s, x, {}) for s, x in zip(SIGNATURES, capped, strict=True) if x], settings)
        assert taken.log_odds[at] == judged.verdict.log_odds
        assert taken.families[at] == judged.families
        assert taken.cross_account[at] == judged.cross_account
        assert taken.accused[at] == (judged.accuses and judged.families >= 2)


def test_pools_with_the_same_members_are_one_case_and_strangers_another() -> None:
    kept = kept_of([STRONG] * 3, members=[[0, 1, 2, 3], [2, 3, 1, 4], [5, 6, 7]], at_ms=[30, 20, 40])
    made = cases(kept, verdicts(kept, VerdictSettings()))
    assert [(case.opened_ms, sorted(case.members)) for case in made] == [(20, [0, 1, 2, 3, 4]), (40, [5, 6, 7])]


def test_two_accounts_found_no_case_and_a_pool_without_cross_account_evidence_neither() -> None:
    alone = answered(a1_template_dominance=5.0, a7_machine_pace=5.0, a9_instant_maximum=5.0)
    kept = kept_of([STRONG, alone], members=[[0, 1], [2, 3, 4, 5]])
    assert cases(kept, verdicts(kept, VerdictSettings(prior=0.0))) == []


def test_up_to_the_first_accusation_a_sweep_says_what_a_replay_says(demo: tuple[Log, Path], tmp_path: Path) -> None:
    log, _ = demo
    point = engine.score(log.kept, log.truth, Settings(), params={})
    replay([EVENTS], out=tmp_path, settings=Settings(), key=DEVELOPMENT_KEY)
    real = score_run(tmp_path, labels=LABELS, inputs=[], key=DEVELOPMENT_KEY)
    campaign = real["campaigns"]["templated"]
    assert point.found == real["campaigns_found"] == 1
    assert point.detect_s == campaign["time_to_detect_s"]
    assert point.leak_floor == pytest.approx(campaign["requests_by_detection"] / campaign["requests"], abs=1e-6)
    assert point.false_cases == real["campaigns_false"] == 0


def test_a_stricter_threshold_detects_no_earlier(demo: tuple[Log, Path]) -> None:
    log, _ = demo
    floors = [
        engine.score(log.kept, log.truth, Settings(), params=p).leak_floor or 0 for p in grid(["threshold=0:8:2"])
    ]
    assert floors == sorted(floors)
    assert floors[-1] == 1.0


def test_scores_are_read_back_as_they_were_written(demo: tuple[Log, Path]) -> None:
    log, folder = demo
    read = answers.read(folder / answers.FILE)
    assert read.pool == log.kept.pool
    assert np.array_equal(read.log_odds, log.kept.log_odds)
    named = [[read.accounts[c] for c in m] for m in read.members]
    assert named == [[log.kept.accounts[c] for c in m] for m in log.kept.members]
    again = scored([str(folder)], settings=Settings(), key=DEVELOPMENT_KEY, labels=read_labels(LABELS))
    assert again.truth.days == log.truth.days
    with pytest.raises(KeptError, match="other settings"):
        scored([str(folder)], settings=Settings(seed=9), key=DEVELOPMENT_KEY, labels=None)


@pytest.mark.parametrize(
    "word",
    ["threshold", "threshold=1:0:1", "threshold=0:1:0", "pane_ms=1:2:1", "log_odds_max.nobody=1", "prior=0:9:1e-9"],
)
def test_a_parameter_that_cannot_be_swept_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match="--param"):
        grid([word])


def test_objectives_weigh_misses_against_false_cases() -> None:
    quiet = engine.Point({"threshold": 3.0}, 0, 1, 1.0, None, 0, 0, 0.0, 0, 0.0, None, {"c": 1.0})
    loud = quiet._replace(params={"threshold": 1.0}, found=1, leak_floor=0.1, innocents=5, innocent_share=0.01)
    loud = loud._replace(precision=0.9, false_cases=5, by_campaign={"c": 0.1})

    def chosen(objective: str, profile: Any = "standard") -> int:
        return engine.best([quiet, loud], objective=objective, profile=profile)

    assert chosen("f1") == 1
    assert (chosen("recall@fpr=0.001"), chosen("recall@fpr=0.1")) == (0, 1)
    assert (chosen("cost"), chosen("cost", "low_fp"), chosen("cost", "low_fn")) == (1, 0, 1)


def test_a_threshold_is_fitted_to_the_worst_log_and_labels_play_no_part(demo: tuple[Log, Path]) -> None:
    log, _ = demo
    benign = log._replace(kept=kept_of([]), names=["quiet"])
    # Pretend that the demo's campaign were innocent: then nothing below its verdict keeps to the budget.
    made = calibrate([log, benign], Settings(), budget=Budget(per_day=0.0), cap=False)
    worst, quiet = made.fits
    assert made.threshold == worst.threshold > quiet.threshold
    assert worst.at_chosen.cases == 0
    assert worst.held_out is not None
    assert worst.held_out.cases > 0
    lower = at_point(Settings(), {"threshold": made.threshold - 0.25})
    assert len(engine.opened(log.kept, lower)) > 0


def test_short_logs_raise_a_threshold_and_never_lower_it(demo: tuple[Log, Path]) -> None:
    quiet = demo[0]._replace(kept=kept_of([]))
    short = calibrate([quiet], Settings(), budget=Budget(per_day=0.1), cap=False)
    assert (short.threshold, short.shown) == (Settings().verdict.threshold, False)
    long = quiet._replace(truth=quiet.truth._replace(last_ms=quiet.truth.first_ms + 90 * 24 * HOUR_MS))
    assert calibrate([long], Settings(), budget=Budget(per_day=0.1), cap=False).threshold == 0.0


def test_a_signature_that_benign_pools_reach_often_is_capped_at_what_that_can_mean(demo: tuple[Log, Path]) -> None:
    often = kept_of([answered(c1_shared_template=5.0)] * 20 + [answered()] * 80)
    made = calibrate([demo[0]._replace(kept=often)], Settings(), budget=Budget(share=1.0), cap=True)
    assert made.log_odds_max == {"c1_shared_template": pytest.approx(-np.log(21 / 101), abs=1e-6)}
    settings = parse(fragment(made, comment="line one\nline two"))
    assert settings.verdict.log_odds_max == made.log_odds_max
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


def test_the_verbs_write_what_replay_takes(demo: tuple[Log, Path], tmp_path: Path) -> None:
    _, folder = demo
    made = run("sweep", folder, "--labels", LABELS, "--param", "threshold=2:3:0.5", "--benign", folder, "-o", "json")
    assert made.exit_code == 0, made.output
    rows = orjson.loads(made.stdout)
    assert [r["threshold"] for r in rows] == [2.0, 2.5, 3.0]
    assert all(r["benign_cases"] == r["cases"] == 1 for r in rows)
    assert sum("best" in r for r in rows) == 1
    out = tmp_path / "fitted.toml"
    fitted = run("calibrate", folder, "--out", out, "--target-alerts-per-day", "0", "-o", "json")
    assert fitted.exit_code == 0, fitted.output
    assert parse(out.read_text()).verdict.threshold == orjson.loads(fitted.stdout)[0]["threshold"] > 2.5
    assert run("calibrate", folder, "--out", out).exit_code == 2
    assert run("sweep", folder, "--labels", LABELS, "--param", "seed=1").exit_code == 2
