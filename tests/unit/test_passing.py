"""What one organisation was issued and another shows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from detector.frames import ID, IDS
from detector.passing import RUNS_MIN, Passed


def rows(*given: Mapping[Any, int]) -> np.ndarray:
    ids = np.zeros((len(given), IDS), np.uint64)
    for row, columns in zip(ids, given, strict=True):
        for column, value in columns.items():
            row[column] = value
    return ids


def handoffs(ids: np.ndarray) -> list[bool]:
    return (ids[:, ID.HANDOFF] != 0).tolist()


def test_a_signature_presented_by_another_organisation_is_a_handoff() -> None:
    passed = Passed(64)
    issued = rows({ID.ACCOUNT: 1, ID.ORG: 10, ID.SIGNATURE: 5})
    passed.mark(issued)
    shown = rows(
        {ID.ACCOUNT: 2, ID.ORG: 10, ID.ECHO: 5},  # a colleague
        {ID.ACCOUNT: 3, ID.ORG: 30, ID.ECHO: 5},
        {ID.ACCOUNT: 3, ID.ORG: 30, ID.ECHO: 6},  # never issued, as far as is remembered
    )
    passed.mark(shown)
    assert handoffs(shown) == [False, True, False]


def test_an_account_without_organisation_is_its_own() -> None:
    passed = Passed(64)
    passed.mark(rows({ID.ACCOUNT: 1, ID.SIGNATURE: 5}))
    shown = rows({ID.ACCOUNT: 1, ID.ECHO: 5}, {ID.ACCOUNT: 2, ID.ECHO: 5})
    passed.mark(shown)
    assert handoffs(shown) == [False, True]


def test_handoffs_of_one_program_are_one_link_and_not_the_programs_own() -> None:
    passed = Passed(64)
    passed.mark(rows({ID.ACCOUNT: 1, ID.SIGNATURE: 5}))
    shown = rows(*({ID.ACCOUNT: a, ID.ECHO: 5, ID.PROGRAM: p} for a, p in ((2, 77), (3, 77), (4, 78))))
    passed.mark(shown)
    first, second, third = shown[:, ID.HANDOFF].tolist()
    assert first == second != third
    assert 77 not in {first, third}


def test_the_newest_takes_the_place_of_what_was_there() -> None:
    passed = Passed(1)
    passed.mark(rows({ID.ACCOUNT: 1, ID.SIGNATURE: 5}, {ID.ACCOUNT: 1, ID.SIGNATURE: 6}))
    shown = rows({ID.ACCOUNT: 2, ID.ECHO: 5}, {ID.ACCOUNT: 2, ID.ECHO: 6})
    passed.mark(shown)
    assert handoffs(shown) == [False, True]


def test_outputs_come_back_where_two_runs_of_another_match_whatever_its_program() -> None:
    passed = Passed(64)
    answered = {ID.OUTPUT_RUN + k: 20 + k for k in range(4)}
    passed.mark(rows({ID.ACCOUNT: 1, ID.PROGRAM: 7, **answered}))
    both = {ID.RUN + k: 20 + k for k in range(RUNS_MIN)}
    shown = rows(
        {ID.ACCOUNT: 2, ID.PROGRAM: 7, **both, ID.OUTPUT_RUN: 50},
        {ID.ACCOUNT: 2, ID.PROGRAM: 7, ID.RUN: 20, ID.OUTPUT_RUN: 51},  # one run is a quotation
        {ID.ACCOUNT: 2, ID.PROGRAM: 8, **both, ID.OUTPUT_RUN: 52},  # another program
        {ID.ACCOUNT: 1, ID.PROGRAM: 7, **both, ID.OUTPUT_RUN: 53},  # its own
    )
    passed.mark(shown)
    assert (shown[:, ID.RETURN] != 0).tolist() == [True, False, True, False]
