"""Passing: what one organisation got and another shows.

Purpose: who shows that it goes on with what another organisation was answered is joined to it. A
reasoning signature issued to one and presented by another, or a conversation of which one
sent a turn and another the next, is a handoff: a relay that deals its users' turns out to seats.
Accounts that keep taking over from several organisations form pools by who hands over to whom
(`signature_handoff`), so relays whose users bring many programs are one pool all the same.
Text that was answered to one and comes back in another's prompts is a return: a pipeline that
judges what it generated elsewhere; it becomes a link of the client program that shows it.
Invariants: rows come in canonical order; what a pane shows is a function of what was issued
before. Nothing accuses by itself: honest edges (moves to a new key, retries) are part of the
base rate that the signatures are held against, and whoever takes over from one other
organisation, however often, is linked to nobody.
Limits: `tables.passed_max` tags of each kind, each in one place that the newest takes, and a
quarter as many seats, each in one place that its account keeps while it acts. A conversation
id that begins twice (counters, constants) names no conversation. Of outputs that come back two
runs must match. Whoever generates and whoever judges may use different programs.
Source: reported replay of signatures in other sessions and relaying of a campaign's own users;
outputs that reappear as inputs of other accounts found the cleaner in our trials; union-find,
Tarjan 1975.
"""

import numba
import numpy as np
import numpy.typing as npt

from detector.frames import ID, LIST_WIDTH, NUM, Flag
from detector.sketches.columns import kernel

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

RUNS_MIN = 2
# Who moves takes its own conversations along, from one organisation; a seat takes over from whoever was served.
GIVERS_MIN = 2
# A pool of so many seats (signatures ask for no fewer organisations) is known by them: whoever takes over from one of
# its seats or gives to one is a seat as well, for people do not step in between.
KNOWN_SEATS_MIN = 8
# Beyond it a conversation is taken up again, and who does so may be anybody (shared links, exports).
PAUSE_MS_MAX = 1_800_000
# A seat that has been silent for a campaign's life makes room.
SEAT_IDLE_MS = 7 * 86_400_000
SEATS_SHARE = 4
_STEPS_MAX = 64
_ACCOUNT, _ORG, _SIGNATURE, _ECHO, _PROGRAM = (int(c) for c in (ID.ACCOUNT, ID.ORG, ID.SIGNATURE, ID.ECHO, ID.PROGRAM))
_OUTPUT_RUN, _RUN, _HANDOFF, _RETURN = (int(c) for c in (ID.OUTPUT_RUN, ID.RUN, ID.HANDOFF, ID.RETURN))
_CONVERSATION, _SUBNET = int(ID.CONVERSATION), int(ID.SUBNET)
_TIME, _TURN, _FLAGS = int(NUM.TIME), int(NUM.TURN), int(NUM.FLAGS)
_CONTINUED, _HANDED, _AFAR = int(Flag.CONTINUED), int(Flag.HANDED), int(Flag.AFAR)
_WIDTH = LIST_WIDTH
# An account's or a program's own digest is the key of another kind of link: these set the keys apart.
_OF_HANDOFF, _OF_RETURN = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F)
# Columns of `signatures`, of `turns`, and of `seats`; the first is what a row stands for, 0 empty.
_KEY, _HELD_ORG, _HELD_ACCOUNT, _HELD_SUBNET, _HELD_TURN, _HELD_TIME = range(6)
_PARENT, _GIVERS, _SIZE, _LAST = range(1, 5)
_SPENT = 1 << 32  # the turn of a conversation id that began twice


class Passed:
    """What was issued, to whom (uint64 tables of `slots` rows), and the seats that take over from others."""

    def __init__(self, slots: int) -> None:
        """Reserve (not touch) memory; `slots` is a power of two."""
        self.signatures: U64 = np.zeros((slots, 4), np.uint64)
        self.outputs: U64 = np.zeros((slots, 2), np.uint64)
        self.turns: U64 = np.zeros((slots, 6), np.uint64)
        self.seats: U64 = np.zeros((max(slots // SEATS_SHARE, 1), 5), np.uint64)

    def mark(self, ids: U64, numbers: I64) -> None:
        """Fill HANDOFF, RETURN and two flags of a pane's canonical rows, and note what was issued."""
        _hand_off(ids, numbers, self.signatures, self.turns, self.seats)
        if ids[:, _OUTPUT_RUN].any():
            _come_back(ids, self.outputs)


@kernel
def _key(of, kind):  # type: ignore[no-untyped-def]
    key = of ^ kind
    return key if key != 0 else kind


@kernel
def _seat(seats, account, time):  # type: ignore[no-untyped-def]
    """The place of an account's seat, made if there is room; -1 where another that acts has it."""
    at = np.int64(account & np.uint64(seats.shape[0] - 1))
    if seats[at, _KEY] != account:
        if seats[at, _KEY] != 0 and np.int64(seats[at, _LAST]) + SEAT_IDLE_MS > time:
            return -1
        seats[at, _KEY] = account
        seats[at, _PARENT] = account
        seats[at, _GIVERS] = 0
        seats[at, _SIZE] = 1
    seats[at, _LAST] = np.uint64(time)
    return at


@kernel
def _root(seats, account):  # type: ignore[no-untyped-def]
    """The account that stands for a pool of seats."""
    for _ in range(_STEPS_MAX):
        at = np.int64(account & np.uint64(seats.shape[0] - 1))
        if seats[at, _KEY] != account or seats[at, _PARENT] == account:
            break
        account = seats[at, _PARENT]
    return account


@kernel
def _join(seats, one, two):  # type: ignore[no-untyped-def]
    """Make the pools of two accounts one, under the name of the larger."""
    a, b = _root(seats, one), _root(seats, two)
    mask = np.uint64(seats.shape[0] - 1)
    at, bt = np.int64(a & mask), np.int64(b & mask)
    if a == b or seats[at, _KEY] != a or seats[bt, _KEY] != b:
        return
    if seats[at, _SIZE] < seats[bt, _SIZE] or (seats[at, _SIZE] == seats[bt, _SIZE] and a > b):
        at, bt = bt, at
    seats[bt, _PARENT] = seats[at, _KEY]
    seats[at, _SIZE] += seats[bt, _SIZE]


@kernel
def _many(givers):  # type: ignore[no-untyped-def]
    """Say whether a set of organisations, a bit each, has `GIVERS_MIN`."""
    n = 0
    while givers != 0 and n < GIVERS_MIN:
        givers &= givers - np.uint64(1)
        n += 1
    return n >= GIVERS_MIN


@kernel
def _known(seats, account):  # type: ignore[no-untyped-def]
    """Say whether an account is one of a pool of so many seats that the pool is known."""
    root = _root(seats, account)
    at = np.int64(root & np.uint64(seats.shape[0] - 1))
    return seats[at, _KEY] == root and seats[at, _SIZE] >= KNOWN_SEATS_MIN


@kernel
def _take_over(seats, row, held):  # type: ignore[no-untyped-def]
    """Note that an account goes on with what was `held` for another organisation; returns the flags of the request."""
    account, time, subnet = row
    at = _seat(seats, account, time)
    if at >= 0:
        seats[at, _GIVERS] |= np.uint64(1) << (held[_HELD_ORG] >> np.uint64(58))
        known = _known(seats, account) or _known(seats, held[_HELD_ACCOUNT])
        if (known or _many(seats[at, _GIVERS])) and _seat(seats, held[_HELD_ACCOUNT], time) >= 0:
            _join(seats, account, held[_HELD_ACCOUNT])
    afar = subnet != 0 and held[_HELD_SUBNET] != 0 and subnet != held[_HELD_SUBNET]
    return _HANDED | (_AFAR if afar else 0)


@kernel
def _is_next(held, conversation, turn, time):  # type: ignore[no-untyped-def]
    """Say whether the turn before this one of a conversation is what is held."""
    known = held[_KEY] == conversation and turn > 0 and np.int64(held[_HELD_TURN]) + 1 == turn
    return known and time - np.int64(held[_HELD_TIME]) <= PAUSE_MS_MAX


@kernel
def _hold(held, key, org, account, subnet):  # type: ignore[no-untyped-def]
    held[_KEY] = key
    held[_HELD_ORG] = org
    held[_HELD_ACCOUNT] = account
    held[_HELD_SUBNET] = subnet


@kernel
def _note_turn(held, conversation, org, turn):  # type: ignore[no-untyped-def]
    """Say whether a turn is to be held; an id that begins again elsewhere is spent."""
    if held[_KEY] != conversation:
        return True
    if turn == 0 and held[_HELD_ORG] != org:
        held[_HELD_TURN] = _SPENT
    return held[_HELD_TURN] != _SPENT


@numba.njit(cache=True)
def _hand_off(ids, numbers, issued, turns, seats):  # type: ignore[no-untyped-def]
    mask, seats_mask = np.uint64(issued.shape[0] - 1), np.uint64(seats.shape[0] - 1)
    for i in range(ids.shape[0]):
        account, subnet, time = ids[i, _ACCOUNT], ids[i, _SUBNET], numbers[i, _TIME]
        org = ids[i, _ORG] if ids[i, _ORG] != 0 else account
        echo, conversation, turn = ids[i, _ECHO], ids[i, _CONVERSATION], numbers[i, _TURN]
        flags = _CONTINUED if echo != 0 else 0
        held = issued[np.int64(echo & mask)]
        if echo != 0 and held[_KEY] == echo and held[_HELD_ORG] != org:
            flags |= _take_over(seats, (account, time, subnet), held)
        if conversation != 0 and turn >= 0:
            held = turns[np.int64(conversation & mask)]
            if _is_next(held, conversation, turn, time):
                flags |= _CONTINUED
                if held[_HELD_ORG] != org:
                    flags |= _take_over(seats, (account, time, subnet), held)
            if _note_turn(held, conversation, org, turn):
                _hold(held, conversation, org, account, subnet)
                held[_HELD_TURN] = turn
                held[_HELD_TIME] = time
        numbers[i, _FLAGS] |= flags
        seat = seats[np.int64(account & seats_mask)]
        if seat[_KEY] == account:
            seat[_LAST] = np.uint64(time)
            if _many(seat[_GIVERS]) or _known(seats, account):
                ids[i, _HANDOFF] = _key(_root(seats, account), _OF_HANDOFF)
        if ids[i, _SIGNATURE] != 0:
            _hold(issued[np.int64(ids[i, _SIGNATURE] & mask)], ids[i, _SIGNATURE], org, account, subnet)


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
