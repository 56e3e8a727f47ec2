"""Answers that come back: names of outputs, and boards on which populations leave and find them.

Purpose: an output is never written out. It has a name, 64 bits drawn at random, from which
its run fingerprints and its reasoning signature follow; a request that holds an earlier
output, or presents its signature, carries the name.
Invariants: bit 0 of a name says whether a model with reasoning answered, bits 1 to 3 how
long the answer is; 0 is "no answer". An answer is found on a board in a later hour only,
so nothing is quoted before it was given.
Limits: a board remembers `BOARD_SIZE` answers; raw logs hold no outputs.
"""

import numpy as np

from detector.tuning.generate.columns import I64, U64, Mask, mix64

BOARD_SIZE = 4_096
RUNS = 8
RUN_WORDS = 8
_LENGTHS = 7  # the longest class: 8 << 7 words
_RANK_BEST, _RANK_LAST = 8, 15
_BEST_SHARE = 0.025


def name_answers(rng: np.random.Generator, *, tokens: I64, thinks: Mask) -> U64:
    """Name the answers of some requests by their visible tokens and whether the model reasons."""
    words = np.maximum(tokens * 3 // 4, 1)
    level = np.clip(np.log2(words / RUN_WORDS), 0, _LENGTHS).astype(np.uint64)
    drawn = rng.integers(1, 1 << 60, tokens.size, dtype=np.uint64) << np.uint64(4)
    return np.asarray(drawn | level << np.uint64(1) | thinks.astype(np.uint64), np.uint64)


def thought(names: U64) -> Mask:
    """Whether a model with reasoning gave each answer; false for none."""
    return np.asarray((names & np.uint64(1)) > 0, bool)


def run_prints(names: U64) -> U64:
    """The run fingerprints of answers, (rows, 8), in ascending order; a function of the names alone.

    Like the real ones they rank in their top four bits: about one run in forty ranks best.
    """
    words = RUN_WORDS * np.exp2((names >> np.uint64(1) & np.uint64(_LENGTHS)).astype(np.float64))
    rank = _RANK_BEST + np.minimum(np.arange(RUNS) / (_BEST_SHARE * words[:, None]), _RANK_LAST - _RANK_BEST)
    low = np.stack([mix64(names, seed=np.full(1, 1_000 + k, np.uint64)) for k in range(RUNS)], axis=1)
    return np.sort(rank.astype(np.uint64) << np.uint64(60) | low >> np.uint64(4), axis=1)


class Board:
    """The last answers of some populations. Holds names, nothing else."""

    def __init__(self) -> None:
        """Start empty."""
        self._held: U64 = np.zeros(0, np.uint64)
        self._waiting: list[U64] = []
        self._hour = -1

    def _turn(self, hour: int) -> None:
        if hour != self._hour and self._waiting:
            self._held = np.concatenate([self._held, *self._waiting])[-BOARD_SIZE:]
            self._waiting = []
        self._hour = hour

    def put(self, names: U64, *, hour: int) -> None:
        """Leave answers, which can be found from the next hour on."""
        self._turn(hour)
        self._waiting.append(names[names > 0][-BOARD_SIZE:])

    def take(self, rng: np.random.Generator, *, count: int, hour: int, thinking: bool = False) -> U64:
        """Draw earlier answers, of models with reasoning only if `thinking`; 0 where there is none."""
        self._turn(hour)
        held = self._held[thought(self._held)] if thinking else self._held
        return held[rng.integers(0, held.size, count)] if held.size else np.zeros(count, np.uint64)
