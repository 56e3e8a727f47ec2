"""Generations as files, without Kafka: a child writes them, damage is found, what nobody needs goes."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from detector.judge import Judge
from detector.runtime.kafka.generations import (
    GENERATIONS_MAX,
    Generation,
    Past,
    chunk_count,
    chunks_of,
    forget_files,
    is_sound,
)
from detector.runtime.spill_files import SpillFiles
from detector.snapshot import SnapshotError, restore_chain, snapshot
from tests.laws.streams import KEY, TIGHT, Range, Stream, crowd, feed, judge_for


def folded(judge: Judge, stream: Stream, first: int, stop: int) -> Judge:
    list(feed(judge, stream, [Range("s-0", first, stop)]))
    return judge


async def written(past: Past, judge: Judge, folder: Path, number: int) -> Path:
    whole = past.whole_due()
    path = folder / f"0.{number}.snapshot"
    made = await past.write(judge, path, whole=whole)
    kept = Generation(number=number, first_offset=0, chunks=chunk_count(made.size), size=made.size, digest=made.digest)
    past.keep(kept, whole=whole)
    return path


def test_a_child_writes_what_changed_and_its_parent_goes_on_from_there(tmp_path: Path) -> None:
    stream = crowd(sources=1)
    judge = judge_for(stream, settings=TIGHT)
    past = Past(judge, key=KEY)
    paths: dict[int, Path] = {}
    for number in range(1, 9):
        folded(judge, stream, 500 * (number - 1), 500 * number)
        paths[number] = asyncio.run(written(past, judge, tmp_path, number))
        chain = [list(chunks_of(paths[g.number])) for g in past.chain]
        again = restore_chain(chain, settings=TIGHT, key=KEY)
        assert snapshot(again, key=KEY) == snapshot(judge, key=KEY)
        # Whoever restored it would see the same changes next.
        heir = Past(again, past.chain, key=KEY)
        assert all(np.array_equal(heir.seen[name], past.seen[name]) for name in past.seen)
    assert 1 < len(past.chain) < GENERATIONS_MAX
    assert all(is_sound(paths[g.number], g) for g in past.chain)


def test_a_file_that_is_another_or_damaged_does_not_count(tmp_path: Path) -> None:
    judge = folded(judge_for(crowd(sources=1), settings=TIGHT), crowd(sources=1), 0, 500)
    past = Past(judge, key=KEY)
    path = asyncio.run(written(past, judge, tmp_path, 1))
    (made,) = past.chain
    raw = path.read_bytes()
    assert is_sound(path, made)
    for wrong in (b"", raw[:-1], raw + b"x", b"x" + raw[1:], raw[:-1] + bytes([raw[-1] ^ 1])):
        path.write_bytes(wrong)
        assert not is_sound(path, made)
    assert not is_sound(tmp_path / "nowhere", made)


def test_a_child_that_cannot_write_says_so_and_what_was_seen_stays(tmp_path: Path) -> None:
    judge = judge_for(crowd(sources=1), settings=TIGHT)
    past = Past(judge, key=KEY)
    (tmp_path / "taken").mkdir()
    with pytest.raises(SnapshotError, match="is the disk full"):
        asyncio.run(past.write(judge, tmp_path / "taken", whole=True))
    assert past.whole_due()


def test_files_that_no_chain_needs_go_and_others_stay(tmp_path: Path) -> None:
    names = ("0.1.snapshot", "0.2.snapshot", "0.3.77.part", "1.1.snapshot", "10.1.snapshot", "0.notes")
    for name in names:
        (tmp_path / name).touch()
    forget_files(tmp_path, 0, but={tmp_path / "0.2.snapshot"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["0.2.snapshot", "0.notes", "1.1.snapshot", "10.1.snapshot"]


def test_rows_on_disk_come_back_have_no_name_and_go_with_their_last_block(tmp_path: Path) -> None:
    store = SpillFiles(tmp_path / "state")
    blocks = [bytes([n]) * 10_000 * n for n in range(5)]
    first, second = store.put(blocks[:3]), store.put(blocks[3:])
    assert len({*first, *second}) == 5
    assert [store.get(handle) for handle in (*second, *first)] == [*blocks[3:], *blocks[:3]]
    assert not list((tmp_path / "state").iterdir())
    store.drop(first[:2])
    assert store.get(first[2]) == blocks[2]
    assert len(store.blocks) == 2
    store.drop(first[2:])
    assert len(store.blocks) == 1
    store.close()
    assert not store.blocks
