"""Which text each request of a session sends.

Purpose: choosers, which `says` composes: fresh texts, what many send, chats, prepared
conversations, the same items every time, rows of one's own.
Invariants: a chooser draws from the generator that it is given and from its own position,
so that equal calls in equal order give equal texts.
"""

from collections.abc import Sequence

import numpy as np

from detector.tuning.generate.columns import I64, Mask, ranks_within
from detector.tuning.generate.pools import Drawer
from detector.tuning.generate.sessions import Chooser, Session


def fresh(drawer: Drawer, *, popular: Drawer | None = None, popular_share: float = 0.0) -> Chooser:
    """Every request a text of its own, a share of them what many others send too."""

    def choose(rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        text, variant = drawer.next(session.rank.size)
        if popular is not None:
            _popularise(rng, text=text, variant=variant, where=rng.random(text.size) < popular_share, pool=popular)
        return text, variant

    return choose


def talk(first: Drawer, *, later: Drawer, popular: Drawer | None, popular_share: float) -> Chooser:
    """People: a first message, then what people say next."""

    def choose(rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        opening = session.rank == 0
        text, variant = np.empty_like(session.rank), np.empty_like(session.rank)
        text[opening], variant[opening] = first.next(int(opening.sum()))
        text[~opening], variant[~opening] = later.next(int((~opening).sum()))
        # Follow-ups such as "thanks, go on" repeat a little less often than openings.
        share = np.where(opening, popular_share, popular_share / 2)
        if popular is not None:
            _popularise(rng, text=text, variant=variant, where=rng.random(text.size) < share, pool=popular)
        return text, variant

    return choose


def _popularise(
    rng: np.random.Generator,
    *,
    text: I64,
    variant: I64,
    where: Mask,
    pool: Drawer,
) -> None:
    """Put well-known texts in place: the k-th is about 1/k as common as the first."""
    count = int(where.sum())
    size = pool.pool.size
    rank = np.exp(rng.random(count) * np.log(size + 1)).astype(np.int64) - 1
    text[where] = pool.pool.start + np.minimum(rank, size - 1)
    variant[where] = 0


def conversations(drawer: Drawer) -> Chooser:
    """Prepared conversations: each turn's prompt continues the one before; long sessions chain several."""

    def choose(_rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        width = drawer.pool.width
        blocks = -(-session.turns // width)
        row, variant = drawer.next(int(blocks.sum()))
        at = (np.cumsum(blocks) - blocks)[session.session] + session.rank // width
        return row[at] + session.rank % width, variant[at]

    return choose


def repeated(starts: I64, *, sizes: I64) -> Chooser:
    """The same items every time, in order: account a walks rows starts[a] ... of the table."""

    def choose(_rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        text = starts[session.account] + session.rank % sizes[session.account]
        return text, np.zeros_like(text)

    return choose


def mixed(main: Chooser, *, cover: Chooser, share: float) -> Chooser:
    """A share of requests from another chooser: an attacker's cover traffic."""

    def choose(rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        text, variant = main(rng, session)
        if share > 0:
            other, other_variant = cover(rng, session)
            hidden = rng.random(text.size) < share
            text, variant = np.where(hidden, other, text), np.where(hidden, other_variant, variant)
        return text, variant

    return choose


def alternating(drawers: Sequence[Drawer], *, own: I64) -> Chooser:
    """Each account goes to and fro between pools of its own: row a of `own` (accounts, k) names those of account a."""

    def choose(rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        used = own[session.account, rng.integers(0, own.shape[1], session.account.size)]
        text, variant = np.empty_like(used), np.empty_like(used)
        for number, drawer in enumerate(drawers):
            here = used == number
            text[here], variant[here] = drawer.next(int(here.sum()))
        return text, variant

    return choose


def walked(starts: I64, *, sizes: I64) -> Chooser:
    """Every account goes through rows of its own, in order and round again with another variant."""
    position = np.zeros_like(starts)

    def choose(_rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        order = np.argsort(session.account, kind="stable")
        sorted_accounts = session.account[order]
        at = np.empty_like(session.account)
        at[order] = position[sorted_accounts] + ranks_within(sorted_accounts)
        np.add.at(position, session.account, 1)
        size = sizes[session.account]
        return starts[session.account] + at % size, at // size

    return choose


def opening(first: Chooser, *, later: Chooser) -> Chooser:
    """One way of beginning a session, another of going on."""

    def choose(rng: np.random.Generator, session: Session) -> tuple[I64, I64]:
        text, variant = first(rng, session)
        other, other_variant = later(rng, session)
        begins = session.rank == 0
        return np.where(begins, text, other), np.where(begins, variant, other_variant)

    return choose
