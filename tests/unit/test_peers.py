"""Others' detectors: each sees what it was made for, and all are held to the same collateral."""

import json
from pathlib import Path

import numpy as np
import orjson
import pytest

from detector.hashing import DEVELOPMENT_KEY as KEY
from detector.tuning.peers import PEERS
from detector.tuning.peers.compare import decisions_of, names_for, threshold_at
from detector.tuning.peers.log import DAY_MS, HOUR_MS, WIDTH, Keys, Log, part, read
from detector.tuning.scores import CONTAINS, levels_of, timelines
from tests.unit.replaying import run, write_log
from tests.unit.test_evaluate import events

DAY = 20_000 * DAY_MS


def log_of(
    times: list[int], accounts: list[str], *, subnets: list[str] | None = None, templates: list[str] | None = None,
    vectors: np.ndarray | None = None, output: list[int] | None = None,
) -> Log:  # fmt: skip
    def keys(names: list[str] | None) -> Keys:
        if names is None:
            return Keys(np.full(len(times), -1), [])
        distinct = sorted(set(names))
        return Keys(np.array([distinct.index(n) for n in names]), distinct)

    count = len(times)
    return Log(
        time_ms=np.array(times, np.int64), account=keys(accounts), subnet=keys(subnets), template=keys(templates),
        input_tokens=np.full(count, 100), output_tokens=np.array(output or [100] * count),
        turn=np.zeros(count, np.int64),
        vectors=np.zeros((count, WIDTH), np.float32) if vectors is None else vectors.astype(np.float32),
    )  # fmt: skip


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_a_limit_counts_the_day_so_far_and_starts_anew() -> None:
    times = [DAY, DAY + 1, DAY + 2, DAY + DAY_MS, DAY + DAY_MS + 1]
    log = log_of(times, ["a", "b", "a", "a", "a"], subnets=["n"] * 5)
    assert PEERS["account_limit"].levels(log, log).tolist() == [0, 0, 1, 0, 1]
    assert PEERS["subnet_limit"].levels(log, log).tolist() == [0, 1, 2, 0, 1]


def test_a_template_is_counted_by_the_accounts_before() -> None:
    log = log_of([1, 2, 3, 4], ["a", "a", "b", "c"], templates=["t", "t", "t", "t"])
    assert PEERS["template_hash"].levels(log, log).tolist() == [0, 1, 1, 2]
    assert np.isneginf(PEERS["template_hash"].levels(log_of([1], ["a"]), log)).all()


def test_prada_tells_evenly_spaced_queries_from_scattered_ones() -> None:
    rng = np.random.default_rng(1)
    scattered = unit(rng.standard_normal((200, WIDTH)))
    clumped = scattered.copy()
    clumped[1::2] = clumped[::2] + 1e-3  # half of them near-repeats: two clumps of distances
    both = log_of(list(range(400)), ["s"] * 200 + ["c"] * 200, vectors=np.concatenate([scattered, unit(clumped)]))
    levels = PEERS["prada"].levels(both, both)
    assert np.isneginf(levels[:50]).all()
    assert levels[399] > levels[199] + 0.1


def test_mmd_tells_another_distribution_from_the_benign_one() -> None:
    rng = np.random.default_rng(1)
    benign = unit(rng.standard_normal((2_000, WIDTH)))
    shifted = unit(rng.standard_normal((200, WIDTH)) + 2.0 * np.eye(WIDTH)[0] * 4)
    reference = log_of(list(range(2_000)), ["x"] * 2_000, vectors=benign)
    vectors = np.concatenate([unit(rng.standard_normal((200, WIDTH))), shifted])
    log = log_of(list(range(400)), ["benign"] * 200 + ["harvest"] * 200, vectors=vectors)
    levels = PEERS["mmd"].levels(log, reference)
    assert np.isneginf(levels[200:300]).all()
    assert levels[399] > 20 * max(levels[199], 0.001)


def test_synchrotrap_finds_those_that_act_together_from_the_next_day_on() -> None:
    times, accounts, templates = [], [], []
    for day in range(2):
        for hour in range(6):
            for number in range(6):
                for name, template in ((f"h{number}", "queue"), (f"o{number}", f"own{number}-{hour}")):
                    times.append(DAY + day * DAY_MS + hour * HOUR_MS)
                    accounts.append(name)
                    templates.append(template)
    log = log_of(times, accounts, templates=templates)
    levels = PEERS["synchrotrap"].levels(log, log)
    harvest = np.array([name.startswith("h") for name in accounts])
    second = log.time_ms >= DAY + DAY_MS
    assert np.isneginf(levels[~second]).all()
    assert (levels[second & harvest] == 1.0).all()
    assert np.isneginf(levels[second & ~harvest]).all()


def test_an_isolation_forest_isolates_the_day_that_nobody_else_has() -> None:
    rng = np.random.default_rng(1)

    def days(accounts: list[str], output: int, gap_ms: int, count: int) -> tuple[list[int], list[str], list[int]]:
        rows = [(DAY + d * DAY_MS + i * gap_ms, name) for d in range(2) for name in accounts for i in range(count)]
        spread = rng.integers(output, 2 * output, len(rows)).tolist()
        return [t for t, _ in rows], [n for _, n in rows], spread

    people = days([f"p{n}" for n in range(40)], 50, HOUR_MS, 12)
    odd = days(["odd"], 60_000, 1_000, 300)
    reference = log_of(people[0], people[1], output=people[2])
    both = [a + b for a, b in zip(people, odd, strict=True)]
    log = log_of(both[0], both[1], output=both[2])
    log = part(log, np.argsort(np.argsort(log.time_ms)) >= 0)
    levels = PEERS["isolation_forest"].levels(log, reference)
    mine = log.account.codes == log.account.names.index("odd")
    later = log.time_ms >= DAY + DAY_MS
    assert np.isneginf(levels[~later]).all()
    assert levels[mine & later].min() > np.quantile(levels[~mine & later], 0.9)


def test_floors_refuse_nobody_and_anybody() -> None:
    log = log_of(list(range(300)), [f"a{n % 100}" for n in range(300)])
    assert np.isneginf(PEERS["null"].levels(log, log)).all()
    lots = PEERS["random"].levels(log, log)
    assert np.array_equal(lots[:100], lots[100:200])
    assert 0.3 < lots.mean() < 0.7


@pytest.mark.parametrize("refused_max", [0, 1, 2, 3, 5, 100])
def test_a_threshold_keeps_to_the_collateral_and_is_the_lowest_that_does(refused_max: int) -> None:
    levels = np.array([1.0, 2.0, 2.0, 2.0, 3.0, 4.0, 9.0, -np.inf])
    benign = np.array([True] * 5 + [False] * 2 + [True])
    threshold = threshold_at(levels, benign, refused_max=refused_max)
    assert (levels[benign] >= threshold).sum() <= refused_max
    lower = levels[np.isfinite(levels) & (levels < threshold)]
    if lower.size:
        assert (levels[benign] >= lower.max()).sum() > refused_max


def test_decisions_refuse_exactly_the_requests_above_the_threshold() -> None:
    rng = np.random.default_rng(1)
    names = [f"a{n}" for n in rng.integers(0, 5, 60)]
    times = (1_000 + np.sort(rng.choice(10_000, 60, replace=False))).tolist()
    log, levels = log_of(times, names), rng.random(60)
    made = decisions_of(log, levels, scope="account", threshold=0.6)
    batch = events(list(zip(names, times, strict=True)))
    refused = levels_of(batch, by_scope=timelines(made)) >= CONTAINS
    assert refused.tolist() == (levels >= 0.6).tolist()


def test_who_needs_text_is_left_out_of_a_log_without(tmp_path: Path) -> None:
    log = read([str(write_log(tmp_path / "log.jsonl"))], key=KEY)
    assert not log.has_text
    assert set(PEERS) - set(names_for(log, PEERS)) == {"prada", "mmd"}


def test_the_verb_scores_every_peer_on_raw_logs(tmp_path: Path) -> None:
    for name, first in (("test", 0), ("validation", 7)):
        with (tmp_path / f"{name}.jsonl").open("w") as log, (tmp_path / f"{name}.csv").open("w") as labels:
            labels.write("account_id,campaign\n")
            for account in range(12):
                labels.write(f"a{account},{'harvest' if account < 3 else ''}\n")
            for number in range(600):
                account = f"a{number % 12}"
                time_ms = 1_776_643_200_000 + number * 600_000
                line = {"event_id": f"e{number}", "event_time": time_ms, "account_id": account, "request_model": "m"}
                line |= {"input_tokens": 9, "output_tokens": first + number % 50, "client_ip": "198.51.100.7"}
                log.write(
                    json.dumps(line | {"content": {"prompt": f"please tell me of {number} and {account}"}}) + "\n"
                )
    out = tmp_path / "peers.json"
    made = run(
        *("peers", tmp_path / "test.jsonl", "--labels", tmp_path / "test.csv"),
        *("--validation", tmp_path / "validation.jsonl", "--validation-labels", tmp_path / "validation.csv"),
        *("--collateral-ppm", "1000", "--out", out, "-o", "json"),
    )
    assert made.exit_code == 0, made.output
    rows = {r["peer"]: r for r in orjson.loads(made.stdout)}
    assert set(rows) == {"stillwatch", *PEERS}
    assert rows["null"]["leak"] == 1.0
    assert all(r["validation_ppm"] <= 1_000 for r in rows.values())
    assert len(orjson.loads(out.read_bytes())) == len(rows)
    unknown = run(
        *("peers", tmp_path / "test.jsonl", "--labels", tmp_path / "test.csv", "--only", "nobody"),
        *("--validation", tmp_path / "test.jsonl", "--validation-labels", tmp_path / "test.csv"),
    )
    assert unknown.exit_code == 2
