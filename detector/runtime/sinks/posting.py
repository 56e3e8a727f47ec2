"""Post to a receiver over HTTP, and read from its answer what is to be done next.

Purpose: one reading of status codes for all receivers: taken, later, or refused for good.
Invariants: redirects are not followed, because a receiver that moved is a setting to change; no
answer's text is kept. What a wrong key or a wrong URL causes is tried again, not given up: it
concerns every alert and ends when somebody mends it.
Limits: `Retry-After` counts up to `RETRY_AFTER_S_MAX`.
Source: RFC 9110 for codes and `Retry-After`, RFC 6585 for 429; PagerDuty's "Response Codes & Retry Logic".
"""

import email.utils
import time
from typing import Final, Literal, NamedTuple

import aiohttp

ANSWER_BYTES_MAX: Final = 1 << 20
RETRY_AFTER_S_MAX: Final = 3_600.0
# These say that this body will never do; any other refusal concerns the receiver's settings or ours.
REFUSED: Final = frozenset({400, 409, 410, 411, 413, 414, 415, 422, 431})


class Outcome(NamedTuple):
    """What became of an alert at a sink; `why` holds no secret and nothing that an alert brought.

    `wait_s`, of later, is how long the receiver asked us to wait; 0 where it did not say.
    """

    kind: Literal["taken", "later", "refused"]
    why: str = ""
    wait_s: float = 0.0


TAKEN: Final = Outcome("taken")


class Answer(NamedTuple):
    """A receiver's answer: what it means, and its body, cut at `ANSWER_BYTES_MAX`."""

    outcome: Outcome
    body: bytes = b""


def retry_after_s(text: str | None, *, now_s: float) -> float:
    """Read a `Retry-After`: seconds or a date; 0 for what is neither.

    >>> retry_after_s("7", now_s=0.0), retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", now_s=0.0)
    (7.0, 60.0)
    """
    said = (text or "").strip()
    if said.isascii() and said.isdigit():
        wait_s = float(said[:9])
    else:
        try:
            wait_s = email.utils.parsedate_to_datetime(said).timestamp() - now_s
        except (ValueError, TypeError, OverflowError):
            wait_s = 0.0
    return min(max(wait_s, 0.0), RETRY_AFTER_S_MAX)


def outcome_of(status: int, *, wait_s: float = 0.0) -> Outcome:
    """What a status code means.

    >>> outcome_of(202).kind, outcome_of(400).kind, outcome_of(429, wait_s=3.0), outcome_of(401).kind
    ('taken', 'refused', Outcome(kind='later', why='HTTP 429', wait_s=3.0), 'later')
    """
    if 200 <= status < 300:
        return TAKEN
    if status in REFUSED:
        return Outcome("refused", f"HTTP {status}")
    return Outcome("later", f"HTTP {status}", wait_s)


async def post(
    session: aiohttp.ClientSession, url: str, *, body: bytes, headers: dict[str, str], timeout_ms: int
) -> Answer:
    """Post once; what goes wrong is an answer too."""
    limit = aiohttp.ClientTimeout(total=timeout_ms / 1000)
    try:
        async with session.post(url, data=body, headers=headers, timeout=limit, allow_redirects=False) as answer:
            wait_s = retry_after_s(answer.headers.get("Retry-After"), now_s=time.time())
            return Answer(outcome_of(answer.status, wait_s=wait_s), await answer.content.read(ANSWER_BYTES_MAX))
    except (TimeoutError, aiohttp.ClientError, OSError) as wrong:
        return Answer(Outcome("later", type(wrong).__name__))
