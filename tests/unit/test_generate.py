"""Generated worlds: deterministic, sorted, divided, and without the tells that earlier ones had."""

import gzip
import itertools
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from detector.__main__ import app
from detector.events import SCHEMA
from detector.fingerprint import fingerprint
from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.sources import decode_block, open_input
from detector.tuning.generate import Size, exchanging, generate, pools, rates, texts
from detector.tuning.generate.columns import mix64
from detector.tuning.generate.render import LEAN_DROPS
from detector.tuning.generate.sample import EXCLUDED, SOURCES, demo
from detector.tuning.generate.world import START_MS
from detector.tuning.generate.write import write
from tests.bench import leakage
from tests.conftest import data_path

DAY_MS = 86_400_000
WORD = re.compile(r"\w+")
SMALL: dict[str, Any] = {"accounts": 300, "days": 1.0, "seed": 7}
TINY: dict[str, Any] = {"accounts": 60, "days": 0.5, "seed": 3, "texts_max": 300}


@cache
def small(**more: Any) -> tuple[pa.Table, pa.Table]:
    """Events and labels of a small templated world on the published data."""
    size = Size(accounts=20, requests_per_day=more.pop("requests_per_day", None))
    world = generate("templated", texts_dir=data_path(), attack=size, **(SMALL | more))
    return pa.Table.from_batches(list(world.batches())), world.labels


def attacking(table: pa.Table, labels: pa.Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    members = labels.column("account_id").filter(pc.not_equal(labels.column("campaign"), ""))
    return pc.is_in(table.column("account_id"), value_set=members.combine_chunks()).to_numpy(zero_copy_only=False)


def test_equal_arguments_give_equal_worlds_and_other_seeds_others() -> None:
    events, labels = small()
    world = generate("templated", texts_dir=data_path(), attack=Size(accounts=20), **SMALL)
    assert pa.Table.from_batches(list(world.batches())).equals(events)
    assert world.labels.equals(labels)
    other, _ = small(seed=8)
    assert not other.column("account_id").equals(events.column("account_id"))


def test_events_have_the_schema_come_in_order_and_lie_in_the_run() -> None:
    events, _ = small()
    assert events.schema == SCHEMA
    times = events.column("event_time").to_numpy()
    assert (np.diff(times) >= 0).all()
    assert START_MS <= times[0] <= times[-1] < START_MS + DAY_MS
    assert pc.count_distinct(events.column("event_id")).as_py() == events.num_rows


def test_every_event_has_a_label_and_every_twin_is_there() -> None:
    events, labels = small()
    assert pc.all(pc.is_in(events.column("account_id"), value_set=labels.column("account_id").combine_chunks())).as_py()
    populations = set(labels.column("population").to_pylist())
    twins = {"byok_tutor", "coding_harness", "cgnat", "nightly_eval_0", "retrieval", "batch_synthesis", "judge_vendor"}
    assert twins <= populations
    assert set(labels.column("campaign").to_pylist()) == {"", "templated"}


def test_the_harvest_has_the_size_asked_for() -> None:
    events, labels = small(requests_per_day=40.0)
    requests = int(attacking(events, labels).sum())
    assert requests == pytest.approx(20 * 40, rel=0.25)


def test_the_benign_scenario_has_no_campaign_and_the_same_innocents() -> None:
    world = generate("benign", texts_dir=data_path(), **SMALL)
    events, labels = small()
    innocent = events.filter(pa.array(~attacking(events, labels)))
    assert set(world.labels.column("campaign").to_pylist()) == {""}
    alone = sum(batch.num_rows for batch in world.batches())
    assert alone == innocent.num_rows


def test_tokens_and_times_are_possible() -> None:
    events, _ = small()
    column = {
        name: events.column(name).fill_null(0).to_numpy()
        for name in ("output_tokens", "reasoning_tokens", "input_tokens")
    }
    assert (column["reasoning_tokens"] <= column["output_tokens"]).all()
    assert (column["input_tokens"] > 0).all()
    cap = events.column("max_tokens")
    within = pc.less_equal(events.column("output_tokens"), cap)
    assert pc.all(within.drop_null()).as_py()
    age = pc.subtract(events.column("event_time"), events.column("account_created_at"))
    assert pc.min(age).as_py() >= 0


def test_lean_leaves_out_what_it_says_and_nothing_else() -> None:
    events, _ = small()
    lean, _ = small(fields="lean")
    empty = {name for name in SCHEMA.names if lean.column(name).null_count == lean.num_rows}
    was_empty = {name for name in SCHEMA.names if events.column(name).null_count == events.num_rows}
    assert empty - was_empty == set(LEAN_DROPS)


def test_configuration_is_per_account() -> None:
    events, _ = small()
    for name in ("max_tokens", "temperature", "stream", "user_agent", "sdk_version", "tools_fp", "account_tier"):
        pairs = events.select(["account_id", name]).group_by(["account_id"]).aggregate([(name, "count_distinct")])
        assert pc.max(pairs.column(f"{name}_count_distinct")).as_py() <= 1, name


def test_no_plain_value_belongs_to_attackers_alone() -> None:
    events, labels = small(accounts=1_500)
    hostile = pa.array(attacking(events, labels))
    names = [  # of autonomous systems the long tail is seen once anyway
        *("request_model", "response_model", "operation", "account_tier", "declared_use", "payer_verified"),
        *("stream", "batch", "temperature", "top_p", "n", "max_tokens", "reasoning_effort", "logprobs_requested"),
        *("structured_output", "tool_count", "user_agent", "sdk_name", "sdk_version", "ja4", "ip_type", "country"),
        *("finish_reason", "status_code", "prompt_lang", "first_token_class"),
    ]
    for name in names:
        column = events.column(name).cast(pa.string()).fill_null("absent")
        theirs, ours = set(column.filter(hostile).to_pylist()), set(column.filter(pc.invert(hostile)).to_pylist())
        assert theirs <= ours, name
    young = pc.less(pc.subtract(events.column("event_time"), events.column("account_created_at")), 7 * DAY_MS)
    innocents = events.filter(pc.and_(pc.invert(hostile), young)).column("account_id")
    assert pc.count_distinct(innocents).as_py() >= 50


def test_traits_of_attacking_accounts_occur_among_innocent_ones() -> None:
    events, labels = small()
    innocent = events.filter(pa.array(~attacking(events, labels))).combine_chunks()
    fields, _ = leakage.account_fields(innocent)
    assert fields["spread elicitation.refusal_probe"].values.max() > 0.42  # two wordings by turns
    assert fields["spread elicitation.cot"].values.max() > 0.35
    assert fields["requests"].values.max() > 1_500  # a heavy single customer, a judge by likelihood
    assert fields["distinct prompt_fp per request"].values.min() < 0.003
    biased = 1 - fields["absent logit_bias_fp order"].values
    assert (biased * fields["requests"].values).max() > 500


def test_identifiers_carry_no_order() -> None:
    events, labels = small()
    for name in ("event_id", "account_id", "conversation_id"):
        first = events.column(name).drop_null().to_pylist()
        rising = np.mean([a < b for a, b in itertools.pairwise(first) if a != b])
        assert 0.45 < rising < 0.55, name
    assert labels.column("account_id").to_pylist() == sorted(labels.column("account_id").to_pylist())


def test_people_repeat_each_others_openings_as_often_as_measured() -> None:
    events, labels = small(accounts=1_500)
    people = labels.filter(pc.is_in(labels.column("population"), value_set=pa.array(["chat", "cgnat", "developer"])))
    spoken = events.filter(
        pc.is_in(events.column("account_id"), value_set=people.column("account_id").combine_chunks())
    )
    first = spoken.filter(pc.equal(spoken.column("turn_index"), 0).fill_null(fill_value=False))
    owners = first.group_by(["prompt_fp"]).aggregate([("account_id", "count_distinct"), ("account_id", "count")])
    shared = owners.filter(pc.greater(owners.column("account_id_count_distinct"), 1))
    share = pc.sum(shared.column("account_id_count")).as_py() / first.num_rows
    assert 0.02 < share < 0.12


def test_a_harvest_shares_its_templates_and_not_its_items() -> None:
    events, labels = small()
    hostile = events.filter(pa.array(attacking(events, labels)))
    prompts = pc.count_distinct(hostile.column("prompt_fp")).as_py()
    assert prompts > 0.9 * hostile.num_rows
    rows = np.repeat(
        np.arange(hostile.num_rows), hostile.column("anchor_fps").combine_chunks().value_lengths().to_numpy()
    )
    anchors = hostile.column("anchor_fps").combine_chunks().flatten().to_numpy()
    value, count = np.unique(anchors, return_counts=True)
    common = np.isin(anchors, value[count > hostile.num_rows / 5])
    assert np.unique(rows[common]).size > 0.9 * hostile.num_rows


@pytest.mark.parametrize("form", ["jsonl", "jsonl.gz", "jsonl.zst", "parquet"])
def test_files_read_back_as_the_events_they_were_made_of(form: str, tmp_path: Path) -> None:
    size = Size(accounts=4)
    written = write(generate("templated", attack=size, **TINY), out=tmp_path, form=form)
    blocks = [decode_block(block) for block in open_input(str(written.events))]
    assert not [reject for block in blocks for reject in block.rejects]
    read = pa.Table.from_batches([block.batch for block in blocks]).combine_chunks()
    made = pa.Table.from_batches(list(generate("templated", attack=size, **TINY).batches())).combine_chunks()
    assert written.rows == made.num_rows
    for name in SCHEMA.names:
        if name != "elicitation":
            assert read.column(name).equals(made.column(name)), name
    labels = pyarrow.csv.read_csv(written.labels)
    assert labels.column_names == ["account_id", "campaign", "population"]


def test_a_raw_log_fingerprints_to_what_the_fingerprinted_log_holds(tmp_path: Path) -> None:
    size = Size(accounts=4)
    arguments: dict[str, Any] = TINY | {"twins": False, "texts_max": 6_000}
    written = write(generate("templated", raw=True, attack=size, **arguments), out=tmp_path, form="jsonl.zst")
    direct = pa.Table.from_batches(list(generate("templated", attack=size, **arguments).batches()))
    at = 0
    for block in open_input(str(written.events)):
        decoded = decode_block(block)
        assert decoded.content is not None
        made = fingerprint(decoded.content, key=DEVELOPMENT_KEY)
        some = direct.slice(at, decoded.batch.num_rows).combine_chunks()
        at += decoded.batch.num_rows
        assert decoded.batch.column("event_id").equals(some.column("event_id").combine_chunks())
        # Where distinct texts ran out, columns are re-keyed and raw text is recombined: prints differ there.
        same = pc.equal(made["prompt_fp"], some.column("prompt_fp").combine_chunks()).fill_null(fill_value=True)
        assert pc.mean(same.cast(pa.int8())).as_py() > 0.9
        # A raw log holds no outputs: what quotes one has other runs there.
        for name in ("system_prompt_fp", "template_fp", "anchor_fps", "prompt_chars", "first_token_class"):
            assert made[name].filter(same).equals(some.column(name).combine_chunks().filter(same)), name
    assert at == direct.num_rows


def test_raw_logs_are_json_lines_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="raw log"):
        write(generate("benign", accounts=60, days=0.1, raw=True), out=tmp_path, form="parquet")


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("accounts", {"accounts": 3}),
        ("days", {"days": 0.0}),
        ("scale", {"scale": float("inf")}),
        ("part", {"part": "none"}),
        ("fields", {"fields": "half"}),
        ("react", {"react": True, "raw": True}),
        ("cover", {"attack": Size(cover=1.0)}),
        ("attackers", {"attack": Size(accounts=0)}),
        ("requests_per_day", {"attack": Size(requests_per_day=0.0)}),
        ("disguise", {"attack": Size(disguise="hat")}),
    ],
)
def test_values_out_of_range_are_named(name: str, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=name):
        generate("templated", **wrong)


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        generate("nonsense")


def test_parts_and_sides_share_no_text() -> None:
    held: dict[str, set[str]] = {}
    for part in texts.PARTS:
        corpus = texts.load(data_path(), part=part)
        for name, side in zip(("benign", "attack"), corpus, strict=True):
            held[f"{part} {name}"] = {*side.people, *side.published, *side.personas}
    names = sorted(held)
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            # Rows are divided by id; the same words under two ids occur in the published sets themselves.
            assert len(held[one] & held[other]) <= 0.02 * min(len(held[one]), len(held[other])), (one, other)


def test_a_side_without_texts_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="prompt files"):
        texts.load(tmp_path, part="tuning")
    (tmp_path / "few.jsonl").write_bytes(orjson.dumps({"id": "a", "kind": "human", "prompt": "why"}) + b"\n")
    with pytest.raises(ValueError, match="at least 8"):
        texts.load(tmp_path, part="tuning")


@given(text=st.text(max_size=200), seed=st.integers(1, 2**63), extra=st.text(max_size=50))
def test_recombining_keeps_prefixes_and_leaves_no_five_words_alone(text: str, seed: int, extra: str) -> None:
    words = ["river", "stone", "cloud"]
    vocabulary = exchanging.vocabulary_of(words)
    made = exchanging.recombine(text, seed=seed, vocabulary=vocabulary)
    assert made == exchanging.recombine(text, seed=seed, vocabulary=vocabulary)
    whole = exchanging.recombine(text + "\n\n" + extra, seed=seed, vocabulary=vocabulary)
    count = len(WORD.findall(text))
    if count >= 4:
        assert whole.startswith(made)
        before, after = WORD.findall(text), WORD.findall(made)
        held = [a == b for a, b in zip(before, after, strict=True)]
        for at in range(count - 4):
            window = range(at, at + 5)
            # A word may meet itself in the vocabulary, or a digit itself.
            assert not all(held[i] for i in window) or any(
                before[i].lower() in words or before[i].isdigit() for i in window
            )


@given(
    text=st.text(alphabet=st.characters() | st.sampled_from("aZ9_ ²é中"), max_size=60), seed=st.integers(1, 2**64 - 1)
)
def test_recombining_exchanges_whole_words_for_words_of_their_kind(text: str, seed: int) -> None:
    made = exchanging.recombine(text, seed=seed, vocabulary=exchanging.vocabulary_of(["river"]))
    before, after = WORD.findall(text), WORD.findall(made)
    assert WORD.split(text) == WORD.split(made)
    assert len(before) == len(after)
    for at, (old, new) in enumerate(zip(before, after, strict=True)):
        if old == new:
            continue
        assert at % 4 == min(seed % 4, len(before) - 1) % 4
        if old.isdigit():
            assert new.isascii()
            assert new.isdigit()
            assert len(new) == min(len(old), 18)
        else:
            assert new == ("River" if old[0].isupper() else "river")


@given(value=st.integers(0, 2**64 - 1), seed=st.integers(0, 2**63))
def test_both_mixers_agree(value: int, seed: int) -> None:
    column = mix64(np.array([value], np.uint64), seed=np.array([seed], np.uint64))
    assert int(column[0]) == exchanging.mix(value, seed=seed)


def test_variants_keep_the_templates_prints_and_change_the_items() -> None:
    side = texts.load(None, part="tuning").benign
    head = "Please answer the following question as well as you can and in full sentences. Question: "
    items = [pools.Item(head, text[:300], "", group=at) for at, text in enumerate(side.people[:40])]
    builder = pools.Builder()
    pool = builder.pool(items)
    table = builder.build(key=DEVELOPMENT_KEY, fingerprints=True)
    rows, none = np.arange(pool.size), np.full(pool.size, -1)
    before = pools.gather(table, rows=rows, variants=np.zeros_like(rows), system=none)
    after = pools.gather(table, rows=rows, variants=np.ones_like(rows), system=none)
    again = pools.gather(table, rows=rows, variants=np.ones_like(rows), system=none)
    assert after["prompt_fp"].equals(again["prompt_fp"])
    assert not set(before["prompt_fp"].to_pylist()) & set(after["prompt_fp"].to_pylist())
    assert before["template_fp"].equals(after["template_fp"])
    for old, new in zip(before["anchor_fps"].to_pylist(), after["anchor_fps"].to_pylist(), strict=True):
        assert set(old) & set(new)  # the template's
        assert len(old) == len(new)
    changed = sum(
        set(o) != set(n) for o, n in zip(before["anchor_fps"].to_pylist(), after["anchor_fps"].to_pylist(), strict=True)
    )
    assert changed > pool.size / 2


def test_profiles_have_mean_one_and_quantiles_rise() -> None:
    for held in (rates.load(data_path()), rates.load(texts.PACKAGED)):
        assert held.weights.mean(axis=1) == pytest.approx(1.0)
        assert (np.diff(held.outputs, axis=1) >= 0).all()
        assert held.clients >= 5


def test_the_sample_holds_credited_sources_only() -> None:
    rows = [
        orjson.loads(line) for line in gzip.decompress((texts.PACKAGED / "prompts.jsonl.gz").read_bytes()).splitlines()
    ]
    assert {row["source"] for row in rows} == set(SOURCES)
    assert not {row["id"] for row in rows} & EXCLUDED
    credits_ = (texts.PACKAGED / "CREDITS.md").read_text()
    for source in SOURCES:
        count = sum(row["source"] == source for row in rows)
        assert f"| {source} | {count} |" in credits_


def test_the_committed_demo_log_is_what_its_command_makes() -> None:
    world = demo()
    committed = [decode_block(block) for block in open_input(str(texts.PACKAGED / "events.jsonl.zst"))]
    read = pa.Table.from_batches([block.batch for block in committed])
    assert 6_000 <= read.num_rows <= 12_000
    batches, contents = zip(*world.contents(), strict=True)
    made = pa.Table.from_batches(list(batches))
    assert read.column("event_time").combine_chunks().equals(made.column("event_time").combine_chunks())
    assert read.column("account_id").combine_chunks().equals(made.column("account_id").combine_chunks())
    prompts = pa.concat_arrays([content.prompt for content in contents])
    held = pa.concat_arrays([block.content.prompt for block in committed if block.content is not None])
    assert held.equals(prompts)
    labels = pyarrow.csv.read_csv(
        texts.PACKAGED / "labels.csv", convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False)
    )
    assert labels.column("account_id").to_pylist() == world.labels.column("account_id").to_pylist()
    assert (texts.PACKAGED / "events.jsonl.zst").stat().st_size < 1_700_000


def test_the_command_writes_a_log_and_names_wrong_values(tmp_path: Path) -> None:
    runner = CliRunner()
    small_world = ["--accounts", "60", "--no-twins", "--days", "0.2", "--format", "parquet"]
    done = runner.invoke(app, ["generate", "benign", "--out", str(tmp_path / "log"), *small_world])
    assert done.exit_code == 0
    assert (tmp_path / "log" / "events.parquet").exists()
    wrong = runner.invoke(app, ["generate", "benign", "--out", str(tmp_path / "log"), "--days", "-1"])
    assert wrong.exit_code == 2
    assert "days=-1" in wrong.stderr
    raw = runner.invoke(app, ["generate", "benign", "--out", str(tmp_path), *small_world, "--raw"])
    assert raw.exit_code == 2
