"""How well pools of prompts come to share a fingerprint, how rarely strangers do, and how fast.

Run: `python -m tests.bench.bench_fingerprint [--full] [--pools N]`. Prints tables, asserts nothing;
the shares that are held against bars are those of --full (30 pools per cell).

Method. Texts held back: human prompts whose id hashes to the test half; the parameters of
the shingle ranks were compared on the other half. Not held back: the published harvest
templates (too few to split) serve both halves as fixed text, the lexicon's phrases were
written by someone who had read them, and a first screening of rank schemes drew from a
different split of the human prompts that overlaps this one. So the elicitation table says
nothing of recall on unseen pipelines. A pool is one fixed text of some words (cut from a
published harvest template or from a held-back human prompt) set into `POOL_PROMPTS`
prompts whose remaining characters come from other held-back human prompts. Head and
tail are joined to the rest by a space, a line break or an empty line, drawn per pool.
The share of a cell is the mean over its pools of the share of prompts that carry the
pool's commonest fingerprint of any kind.
"""

import argparse
import gzip
import hashlib
import itertools
import json
import os
import random
import re
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from detector.events import ELICITATION_KINDS
from detector.fingerprint import Content, fingerprint

KEY = hashlib.blake2b(b"bench key", digest_size=32).digest()
TEMPLATE_WORDS = (8, 12, 16, 20, 30, 40, 60)
PROMPT_CHARS = (200, 400, 800, 1500, 3000, 6000)
POSITIONS = ("head", "tail", "system", "between paragraphs", "inside running text")
JOINERS = (" ", "\n", "\n\n")
POOL_PROMPTS = 40
POOLS = (5, 30)  # per cell: to look at, to hold against a bar
SLOT = re.compile(r"\$?\{[^{}\n]{1,40}\}")
SPEED_CHARS = 1400
SPEED_ROWS = 20_000
SHARE_COLUMNS = ("system_prompt_fp", "template_fp", "prompt_fp", "anchor_fps", "run_fps")


def data_directory() -> Path:
    """Directory of the published prompts: STILLWATCH_DATA, or `../shared/data` beside the repository."""
    root = Path(__file__).resolve().parents[2]
    directory = Path(os.environ.get("STILLWATCH_DATA", root.parent / "shared" / "data"))
    if not directory.is_dir():
        raise FileNotFoundError(f"no prompt data at {directory}: set STILLWATCH_DATA to the directory that holds them")
    return directory


def rows_of(name: str) -> list[dict[str, Any]]:
    """Rows of one data file."""
    with gzip.open(data_directory() / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def held_back(row: dict[str, Any]) -> bool:
    """Whether a row belongs to the half that no choice was tuned on."""
    return hashlib.blake2b(row["id"].encode(), digest_size=1).digest()[0] % 2 == 1


def columns_of(prompts: list[str], systems: list[str | None] | None = None) -> dict[str, list[Any]]:
    """The fingerprint columns of some prompts, as Python lists."""
    absent = pa.nulls(len(prompts), pa.string())
    system = absent if systems is None else pa.array(systems, pa.string())
    columns = fingerprint(Content(system, pa.array(prompts, pa.string()), absent), key=KEY)
    return {name: columns[name].to_pylist() for name in SHARE_COLUMNS}


def carried(columns: dict[str, list[Any]], row: int) -> set[tuple[str, Any]]:
    """All fingerprints that one prompt carries, tagged with their kind."""
    found: set[tuple[str, Any]] = set()
    for name in SHARE_COLUMNS:
        value = columns[name][row]
        if value is not None:
            found.update((name, item) for item in (value if isinstance(value, list) else [value]))
    return found


def commonest_share(columns: dict[str, list[Any]], rows: range) -> float:
    """Share of the rows that carry the fingerprint that most of them carry."""
    counts = Counter(item for row in rows for item in carried(columns, row))
    return max(counts.values(), default=0) / len(rows)


class Texts:
    """Draws fixed and variable texts from the held-back material, seeded."""

    def __init__(self, seed: int) -> None:
        """Read the held-back texts; all draws follow from the seed."""
        self.rng = random.Random(seed)
        self.bodies = [row["prompt"] for row in rows_of("human_prompts") if held_back(row) and len(row["prompt"]) > 20]
        self.fixed_sources = [row["prompt"].split() for row in rows_of("harvest_templates")]
        self.fixed_sources += [words for words in map(str.split, self.bodies) if len(words) >= 60]

    def fixed(self, words: int) -> str:
        """A fixed text of so many words, cut from a template or a human prompt."""
        source = self.rng.choice([s for s in self.fixed_sources if len(s) >= words])
        at = self.rng.randrange(len(source) - words + 1)
        return " ".join(source[at : at + words])

    def body(self, chars: int, joiner: str = "\n\n") -> str:
        """Variable text of so many characters; cut at a word's end."""
        parts: list[str] = []
        size = 0
        while size < chars:
            parts.append(self.rng.choice(self.bodies))
            size += len(parts[-1]) + len(joiner)
        return joiner.join(parts)[: max(chars, 1)]

    def prompt(self, fixed: str, *, position: str, chars: int, joiner: str) -> str:
        """One prompt of a pool."""
        rest = max(chars - len(fixed), 40)
        if position == "head":
            return fixed + joiner + self.body(rest)
        if position == "tail":
            return self.body(rest) + joiner + fixed
        if position == "between paragraphs":
            before = self.rng.randint(rest // 4, rest * 3 // 4)
            return self.body(before) + "\n\n" + fixed + "\n\n" + self.body(rest - before)
        words = self.body(rest, " ").split()
        at = self.rng.randint(len(words) // 4, len(words) * 3 // 4)
        return " ".join([*words[:at], fixed, *words[at:]])


def coverage(pools: int) -> None:
    """Print the share of a pool that shares, by position, template length and prompt length."""
    texts = Texts(seed=20261121)
    for position in POSITIONS:
        print(f"\nshare of a pool that carries its commonest fingerprint: {position}")
        print("words  " + "".join(f"{chars:>8}" for chars in PROMPT_CHARS) + "  chars")
        for words in TEMPLATE_WORDS:
            cells = [cell(texts, position=position, words=words, chars=chars, pools=pools) for chars in PROMPT_CHARS]
            print(f"{words:>5}  " + "".join(f"{share:8.3f}" for share in cells))


def cell(texts: Texts, *, position: str, words: int, chars: int, pools: int) -> float:
    """Mean share over the pools of one cell."""
    prompts: list[str] = []
    systems: list[str | None] = []
    for _ in range(pools):
        fixed = texts.fixed(words)
        joiner = texts.rng.choice(JOINERS)
        for _ in range(POOL_PROMPTS):
            if position == "system":
                prompts.append(texts.body(chars))
                systems.append(fixed)
            else:
                prompts.append(texts.prompt(fixed, position=position, chars=chars, joiner=joiner))
                systems.append(None)
    columns = columns_of(prompts, systems)
    starts = range(0, len(prompts), POOL_PROMPTS)
    return sum(commonest_share(columns, range(at, at + POOL_PROMPTS)) for at in starts) / pools


def published_pools() -> None:
    """Print the share for requests and benchmarks as published, a source a pool."""
    print("\nshare by published source (harvest requests first; benchmarks share too, and may)")
    for name in ("harvest_requests", "benchmark_prompts", "harvest_prompts"):
        pools = defaultdict(list)
        for row in rows_of(name):
            pools[row["source"]].append(row)
        for source, rows in sorted(pools.items()):
            columns = columns_of([row["prompt"] for row in rows], [row.get("system") for row in rows])
            print(f"  {source:<26}{len(rows):>6} prompts {commonest_share(columns, range(len(rows))):8.3f}")


def filled_templates() -> None:
    """Print the share for published harvest templates, every slot filled with held-back human text."""
    texts = Texts(seed=11)
    print(f"\nshare by published template, slots filled, {POOL_PROMPTS} prompts each")
    for row in rows_of("harvest_templates"):
        prompts = [
            SLOT.sub(lambda _: texts.body(texts.rng.randint(10, 600)), row["prompt"]) for _ in range(POOL_PROMPTS)
        ]
        share = commonest_share(columns_of(prompts), range(POOL_PROMPTS))
        slots = len(SLOT.findall(row["prompt"]))
        print(f"  {row['id'].split('/')[-1]:<26}{slots:>3} slots {len(row['prompt']):>6} characters {share:8.3f}")


def strangers() -> None:
    """Print the share of pairs of human prompts that share any fingerprint; equal texts are no pair."""
    everyone = [row for row in rows_of("human_prompts") if held_back(row)]
    groups = [("all", everyone), ("all but awesome_prompts", [r for r in everyone if r["source"] != "awesome_prompts"])]
    groups += [(s, [r for r in everyone if r["source"] == s]) for s in sorted({r["source"] for r in everyone})]
    print("\npairs of unrelated human prompts that share any fingerprint (bar 0.1 %)")
    for name, rows in groups:
        unique = list({row["prompt"]: None for row in rows})
        columns = columns_of(unique)
        holders = defaultdict(list)
        for row in range(len(unique)):
            for item in carried(columns, row):
                holders[item].append(row)
        pairs = {pair for held in holders.values() for pair in itertools.combinations(held, 2)}
        total = len(unique) * (len(unique) - 1) // 2
        share = 100 * len(pairs) / total
        print(f"  {name:<26}{len(unique):>6} prompts {len(pairs):>7} of {total:>9} pairs {share:9.4f} %")


def elicitation() -> None:
    """Print the share of prompts that score at least one half, by kind and source."""
    print("\nshare of prompts with an elicitation score of at least 0.5, %")
    print(" " * 26 + "".join(f"{kind[:10]:>11}" for kind in ELICITATION_KINDS))
    for name in ("human_prompts", "benchmark_prompts", "harvest_prompts", "harvest_requests", "harvest_templates"):
        pools = defaultdict(list)
        for row in rows_of(name):
            pools[row["source"]].append(row["prompt"])
        for source, prompts in sorted(pools.items()):
            absent = pa.nulls(len(prompts), pa.string())
            scores = fingerprint(Content(absent, pa.array(prompts), absent), key=KEY)["elicitation"].to_pylist()
            shares = [100 * sum(s[kind] >= 0.5 for s in scores) / len(scores) for kind in ELICITATION_KINDS]
            print(f"  {source:<24}" + "".join(f"{share:11.1f}" for share in shares))


def speed() -> None:
    """Print microseconds per prompt of 1.4 KB on one core, ASCII and not."""
    texts = Texts(seed=7)
    plain = [text for text in texts.bodies if text.isascii()]
    print(f"\nspeed, one core, {SPEED_CHARS} characters a prompt")
    for name, mark in (("ASCII", ""), ("not ASCII", "é")):
        made = []
        for _ in range(500):
            text = ""
            while len(text) < SPEED_CHARS:
                text += texts.rng.choice(plain) + "\n\n"
            made.append(mark + text[: SPEED_CHARS - len(mark)])
        rows = SPEED_ROWS if not mark else SPEED_ROWS // 10
        prompts = pa.array([made[i % len(made)] for i in range(rows)], pa.string())
        absent = pa.nulls(rows, pa.string())
        fingerprint(Content(absent.slice(0, 10), prompts.slice(0, 10), absent.slice(0, 10)), key=KEY)
        took = []
        for _ in range(3):
            began = time.perf_counter()
            fingerprint(Content(absent, prompts, absent), key=KEY)
            took.append(time.perf_counter() - began)
        print(f"  {name:<12}{1e6 * min(took) / rows:8.1f} us")


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description="Measure fingerprints on prompts held back.")
    parser.add_argument("--full", action="store_true", help=f"{POOLS[1]} pools per cell, not {POOLS[0]}")
    parser.add_argument("--pools", type=int, default=0, help="pools per cell")
    options = parser.parse_args()
    pools = options.pools or POOLS[options.full]
    print(f"bench_fingerprint: {pools} pools per cell")
    speed()
    published_pools()
    filled_templates()
    strangers()
    elicitation()
    coverage(pools)


if __name__ == "__main__":
    main()
