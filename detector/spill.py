"""Rows put away: the interface of a store, and rows of many frames as one.

Purpose: let a buffer hold more rows than memory should, without the engine knowing a disk.
Invariants: where rows stand changes no outcome: what is put away comes back with equal
ids, numbers, positions, event ids and names, or the store raises.
Limits: a gathered frame holds the names that its rows need and no others.
Source: external memory as in any engine that spills; the caller decides what leaves.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from detector.frames import Frame, empty_frame

U64 = npt.NDArray[np.uint64]
Part = tuple[Frame, int, int]  # a frame and the range of its rows that is meant


class Store(Protocol):
    """Keeps bytes outside memory until they are dropped."""

    def put(self, blocks: list[bytes]) -> list[int]:
        """Keep blocks; returns a handle for each, never used before."""

    def get(self, handle: int) -> bytes:
        """Give a block back; it stays kept."""

    def drop(self, handles: list[int]) -> None:
        """Forget blocks."""


def gather(parts: list[Part], *, tenant: str, source: str) -> Frame:
    """Join rows of frames into one frame of its own memory, with the names that they need."""
    ids = np.concatenate([f.ids[a:b] for f, a, b in parts])
    digests, names = names_for(ids, [f for f, _, _ in parts])
    return empty_frame(tenant, source, first=0, stop=0)._replace(
        ids=ids,
        numbers=np.concatenate([f.numbers[a:b] for f, a, b in parts]),
        positions=np.concatenate([f.positions[a:b] for f, a, b in parts]),
        event_ids=pa.concat_arrays([f.event_ids[a:b] for f, a, b in parts]),
        name_digests=digests,
        names=names,
    )


def gathered_by_source(parts: list[Part]) -> Iterator[tuple[str, Frame]]:
    """Gather each source's parts, which are not empty, in the order in which they stand."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part[0].source, []).append(part)
    for source, held in found.items():
        yield source, gather(held, tenant=held[0][0].tenant, source=source)


def own(part: Part) -> Part:
    """The same rows in memory of their own."""
    frame, start, stop = part
    return gather([part], tenant=frame.tenant, source=frame.source), 0, stop - start


def names_for(ids: U64, frames: list[Frame]) -> tuple[U64, pa.StringArray]:
    """Find the names of the digests in `ids` in the frames' dictionaries; digests strictly increasing."""
    wanted = np.sort(ids, axis=None)  # numpy's own `unique` hashes, at ten times the cost for millions
    wanted = wanted[np.flatnonzero(np.diff(wanted, prepend=np.uint64(0)))]
    found, names = [np.zeros(0, np.uint64)], [pa.array([], pa.string())]
    for frame in {id(f): f for f in frames}.values():
        if frame.name_digests.size:
            at = np.minimum(np.searchsorted(frame.name_digests, wanted), frame.name_digests.size - 1)
            hits = frame.name_digests[at] == wanted
            found.append(wanted[hits])
            names.append(frame.names.take(pa.array(at[hits])))
            wanted = wanted[~hits]
    digests = np.concatenate(found)
    order = np.argsort(digests, kind="stable")
    return digests[order], pa.concat_arrays(names).take(pa.array(order))
