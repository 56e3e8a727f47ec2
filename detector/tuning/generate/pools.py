"""Pools of requests: every distinct text is made and fingerprinted once, then gathered.

Purpose: hold the prompts of a world, grouped in pools, and hand them out so that no text is
repeated unless a population means it.
Invariants: a *variant* of a text is what exchanging words in its slot would make of it.
Variant 0 is the text itself. In columns, a variant keeps every fingerprint that several
groups of its pool share (the template's) and re-keys the rest, by a function of (fingerprint,
variant), so that prefixes shared inside one conversation stay shared inside its variant. In
raw text the slot is recombined with the variant as seed.
Limits: distinct texts are bounded by the pools' sizes; anchors and runs at most 8 each.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from detector.events import ELICITATION, ELICITATION_KINDS, LIST_ITEMS_MAX, SCHEMA
from detector.fingerprint import Content, fingerprint
from detector.tuning.generate.answers import RUNS, run_prints
from detector.tuning.generate.columns import I64, U64, Mask, hex_strings, mix64, padded, uint64_lists
from detector.tuning.generate.exchanging import Vocabulary, recombine

F32 = npt.NDArray[np.float32]

CHUNK = 16_384
_LISTS = ("anchor_fps", "run_fps")
_REKEYED = ("prompt_fp",)


class Item(NamedTuple):
    """One prompt: fixed text around a slot. `group` names the conversation (or the item itself)."""

    head: str
    slot: str
    tail: str
    group: int


class Pool(NamedTuple):
    """Rows [start, start + size) of the table; `width` consecutive rows are the turns of one conversation."""

    start: int
    size: int
    width: int


class Drawer:
    """Hands out a pool's rows in order, for ever: (row, variant). Holds its position, nothing else."""

    def __init__(self, pool: Pool) -> None:
        """Start at the pool's first row."""
        self.pool = pool
        self.position = 0

    def next(self, count: int) -> tuple[I64, I64]:
        """The next `count` rows (single texts) or first rows of conversations, each with its variant."""
        at = self.position + np.arange(count, dtype=np.int64)
        self.position += count
        groups = self.pool.size // self.pool.width
        return self.pool.start + (at % groups) * self.pool.width, at // groups


class TextTable(NamedTuple):
    """All prompts and system prompts of a world as columns. Arrays over texts unless said otherwise."""

    columns: dict[str, pa.Array]  # fingerprint columns that variants keep
    prompt_fp: pa.StringArray
    template_fp: pa.StringArray
    template_kept: Mask
    lists: dict[str, tuple[U64, I64, Mask]]  # matrix, counts, kept
    chars: I64
    system_fp: pa.StringArray  # over system prompts
    system_chars: I64
    system_elicitation: F32  # (system prompts, kinds)
    elicitation: F32
    items: list[Item]
    systems: list[str]


class Builder:
    """Collects items pool by pool, then fingerprints them all at once."""

    def __init__(self) -> None:
        """Start empty."""
        self.items: list[Item] = []
        self.pools: list[Pool] = []
        self.systems: list[str] = []
        self.taken: set[str] = set()  # texts that went out as found
        self._system_at: dict[str, int] = {}

    def pool(self, items: Iterable[Item], *, width: int = 1) -> Pool:
        """Add one pool; its items come conversation by conversation when `width` is over 1."""
        start = len(self.items)
        self.items.extend(items)
        size = (len(self.items) - start) // width * width
        del self.items[start + size :]
        if size == 0:
            raise ValueError("a pool of texts has no items")
        made = Pool(start, size, width)
        self.pools.append(made)
        return made

    def system(self, text: str) -> int:
        """Index of a system prompt; equal texts share one."""
        at = self._system_at.setdefault(text, len(self.systems))
        if at == len(self.systems):
            self.systems.append(text)
        return at

    def build(self, *, key: bytes, fingerprints: bool) -> TextTable:
        """Fingerprint everything (or only measure lengths, for a raw log)."""
        prompts = [item.head + item.slot + item.tail for item in self.items]
        chars = np.asarray([len(p) for p in prompts], np.int64)
        system_chars = np.asarray([len(s) for s in self.systems], np.int64)
        if not fingerprints:
            return _unread(self, chars=chars, system_chars=system_chars)
        held = _fingerprinted(prompts, systems=[None] * len(prompts), key=key)
        system = _fingerprinted([""] * len(self.systems), systems=self.systems, key=key)
        groups = np.asarray([item.group for item in self.items], np.uint64)
        lists = {name: _kept(held[name], groups=groups, pools=self.pools) for name in _LISTS}
        templates = pc.fill_null(held["template_fp"], "")
        skip = {
            *_LISTS,
            *_REKEYED,
            "template_fp",
            "system_prompt_fp",
            "elicitation",
            "output_run_fps",
            "visible_output_chars",
        }
        return TextTable(
            columns={name: held[name] for name in SCHEMA.names if name in held and name not in skip},
            prompt_fp=held["prompt_fp"],
            template_fp=held["template_fp"],
            template_kept=_shared_templates(templates, groups=groups, pools=self.pools),
            lists=lists,
            chars=chars,
            system_fp=system["system_prompt_fp"],
            system_chars=system_chars,
            system_elicitation=_scores(system.get("elicitation"), rows=len(self.systems)),
            elicitation=_scores(held.get("elicitation"), rows=len(prompts)),
            items=self.items,
            systems=self.systems,
        )


def _unread(builder: Builder, *, chars: I64, system_chars: I64) -> TextTable:
    nothing = pa.array([], pa.string())
    return TextTable(
        columns={},
        prompt_fp=nothing,
        template_fp=nothing,
        template_kept=np.zeros(0, bool),
        lists={},
        chars=chars,
        system_fp=nothing,
        system_chars=system_chars,
        system_elicitation=np.zeros((0, 0), np.float32),
        elicitation=np.zeros((0, 0), np.float32),
        items=builder.items,
        systems=builder.systems,
    )


def _fingerprinted(prompts: Sequence[str], *, systems: Sequence[str | None], key: bytes) -> dict[str, pa.Array]:
    """Run the product's own fingerprints over the texts, a slice at a time."""
    pieces: list[dict[str, pa.Array]] = []
    for at in range(0, max(len(prompts), 1), CHUNK):
        some = prompts[at : at + CHUNK]
        content = Content(
            system=pa.array(systems[at : at + CHUNK], pa.string()),
            prompt=pa.array(some, pa.string()),
            output=pa.nulls(len(some), pa.string()),
        )
        pieces.append(fingerprint(content, key=key))
    return {
        name: pa.chunked_array([piece[name] for piece in pieces]).combine_chunks()
        for name in pieces[0]
        if name in SCHEMA.names
    }


def _scores(column: pa.Array | None, *, rows: int) -> F32:
    """Elicitation scores as a matrix (rows, kinds); nothing scored is 0."""
    out = np.zeros((rows, len(ELICITATION_KINDS)), np.float32)
    if column is not None and rows:
        for at, kind in enumerate(ELICITATION_KINDS):
            out[:, at] = pc.fill_null(pc.struct_field(column, kind), 0.0).to_numpy(zero_copy_only=False)
    return out


def _pool_of(rows: int, *, pools: Sequence[Pool]) -> U64:
    out = np.zeros(rows, np.uint64)
    for number, pool in enumerate(pools):
        out[pool.start : pool.start + pool.size] = number + 1
    return out


def _shared(values: U64, *, groups: U64, pool: U64) -> Mask:
    """Whether each value occurs in more than one group of its pool."""
    if values.size == 0:
        return np.zeros(0, bool)
    name = mix64(values, seed=pool)
    order = np.argsort(name)
    names, owners = name[order], groups[order]
    first = np.flatnonzero(np.r_[True, names[1:] != names[:-1]])
    several = np.minimum.reduceat(owners, first) != np.maximum.reduceat(owners, first)
    out = np.empty(name.size, bool)
    out[order] = np.repeat(several, np.diff(np.r_[first, name.size]))
    return out


def _kept(column: pa.Array, *, groups: U64, pools: Sequence[Pool]) -> tuple[U64, I64, Mask]:
    matrix, counts = padded(column, width=LIST_ITEMS_MAX)
    held = np.arange(LIST_ITEMS_MAX)[None, :] < counts[:, None]
    rows = np.broadcast_to(np.arange(counts.size)[:, None], matrix.shape)[held]
    kept = np.zeros(matrix.shape, bool)
    kept[held] = _shared(matrix[held], groups=groups[rows], pool=_pool_of(counts.size, pools=pools)[rows])
    return matrix, counts, kept


def _shared_templates(templates: pa.StringArray, *, groups: U64, pools: Sequence[Pool]) -> Mask:
    codes = templates.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.uint64)
    shared = _shared(codes, groups=groups, pool=_pool_of(codes.size, pools=pools))
    # A text too short for a template has none in any variant either.
    return np.asarray(shared | pc.equal(templates, "").to_numpy(zero_copy_only=False), bool)


def gather(
    table: TextTable, *, rows: I64, variants: I64, system: I64, recycled: U64 | None = None
) -> dict[str, pa.Array]:
    """Fingerprint columns of events: text row, its variant and the system prompt's index (-1 none) of each.

    `recycled` names the answer that stands in the prompt as well (0 none): its runs compete with the prompt's.
    """
    taken = pa.array(rows)
    changed = variants > 0
    salt = variants.astype(np.uint64)
    out = {name: column.take(taken) for name, column in table.columns.items()}
    for name, (matrix, counts, kept) in table.lists.items():
        words = matrix[rows]
        rekey = changed[:, None] & ~kept[rows]
        words, count = np.where(rekey, mix64(words, seed=salt[:, None]), words), counts[rows]
        if name == "run_fps" and recycled is not None:
            words, count = _quoted(words, counts=count, recycled=recycled)
        out[name] = uint64_lists(words, counts=count)
    fresh = np.stack([mix64(rows.astype(np.uint64), seed=salt + np.uint64(k << 40)) for k in (1, 2)], axis=1)
    renamed = hex_strings(fresh, digits=32)
    out["prompt_fp"] = pc.if_else(pa.array(changed), renamed, table.prompt_fp.take(taken))
    reshaped = changed & ~table.template_kept[rows]
    retemplated = hex_strings(fresh[:, ::-1].copy(), digits=32)
    out["template_fp"] = pc.if_else(pa.array(reshaped), retemplated, table.template_fp.take(taken))
    stated = pa.array(system, mask=system < 0)
    out["system_prompt_fp"] = table.system_fp.take(stated)
    scores = table.elicitation[rows]
    told = system >= 0
    scores[told] = np.maximum(scores[told], table.system_elicitation[system[told]])
    out["elicitation"] = pa.StructArray.from_arrays(
        [pa.array(np.ascontiguousarray(scores[:, at])) for at in range(scores.shape[1])], fields=list(ELICITATION)
    )
    return out


def _quoted(words: U64, *, counts: I64, recycled: U64) -> tuple[U64, I64]:
    """The smallest runs of prompt and quoted answer together."""
    at = np.flatnonzero(recycled > 0)
    if at.size == 0:
        return words, counts
    own = np.where(np.arange(words.shape[1])[None, :] < counts[at, None], words[at], np.iinfo(np.uint64).max)
    both = np.sort(np.concatenate([own, run_prints(recycled[at])], axis=1), axis=1)
    words, counts = words.copy(), counts.copy()
    words[at] = both[:, : words.shape[1]]
    counts[at] = np.minimum(counts[at] + RUNS, words.shape[1])
    return words, counts


def prompts_of(table: TextTable, *, rows: I64, variants: I64, vocabulary: Vocabulary) -> Iterator[str]:
    """The raw prompt of each event."""
    for row, variant in zip(rows.tolist(), variants.tolist(), strict=True):
        item = table.items[row]
        # One seed for a whole conversation, so that its prefixes stay prefixes.
        seed = 0 if variant == 0 else (item.group << 20) + variant
        yield item.head + recombine(item.slot, seed=seed, vocabulary=vocabulary) + item.tail
