"""What one organisation was answered and another goes on with, or shows."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from detector.frames import ID, IDS, NUM, NUMBERS, Flag
from detector.passing import GIVERS_MIN, KNOWN_SEATS_MIN, PAUSE_MS_MAX, RUNS_MIN, SEAT_IDLE_MS, Passed

START_MS = 1_700_000_000_000
Row = Mapping[Any, int]


def rows(*given: Row) -> np.ndarray:
    ids = np.zeros((len(given), IDS), np.uint64)
    for row, columns in zip(ids, given, strict=True):
        for column, value in columns.items():
            if not isinstance(column, str):
                row[column] = value
    return ids


def mark(passed: Passed, *given: Row) -> tuple[np.ndarray, np.ndarray]:
    """Rows a second apart, or as much later as `later_ms` says, after they were marked: ids and flags."""
    ids, numbers = rows(*given), np.full((len(given), NUMBERS), -1, np.int64)
    numbers[:, NUM.FLAGS] = 0
    for i, columns in enumerate(given):
        numbers[i, NUM.TIME] = START_MS + 1_000 * i + columns.get("later_ms", 0)
        numbers[i, NUM.TURN] = columns.get("turn", -1)
    passed.mark(ids, numbers)
    return ids, numbers[:, NUM.FLAGS]


def handed(flags: np.ndarray) -> list[bool]:
    return ((flags & int(Flag.HANDED)) != 0).tolist()


def turn(account: int, conversation: int, number: int, **more: int) -> Row:
    """A turn of a conversation by an account that is its own organisation, whose digest differs in its first bits."""
    return {
        ID.ACCOUNT: account, ID.ORG: account << 58 | 1, ID.CONVERSATION: conversation, "turn": number,
        **{ID[name]: value for name, value in more.items()},
    }  # fmt: skip


def dealt(*accounts: int, conversation: int = 9) -> list[Row]:
    """A conversation whose turns go through these accounts."""
    return [turn(account, conversation, number) for number, account in enumerate(accounts)]


def test_a_signature_presented_by_another_organisation_is_handed_over() -> None:
    passed = Passed(64)
    _, flags = mark(
        passed,
        {ID.ACCOUNT: 1, ID.ORG: 10, ID.SIGNATURE: 5},
        {ID.ACCOUNT: 2, ID.ORG: 10, ID.ECHO: 5},  # a colleague
        {ID.ACCOUNT: 3, ID.ORG: 30, ID.ECHO: 5},
        {ID.ACCOUNT: 3, ID.ORG: 30, ID.ECHO: 6},  # never issued, as far as is remembered
    )
    assert handed(flags) == [False, False, True, False]
    assert ((flags & int(Flag.CONTINUED)) != 0).tolist() == [False, True, True, True]


def test_an_account_without_organisation_is_its_own() -> None:
    _, flags = mark(
        Passed(64), {ID.ACCOUNT: 1, ID.SIGNATURE: 5}, {ID.ACCOUNT: 1, ID.ECHO: 5}, {ID.ACCOUNT: 2, ID.ECHO: 5}
    )
    assert handed(flags) == [False, False, True]


def test_the_next_turn_of_a_conversation_by_another_organisation_is_handed_over() -> None:
    assert handed(mark(Passed(64), *dealt(1, 1, 2, 2, 3))[1]) == [False, False, True, False, True]


def test_a_turn_that_does_not_follow_or_comes_late_is_not() -> None:
    late = {**turn(2, 9, 1), "later_ms": PAUSE_MS_MAX}
    assert handed(mark(Passed(64), turn(1, 9, 0), turn(2, 9, 2))[1]) == [False, False]
    assert handed(mark(Passed(64), turn(1, 9, 0), late)[1]) == [False, False]


def test_an_id_that_begins_again_elsewhere_names_no_conversation() -> None:
    rows_ = [turn(1, 7, 0), turn(1, 7, 1), turn(2, 7, 0), turn(2, 7, 1), turn(1, 7, 2)]
    assert not any(handed(mark(Passed(64), *rows_)[1]))


def test_another_network_is_told_from_the_same_and_from_none() -> None:
    _, flags = mark(
        Passed(64), turn(1, 9, 0, SUBNET=5), turn(2, 9, 1, SUBNET=6), turn(3, 9, 2, SUBNET=6), turn(4, 9, 3)
    )
    assert ((flags & int(Flag.AFAR)) != 0).tolist() == [False, True, False, False]


def test_seats_that_take_over_from_several_are_one_link_whatever_their_programs() -> None:
    passed = Passed(64)
    assert GIVERS_MIN == 2
    mark(passed, *dealt(1, 2, 3, 1, 3, 2, 1))
    ids, _ = mark(passed, *({ID.ACCOUNT: a, ID.PROGRAM: 70 + a} for a in (1, 2, 3, 4)))
    first, second, third, stranger = ids[:, ID.HANDOFF].tolist()
    assert first == second == third != 0
    assert stranger == 0
    assert first not in {71, 72, 73}


def test_of_a_known_pool_one_turn_taken_over_or_given_makes_a_seat_and_of_a_small_one_it_does_not() -> None:
    for size, known in ((KNOWN_SEATS_MIN, True), (KNOWN_SEATS_MIN - 2, False)):
        passed, pool = Passed(1_024), range(1, size + 1)
        mark(passed, *dealt(*pool, *reversed(pool), *pool, *reversed(pool)))
        mark(passed, *dealt(2, 31, conversation=10), *dealt(32, 3, conversation=11))
        ids, _ = mark(passed, *({ID.ACCOUNT: a} for a in (2, 31, 32, 33)))
        seat, taker, giver, stranger = ids[:, ID.HANDOFF].tolist()
        assert seat != 0
        assert (taker == seat) == known
        assert (giver == seat) == known
        assert stranger == 0


def test_two_pools_that_hand_over_to_each_other_become_one_and_others_stay_apart() -> None:
    passed = Passed(64)
    mark(passed, *dealt(1, 2, 3, 1, 3, 2, 1), *dealt(11, 12, 13, 11, 13, 12, 11, conversation=10))
    ids, _ = mark(passed, *({ID.ACCOUNT: a} for a in (1, 11)))
    assert ids[0, ID.HANDOFF] != ids[1, ID.HANDOFF]
    mark(passed, *dealt(1, 11, conversation=11))
    ids, _ = mark(passed, *({ID.ACCOUNT: a} for a in (1, 2, 11, 12)))
    assert len(set(ids[:, ID.HANDOFF].tolist())) == 1


def test_who_moves_takes_over_from_one_and_is_linked_to_nobody() -> None:
    passed = Passed(64)
    for conversation in range(20, 30):
        ids, flags = mark(passed, *dealt(1, 2, 2, conversation=conversation))
        assert any(handed(flags))
        assert not ids[:, ID.HANDOFF].any()


def test_a_seat_keeps_its_place_while_it_acts() -> None:
    passed = Passed(1)
    mark(passed, {ID.ACCOUNT: 1, ID.SIGNATURE: 5}, {ID.ACCOUNT: 2, ID.ECHO: 5})
    assert passed.seats[0, 0] == 2
    mark(passed, {ID.ACCOUNT: 1, ID.SIGNATURE: 5}, {ID.ACCOUNT: 3, ID.ECHO: 5})
    assert passed.seats[0, 0] == 2
    mark(passed, {ID.ACCOUNT: 1, ID.SIGNATURE: 5}, {ID.ACCOUNT: 3, ID.ECHO: 5, "later_ms": SEAT_IDLE_MS})
    assert passed.seats[0, 0] == 3


def test_the_newest_takes_the_place_of_what_was_there() -> None:
    passed = Passed(1)
    mark(passed, {ID.ACCOUNT: 1, ID.SIGNATURE: 5}, {ID.ACCOUNT: 1, ID.SIGNATURE: 6})
    assert handed(mark(passed, {ID.ACCOUNT: 2, ID.ECHO: 5}, {ID.ACCOUNT: 2, ID.ECHO: 6})[1]) == [False, True]


def test_outputs_come_back_where_two_runs_of_another_match_whatever_its_program() -> None:
    passed = Passed(64)
    answered = {ID.OUTPUT_RUN + k: 20 + k for k in range(4)}
    mark(passed, {ID.ACCOUNT: 1, ID.PROGRAM: 7, **answered})
    both = {ID.RUN + k: 20 + k for k in range(RUNS_MIN)}
    shown, _ = mark(
        passed,
        {ID.ACCOUNT: 2, ID.PROGRAM: 7, **both, ID.OUTPUT_RUN: 50},
        {ID.ACCOUNT: 2, ID.PROGRAM: 7, ID.RUN: 20, ID.OUTPUT_RUN: 51},  # one run is a quotation
        {ID.ACCOUNT: 2, ID.PROGRAM: 8, **both, ID.OUTPUT_RUN: 52},  # another program
        {ID.ACCOUNT: 1, ID.PROGRAM: 7, **both, ID.OUTPUT_RUN: 53},  # its own
    )
    assert (shown[:, ID.RETURN] != 0).tolist() == [True, False, True, False]
