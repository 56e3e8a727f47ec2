"""The small sample of published prompts and traces that ships, and the demo log made of it.

Purpose: `choose` copies a few hundred rows from a folder of published data into the
package, under licences that allow it (MIT, Apache-2.0, CC0); `demo` is the world of the
committed demo log.
Invariants: rows are chosen by a hash of their id, so the choice can be repeated; nothing of
CC-BY, CC-BY-SA or of unclear terms is taken.
Limits: traces are cut to the first week and to the clients named here.
"""

import csv
import gzip
import io
from pathlib import Path

import orjson

from detector.tuning.generate.texts import EVERYTHING, fraction, read_rows
from detector.tuning.generate.world import Size, World, generate

# Rows to take per source; each source's licence and origin stand in the demo's CREDITS.md.
SOURCES = {
    "oasst": 260,
    "arena_hard_v01": 170,
    "self_instruct_seeds": 175,
    "awesome_prompts": 70,
    "gpteacher_codegen": 170,
    "gorilla_apibench": 110,
    "toolbench": 90,
    "humaneval": 40,
    "gsm8k": 90,
    "mmlu_0shot": 70,
    "mt_bench": 78,
    "llm_judge": 24,
}
EXCLUDED = frozenset(  # coarse or dangerous requests have no place in a demonstration
    {"oasst:lottery-46", "oasst:lottery-119", "oasst:lottery-212", "self_instruct_seeds:seed_task_67"}
)
PROMPT_CHARS_MAX = 3_200
KEPT_FIELDS = ("source", "kind", "id", "prompt", "later_prompts")
CLIENTS = ("m-small-2", "m-small-7", "m-small-11", "m-small-16", "m-small-24", "m-small-29", "m-small-39", "m-small-40")
WEEK_S = 7 * 86_400
WHOLE_TRACES = ("vtc_arena_arrivals.csv.gz", "agent_calls_taubench.csv.gz")
CLIENT_TRACES = ("servegen_m_small_client_rates.csv.gz", "servegen_m_small_client_lengths.csv.gz")

DEMO_ACCOUNTS = 560
DEMO_ATTACKERS = 40
DEMO_DAYS = 2.0
DEMO_SCALE = 0.17
DEMO_REQUESTS_PER_DAY = 60.0
DEMO_SEED = 20_261_122


def choose(folder: Path, *, out: Path) -> list[Path]:
    """Copy the sample from a folder of published data to `out`; returns the files written."""
    out.mkdir(parents=True, exist_ok=True)
    by_source: dict[str, list[dict[str, object]]] = {source: [] for source in SOURCES}
    for row in read_rows(folder):
        source = str(row.get("source"))
        fits = len(str(row["prompt"])) <= PROMPT_CHARS_MAX and row["id"] not in EXCLUDED
        if source in by_source and fits:
            by_source[source].append({name: row[name] for name in KEPT_FIELDS if name in row})
    rows = []
    for source, count in SOURCES.items():
        ranked = sorted(by_source[source], key=lambda row: fraction(str(row["id"]), salt="sample"))
        rows += sorted(ranked[:count], key=lambda row: str(row["id"]))
    prompts = out / "prompts.jsonl.gz"
    prompts.write_bytes(_gzipped(b"".join(orjson.dumps(row) + b"\n" for row in rows)))
    written = [prompts]
    for name in WHOLE_TRACES:
        text = gzip.decompress((folder / "traces" / name).read_bytes())
        (out / name).write_bytes(_gzipped(text))
        written.append(out / name)
    for name in CLIENT_TRACES:
        (out / name).write_bytes(_gzipped(_first_week(folder / "traces" / name)))
        written.append(out / name)
    return written


def _first_week(path: Path) -> bytes:
    """The rows of the chosen clients in the first week, columns as published."""
    kept = io.StringIO(newline="")
    with gzip.open(path, "rt", newline="") as lines:
        reader = csv.DictReader(lines)
        writer = csv.DictWriter(kept, fieldnames=list(reader.fieldnames or ()), lineterminator="\n")
        writer.writeheader()
        for row in reader:
            if row["client"] in CLIENTS and float(row["window_start_s"]) < WEEK_S:
                writer.writerow(row)
    return kept.getvalue().encode()


def _gzipped(text: bytes) -> bytes:
    return gzip.compress(text, compresslevel=9, mtime=0)


def demo(folder: Path | None = None) -> World:
    """The demo log's world: a raw log over two days with one templated campaign. `None`: the packaged sample."""
    return generate(
        "templated",
        texts_dir=folder,
        part=EVERYTHING,
        accounts=DEMO_ACCOUNTS,
        twins=False,
        attack=Size(accounts=DEMO_ATTACKERS, requests_per_day=DEMO_REQUESTS_PER_DAY / DEMO_SCALE),
        days=DEMO_DAYS,
        scale=DEMO_SCALE,
        seed=DEMO_SEED,
        raw=True,
    )
