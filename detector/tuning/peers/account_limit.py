"""A static limit of requests per account and UTC day.

Purpose: the floor that every API has.
Limits: what lies under the limit passes; the day's count starts anew at midnight.
Source: rate limits as every gateway documents them.
"""

from detector.tuning.peers.log import F64, Log, so_far_today

SCOPE = "account"
NEEDS_TEXT = False


def levels(log: Log, reference: Log) -> F64:
    """Requests of the account today, before this one."""
    del reference
    return so_far_today(log, log.account.codes)
