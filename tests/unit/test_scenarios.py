"""Every family of attacks does what its row says, every twin is there at its size, and nothing is theirs alone."""

from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from detector.events import REQUIRED, SCHEMA
from detector.tuning.generate import SCENARIOS, Size, answers, generate, pools
from detector.tuning.generate.choosers import alternating
from detector.tuning.generate.exchanging import vocabulary_of
from detector.tuning.generate.render import project
from detector.tuning.generate.rewording import reword
from detector.tuning.generate.sessions import Session
from detector.tuning.generate.twins import NEW_HARNESS, PLURAL, TWINS
from detector.tuning.generate.world import START_MS
from tests.bench import leakage
from tests.conftest import data_path

TINY: dict[str, Any] = {"accounts": 60, "days": 1.0, "seed": 5, "texts_max": 400, "twins": False}
ATTACKERS = Size(accounts=24, requests_per_day=100.0)


@cache
def attacked(name: str, size: Size = ATTACKERS) -> pa.Table:
    """The attack's events of a small world."""
    world = generate(name, texts_dir=data_path(), attack=size, **TINY)
    events = pa.Table.from_batches(list(world.batches())).combine_chunks()
    labels = world.labels
    members = labels.column("account_id").filter(pc.equal(labels.column("campaign"), name)).combine_chunks()
    return events.filter(pc.is_in(events.column("account_id"), value_set=members)).combine_chunks()


def values(events: pa.Table, name: str) -> list[Any]:
    return list(events.column(name).to_pylist())


def shared_anchors(events: pa.Table) -> float:
    """Share of requests that hold an anchor of a tenth of all requests."""
    lists = events.column("anchor_fps").combine_chunks()
    rows = np.repeat(np.arange(events.num_rows), lists.value_lengths().to_numpy())
    anchors = lists.flatten().to_numpy()
    value, count = np.unique(anchors, return_counts=True)
    return np.unique(rows[np.isin(anchors, value[count > events.num_rows / 10])]).size / events.num_rows


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_family_has_its_campaign_and_its_rate(name: str) -> None:
    events = attacked(name)
    lived = 2 if name == "failover" else 1  # places of the pool, not accounts
    assert 18 <= pc.count_distinct(events.column("account_id")).as_py() <= 24 * (lived + 1)
    assert events.num_rows == pytest.approx(24 * 100, rel=0.35)
    assert SCENARIOS[name].why.endswith(")")


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [("templated", 0.95, 1.0), ("wrapped", 0.5, 1.0), ("reworded_account", 0.0, 0.6), ("reworded_request", 0.0, 0.1),
     ("bare_replay", 0.0, 0.1)],
)  # fmt: skip
def test_a_pools_text_is_shared_as_far_as_its_row_says(name: str, least: float, most: float) -> None:
    assert least <= shared_anchors(attacked(name)) <= most


def test_a_probe_asks_for_one_token_with_changing_biases() -> None:
    events = attacked("logit_probe")
    assert set(values(events, "max_tokens")) == {1}
    assert max(values(events, "output_tokens")) <= 1
    assert len(set(values(events, "logit_bias_fp"))) == events.num_rows
    assert len(set(values(events, "prompt_fp"))) <= 3


def test_a_cleaner_is_given_what_its_pool_was_told() -> None:
    def reused(events: pa.Table) -> float:
        told = set(events.column("output_run_fps").combine_chunks().flatten().to_pylist())
        asked = values(events, "run_fps")
        return float(np.mean([len(told.intersection(runs or ())) >= 2 for runs in asked]))

    assert reused(attacked("cleaner")) > 0.4
    assert reused(attacked("bare_replay")) == 0.0


def test_judges_read_what_generators_were_told() -> None:
    events = attacked("generate_judge")
    told = {
        fp: a
        for a, fps in zip(values(events, "account_id"), values(events, "output_run_fps"), strict=True)
        for fp in fps or ()
    }
    pairs = {
        (told[fp], reader)
        for reader, runs in zip(values(events, "account_id"), values(events, "run_fps"), strict=True)
        for fp in runs or ()
        if fp in told
    }
    assert pairs
    assert all(writer != reader for writer, reader in pairs)


@pytest.mark.parametrize(("name", "least"), [("signature_replay", 0.2), ("relay", 0.02), ("relay_pinned", 0.0)])
def test_signatures_turn_up_on_other_accounts(name: str, least: float) -> None:
    events = attacked(name)
    issued = dict(zip(values(events, "reasoning_signature_fp"), values(events, "account_id"), strict=True))
    echoes = zip(values(events, "reasoning_signature_echo_fp"), values(events, "account_id"), strict=True)
    handed = np.mean([echo is not None and issued.get(echo, account) != account for echo, account in echoes])
    assert handed >= least
    if name == "relay_pinned":
        assert handed == 0


def test_a_pool_moves_to_the_new_model_within_a_day() -> None:
    events = attacked("pivot", Size(accounts=12, requests_per_day=200.0))
    new = np.asarray([model == "vega-think" for model in values(events, "request_model")])
    assert not new[: new.size // 3].any()
    assert new[-new.size // 5 :].mean() > 0.5


def test_a_banned_pool_is_followed_by_another() -> None:
    events = attacked("failover")
    times, who = events.column("event_time").to_numpy(), np.asarray(values(events, "account_id"))
    middle = (times[0] + times[-1]) / 2
    assert not set(who[times < times[0] + 0.3 * (times[-1] - times[0])]) & set(who[times > middle])


def test_a_synchronised_pool_begins_together_and_pays_with_one_card() -> None:
    events = attacked("synchronised")
    assert len(set(values(events, "payment_fp"))) == 1
    hours = np.bincount((events.column("event_time").to_numpy() - START_MS) // 3_600_000, minlength=24)
    assert (hours == 0).mean() > 0.3


def test_a_farm_lives_in_one_prefix_and_refusals_are_refused() -> None:
    prefixes = {address.rsplit(".", 1)[0] for address in values(attacked("subnet_farm"), "client_ip") if address}
    assert len(prefixes) == 1
    reasons = values(attacked("refused"), "finish_reason")
    assert reasons.count("content_filter") > 0.4 * len(reasons)


def test_disguises_copy_settings_and_sessions() -> None:
    plain, copied = attacked("templated"), attacked("templated_settings")
    assert len(set(values(plain, "user_agent")) - {None}) == 1
    assert len(set(values(copied, "user_agent")) - {None}) >= 4
    assert {0} >= set(values(plain, "turn_index")) - {None}
    assert max(t for t in values(attacked("replay_sessions"), "turn_index") if t is not None) >= 2


def test_cover_traffic_is_shared_by_nobody() -> None:
    size = ATTACKERS._replace(cover=0.5)
    assert 0.35 < shared_anchors(attacked("templated", size)) < 0.65


def test_coverage_keeps_what_it_says() -> None:
    batch = attacked("templated").to_batches()[0]
    held = {name for name in SCHEMA.names if project(batch, fields="minimal").column(name).null_count < len(batch)}
    assert held == {*REQUIRED, "input_tokens", "output_tokens"}
    assert project(batch, fields="full") is batch


def test_twins_have_their_size_and_reasons() -> None:
    names = [cast.name for cast in TWINS]
    assert len(set(names)) == len(names)
    assert all(")" in cast.why for cast in TWINS)
    world = generate("benign", accounts=200, days=0.1, texts_max=60, seed=2)
    sizes = dict(zip(*np.unique(world.labels.column("population").to_pylist(), return_counts=True), strict=True))
    for cast in TWINS:  # a tenth of the reference size, where a twin of many has 200 and a new harness 1,000
        assert sizes[cast.name] >= cast.at_least // 10, cast.name
    assert {c.at_least for c in TWINS if c.name == "new_harness"} == {NEW_HARNESS}
    assert sum(c.at_least >= PLURAL for c in TWINS) >= 18


def test_who_compares_wordings_has_one_to_three_of_them() -> None:
    rng = np.random.default_rng(3)
    builder = pools.Builder()
    made = [builder.pool([pools.Item(f"{name} ", str(at), "", at) for at in range(5)]) for name in "abcd"]
    own = np.array([[0, 1, 2], [3, 3, 3]])
    account = np.repeat([0, 1], 30)
    session = Session(account, np.zeros(60, np.int64), np.arange(60), np.ones(60, np.int64))
    text, variant = alternating([pools.Drawer(pool) for pool in made], own=own)(rng, session)
    said = np.array([builder.items[row].head[0] for row in text.tolist()])
    assert set(said[account == 0]) == {"a", "b", "c"}
    assert set(said[account == 1]) == {"d"}
    assert len(set(zip(text.tolist(), variant.tolist(), strict=True))) == 60  # no text twice


def test_attackers_answer_what_the_engine_decides() -> None:
    arguments: dict[str, Any] = TINY | {"accounts": 80, "days": 0.75}
    size = Size(accounts=25, requests_per_day=150.0)
    world = generate("templated", texts_dir=data_path(), attack=size, react=True, **arguments)
    events = pa.Table.from_batches(list(world.batches()))
    stopped = events.filter(pc.is_in(events.column("disposition"), value_set=pa.array(["challenged", "blocked"])))
    assert stopped.num_rows > 0
    assert stopped.column("decision_id").null_count == 0
    assert set(values(stopped, "output_tokens")) == {0}
    allowed = events.filter(pc.equal(events.column("disposition"), "allowed"))
    assert allowed.column("decision_id").null_count == allowed.num_rows
    first_ms = stopped.column("event_time")[0].as_py()
    seen_before = set(values(events.filter(pc.less(events.column("event_time"), first_ms)), "account_id"))
    labels = world.labels
    hostile = set(labels.column("account_id").filter(pc.not_equal(labels.column("campaign"), "")).to_pylist())
    newcomers = {a for a in values(allowed, "account_id") if a in hostile} - seen_before
    assert newcomers  # spare accounts took over
    again = generate("templated", texts_dir=data_path(), attack=size, react=True, **arguments)
    assert pa.Table.from_batches(list(again.batches())).equals(events)


def test_names_of_answers_say_length_and_thought() -> None:
    rng = np.random.default_rng(1)
    thinks = np.array([True, False, True])
    names = answers.name_answers(rng, tokens=np.array([20, 300, 5_000]), thinks=thinks)
    assert answers.thought(names).tolist() == thinks.tolist()
    prints = answers.run_prints(names)
    assert (np.diff(prints.astype(np.float64), axis=1) >= 0).all()
    assert np.unique(prints).size == prints.size
    board = answers.Board()
    board.put(names, hour=1)
    assert not board.take(rng, count=4, hour=1).any()
    assert set(board.take(rng, count=40, hour=2)) == set(names)
    assert set(board.take(rng, count=40, hour=2, thinking=True)) == set(names[thinks])


def test_rewordings_share_next_to_nothing() -> None:
    words = vocabulary_of(["river", "stone", "cloud", "meadow", "lantern"])
    texts = [" ".join(reword(seed, part=0, vocabulary=words)).split() for seed in range(40)]
    grams = [{tuple(text[at : at + 8]) for at in range(len(text) - 7)} for text in texts]
    shared = [len(one & other) for at, one in enumerate(grams) for other in grams[:at]]
    assert np.mean(np.asarray(shared) > 0) < 0.05


def test_the_leakage_check_sees_a_tell_and_only_that() -> None:
    hostile = np.arange(400) < 40
    rng = np.random.default_rng(1)
    told = leakage.Column(np.where(hostile, 2.0, rng.integers(0, 2, 400)))
    silent = leakage.Column(rng.random(400))
    assert leakage.best_rule(told, hostile=hostile).recall == 1.0
    assert leakage.best_rule(silent, hostile=hostile).recall < 0.2
    fields = {"told": told, "silent": silent}
    binned = leakage.bins_of(fields, names=list(fields))
    codes = leakage.codes_of(fields, binned=binned)
    score = leakage.Additive(codes, hostile=hostile, width=binned.width).score(codes)
    assert leakage.area(score, hostile=hostile) > 0.99
    assert leakage.recall_at(score, hostile=hostile, innocent_max=0.0) > 0.9
