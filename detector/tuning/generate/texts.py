"""Real prompts, divided so that nothing is used twice.

Purpose: read published prompts (`*.jsonl`, `*.jsonl.gz`: objects with `id`, `kind`, `prompt`,
and optionally `later_prompts`), give each part (tuning, validation, test) and each side
(benign, attack) rows of its own, and make new texts where the rows run out.
Invariants: a row belongs to one part and one side for ever: both follow from a hash of its
id alone.
Limits: rows without `prompt` text are skipped; texts are cut at 12,000 characters.
"""

import gzip
import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from detector.tuning.generate.exchanging import Vocabulary, mix, recombine, vocabulary_of
from detector.tuning.generate.parts import PARTS

EVERYTHING = "all"  # every part together: for demonstrations, never for measuring
PART_SHARES = (0.5, 0.25, 0.25)
# Share of a kind's rows that belongs to attackers: the rest is what innocent people send.
ATTACK_SHARES = {"human": 0.25, "harvest": 0.5, "benchmark": 0.25}
CHARS_MAX = 12_000
DOCUMENT_CHARS_MIN = 400
VOCABULARY_MAX = 20_000
PACKAGED = Path(__file__).parent.parent / "demo"

_WORD = re.compile(r"\w+")
_SLOT = re.compile(r"\$?\{[a-zA-Z_ ]+\}|<question>")


class Side(NamedTuple):
    """The texts of one part and one side. Lists are in a fixed order."""

    people: list[str]  # first messages by people
    later: list[str]  # what people say next
    published: list[str]  # harvested, self-instruct and evaluation prompts as found
    benchmark: list[list[str]]  # one list per evaluation set
    judge: list[str]  # whole judge requests
    documents: list[str]  # long passages
    personas: list[str]  # role prompts, pasted by many
    templates: list[tuple[str, str]]  # published harvest templates: text before and after the slot
    vocabulary: Vocabulary


class Corpus(NamedTuple):
    """Both sides of one part."""

    benign: Side
    attack: Side


def fraction(text: str, *, salt: str) -> float:
    """Hash a string to [0, 1), the same for ever.

    >>> 0 <= fraction("dolly:1", salt="part") < 1
    True
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8, person=salt.encode()[:16]).digest()
    return int.from_bytes(digest, "big") / 2**64


def part_of(row_id: str) -> str:
    """Which part a row (or template) belongs to, by its id without the marks of repeats."""
    at = fraction(row_id.split("#", maxsplit=1)[0], salt="part")
    return PARTS[0] if at < PART_SHARES[0] else PARTS[1] if at < PART_SHARES[0] + PART_SHARES[1] else PARTS[2]


def side_of(row_id: str, *, kind: str) -> str:
    """Whether innocent people or attackers may use a row."""
    return "attack" if fraction(row_id.split("#", maxsplit=1)[0], salt="side") < ATTACK_SHARES[kind] else "benign"


def read_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of every prompt file below `folder`, files in order of name.

    Raises `FileNotFoundError` when there is none.
    """
    files = sorted(p for p in folder.glob("*.jsonl*") if p.suffix in {".jsonl", ".gz"})
    if not files:
        raise FileNotFoundError(
            f"{folder} holds no prompt files (*.jsonl, *.jsonl.gz); name another folder with --texts"
        )
    for path in files:
        held = path.read_bytes()
        for line in (gzip.decompress(held) if path.suffix == ".gz" else held).splitlines():
            row = orjson.loads(line)
            if row.get("prompt") and row.get("kind") in ATTACK_SHARES:
                yield row


def _side(rows: Sequence[dict[str, Any]]) -> Side:
    people: list[str] = []
    later: list[str] = []
    published: list[str] = []
    judge: list[str] = []
    documents: list[str] = []
    personas: list[str] = []
    benchmark: dict[str, list[str]] = {}
    templates: list[tuple[str, str]] = []
    for row in rows:
        text, source, kind = str(row["prompt"])[:CHARS_MAX], str(row.get("source", "")), row["kind"]
        later += [str(t)[:CHARS_MAX] for t in row.get("later_prompts") or () if str(t).strip()]
        if kind == "human":
            (personas if source.startswith("awesome") else people).append(text)
        elif source == "harvest_templates":
            slots = _SLOT.findall(text)
            if 1 <= len(slots) <= 3:
                parts = _SLOT.split(text)
                templates.append((parts[0], " ".join(parts[1:])))
        elif source == "llm_judge":
            judge.append(text)
        elif source.startswith("wire_"):
            continue  # a whole pipeline's request around other sources' rows: sides would share text
        else:
            published.append(text)
            if kind == "benchmark":
                benchmark.setdefault(source, []).append(text)
        if len(text) >= DOCUMENT_CHARS_MIN and kind != "harvest":
            documents.append(text)
    words = sorted({w for t in people + documents for w in _WORD.findall(t.lower()) if len(w) > 3 and w.isalpha()})
    step = max(1, len(words) // VOCABULARY_MAX)
    return Side(
        people=people,
        later=later or people,
        published=published or people,
        benchmark=[benchmark[name] for name in sorted(benchmark)] or [people],
        judge=judge or published or people,
        documents=documents or people,
        personas=personas or people,
        templates=templates,
        vocabulary=vocabulary_of(words[::step]),
    )


def load(folder: Path | None, *, part: str) -> Corpus:
    """Read the corpus of one part; `None` takes the small sample that ships with the program.

    Raises `ValueError` for an unknown part or a side that has too few texts by people.
    """
    if part not in {*PARTS, EVERYTHING}:
        raise ValueError(f"part {part!r} is none of {', '.join((*PARTS, EVERYTHING))}")
    source = folder if folder is not None else PACKAGED
    rows = [row for row in read_rows(source) if part in {EVERYTHING, part_of(str(row["id"]))}]
    sides = {
        name: [r for r in rows if side_of(str(r["id"]), kind=str(r["kind"])) == name] for name in ("benign", "attack")
    }
    corpus = Corpus(benign=_side(sides["benign"]), attack=_side(sides["attack"]))
    for name, side in zip(sides, corpus, strict=True):
        if len(side.people) < 8 or len(side.vocabulary.words) < 50:
            raise ValueError(
                f"{source} has {len(side.people)} texts by people for {name} traffic in part {part!r}; "
                "at least 8 are needed"
            )
    return corpus


def endless(
    texts: Sequence[str], *, vocabulary: Vocabulary, order: Sequence[int], salt: int, taken: set[str]
) -> Iterator[str]:
    """Every text once in the given order, then recombined ones for ever.

    A text in `taken` is recombined at once, and what goes out as found is added: however many
    populations draw from the same rows, each row is sent as found by one of them only. `salt`
    tells their recombinations apart.
    """
    turn = 0
    while True:
        for at in order:
            text = texts[at]
            if turn or text in taken:
                # A seed of its own for each text, turn and population: no two exchange the same words.
                yield recombine(text, seed=mix(at, seed=turn ^ salt << 20) | 1 << 63, vocabulary=vocabulary)
            else:
                taken.add(text)
                yield text
        turn += 1


def cut(text: str, *, chars_max: int) -> str:
    """Cut at a word's end, so that cut texts stay plausible."""
    if len(text) <= chars_max:
        return text
    return text[:chars_max].rsplit(" ", 1)[0]
