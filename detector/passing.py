"""Passing: what one organisation got and another shows.

Purpose: a reasoning signature issued to one organisation and presented by another, and text
that was answered to one and comes back in another's prompts, join the two: a relay that
spreads its users over seats, a pipeline that judges what it generated elsewhere. Both become
links of the client program that shows them, so that pools form without any shared text.
Invariants: rows come in canonical order; what a pane shows is a function of what was issued
before. Nothing accuses by itself: honest edges (moves to a new key, retries) are part of the
base rate that the signatures are held against.
Limits: `tables.passed_max` tags of each kind, each in one place that the newest takes.
Of outputs that come back two runs must match. Whoever generates and whoever judges may use
different programs; the link is the program that shows them.
Source: reported replay of signatures in other sessions; outputs that reappear as inputs of
other accounts found the cleaner in our trials.
"""

import numba
import numpy as np
import numpy.typing as npt

from detector.frames import ID, LIST_WIDTH
from detector.sketches.columns import kernel

U64 = npt.NDArray[np.uint64]

RUNS_MIN = 2
_ACCOUNT, _ORG, _SIGNATURE, _ECHO, _PROGRAM = (int(c) for c in (ID.ACCOUNT, ID.ORG, ID.SIGNATURE, ID.ECHO, ID.PROGRAM))
_OUTPUT_RUN, _RUN, _HANDOFF, _RETURN = (int(c) for c in (ID.OUTPUT_RUN, ID.RUN, ID.HANDOFF, ID.RETURN))
_WIDTH = LIST_WIDTH
# A program's own digest is the key of another kind of link: these set the keys apart.
_OF_HANDOFF, _OF_RETURN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)


class Passed:
    """Tags of what was issued, with the organisation that got it (uint64, 0 empty)."""

    def __init__(self, slots: int) -> None:
        """Reserve (not touch) memory; `slots` is a power of two."""
        self.signatures: U64 = np.zeros((slots, 2), np.uint64)
        self.outputs: U64 = np.zeros((slots, 2), np.uint64)

    def mark(self, ids: U64) -> None:
        """Fill the columns HANDOFF and RETURN of a pane's canonical rows, and note what was issued."""
        if ids[:, _SIGNATURE].any() or ids[:, _ECHO].any():
            _hand_off(ids, self.signatures)
        if ids[:, _OUTPUT_RUN].any():
            _come_back(ids, self.outputs)


@kernel
def _key(program, kind):  # type: ignore[no-untyped-def]
    key = program ^ kind
    return key if key != 0 else kind


@numba.njit(cache=True)
def _hand_off(ids, held):  # type: ignore[no-untyped-def]
    mask = np.uint64(held.shape[0] - 1)
    for i in range(ids.shape[0]):
        org = ids[i, _ORG] if ids[i, _ORG] != 0 else ids[i, _ACCOUNT]
        echo = ids[i, _ECHO]
        if echo != 0:
            at = echo & mask
            if held[at, 0] == echo and held[at, 1] != org:
                ids[i, _HANDOFF] = _key(ids[i, _PROGRAM], _OF_HANDOFF)
        issued = ids[i, _SIGNATURE]
        if issued != 0:
            at = issued & mask
            held[at, 0] = issued
            held[at, 1] = org


@numba.njit(cache=True)
def _come_back(ids, held):  # type: ignore[no-untyped-def]
    mask = np.uint64(held.shape[0] - 1)
    for i in range(ids.shape[0]):
        org = ids[i, _ORG] if ids[i, _ORG] != 0 else ids[i, _ACCOUNT]
        matches = 0
        for k in range(_WIDTH):
            run = ids[i, _RUN + k]
            at = run & mask
            if run != 0 and held[at, 0] == run and held[at, 1] != org:
                matches += 1
        if matches >= RUNS_MIN:
            ids[i, _RETURN] = _key(ids[i, _PROGRAM], _OF_RETURN)
        for k in range(_WIDTH):
            run = ids[i, _OUTPUT_RUN + k]
            if run != 0:
                at = run & mask
                held[at, 0] = run
                held[at, 1] = org
