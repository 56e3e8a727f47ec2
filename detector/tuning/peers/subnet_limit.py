"""A static limit of requests per prefix (/24, /64) and UTC day.

Purpose: what a network's edge does.
Limits: as `account_limit`; residential pools have a prefix each.
Source: rate limits as every web firewall documents them.
"""

from detector.tuning.peers.log import F64, Log, so_far_today

SCOPE = "subnet"
NEEDS_TEXT = False


def levels(log: Log, reference: Log) -> F64:
    """Requests from the prefix today, before this one."""
    del reference
    return so_far_today(log, log.subnet.codes)
