"""The columns of links and pools, and the kinds of links.

Purpose: one place for what the compiled loop, the table and the readers of pools share.
Invariants: a kind's number is its place in `KINDS`; the columns REQUESTS to TEXTS of a
pool are plain sums, in one stretch, so that an event is added to all of them at once.
Limits: new columns go to the end of `L`; in `P` a new sum goes before TEXTS.
Source: the link table of the design.
"""

from enum import IntEnum

import numpy as np

from detector.frames import ID, LINKS_FIRST

SMALL_K = 8
POOL_K = 128
POOL_REGISTERS = 256

KINDS = (
    "subnet",
    "payment_fp",
    "device_fp",
    "signup_ip_fp",
    "signup_email_domain_fp",
    "org",
    "system_prompt_fp",
    "template_fp",
    "ja4",
    "program",
    "cohort",
    "anchor_fp",
    "run_fp",
    "signature_handoff",
    "output_return",
)
# Who sends, told by settings: what pools accounts that share no text.
PROGRAM_KINDS = ("program",)
# What one organisation got and another shows.
PASSED_KINDS = ("signature_handoff", "output_return")
TEXT_KINDS = ("system_prompt_fp", "template_fp", "anchor_fp", "run_fp")
# What says more of who belongs to whom than a profile does.
BINDING_KINDS = (*TEXT_KINDS, "signature_handoff")
# Pools of one client program: all its accounts, or those that show what others were answered.
ONE_PROGRAM_KINDS = (*PROGRAM_KINDS, "output_return")
FOUNDING_KINDS = TEXT_KINDS + PROGRAM_KINDS + PASSED_KINDS
KIND_OF_COLUMN = np.array(
    [c - LINKS_FIRST for c in range(LINKS_FIRST, ID.ANCHOR)]
    + [KINDS.index("anchor_fp")] * (ID.RUN - ID.ANCHOR)
    + [KINDS.index("run_fp")] * (ID.HANDOFF - ID.RUN)
    + [KINDS.index(kind) for kind in PASSED_KINDS],
    np.int64,
)


class L(IntEnum):
    """Columns of `LinkTable.stats` (int64)."""

    KIND = 0
    FIRST = 1
    LAST = 2
    REQUESTS = 3
    POOL = 4  # pool row + 1


class P(IntEnum):
    """Columns of `LinkTable.pools` (int64). Log columns are in 1/256 octaves."""

    LINK = 0
    FIRST = 1
    LAST = 2
    REQUESTS = 3
    OUTPUT = 4
    REASONING = 5
    COST_MICRO_USD = 6
    LOG_OUT = 7
    TURN_KNOWN = 8
    SINGLE = 9
    ELICITATION_KNOWN = 10
    ELICITED = 11
    TOOLS_KNOWN = 12
    TOOLS = 13
    TEXTS = 14
    JUDGED = 15
    TOUCHED = 16
    KIND = 17
    CAMPAIGN = 18  # campaign number


LINK_COLUMNS, POOL_COLUMNS = 5, 19
