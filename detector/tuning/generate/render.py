"""Rows of requests -> columns of `access.v1`.

Purpose: fill every field of an event from its account, its text and a few draws.
Invariants: reasoning tokens never exceed output tokens; output never exceeds a stated
`max_tokens`; identifiers carry no order; a request that failed has no output. Nothing here
knows whether an account is an attacker's.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from detector.events import EventBatch, event_batch
from detector.tuning.generate import accounts as who
from detector.tuning.generate.accounts import Accounts
from detector.tuning.generate.answers import RUNS, run_prints, thought
from detector.tuning.generate.columns import (
    I64,
    U64,
    Mask,
    hex_strings,
    ids,
    masked,
    masked_lists,
    mix64,
    numbers,
)
from detector.tuning.generate.network import PROGRAMS, Network
from detector.tuning.generate.pools import TextTable, gather
from detector.tuning.generate.sessions import CHARS_PER_TOKEN, Rows

COVERAGE = ("full", "lean", "minimal")
LEAN_DROPS = ("payment_fp", "device_fp", "account_created_at", "asn", "ja4")
MINIMAL_KEEPS = ("event_id", "event_time", "account_id", "request_model", "input_tokens", "output_tokens")
CACHE_BLOCK = 128
CACHE_TOKENS_MIN = 1_024

# Over `accounts.MODELS`: price per million input and output tokens, and milliseconds per output token.
_PRICE_IN = np.array([0.15, 1.0, 3.0, 1.1, 12.0, 0.8, 4.0])
_PRICE_OUT = np.array([0.6, 4.0, 15.0, 4.4, 60.0, 3.2, 18.0])
_TOKEN_MS = np.array([5.0, 9.0, 16.0, 9.0, 22.0, 7.0, 12.0])
_STATUS = np.array([200, 429, 500, 529, 400, 403])
FORBIDDEN = 5
_ERRORS = ("", "rate_limit_error", "server_error", "overloaded_error", "invalid_request_error", "permission_error")


# What a gateway says it did, by the level of the decision: none, observe, throttle, challenge, block.
DISPOSITIONS = ("allowed", "allowed", "throttled", "challenged", "blocked")
BLOCKS_FROM = 3
ANSWER_TOKENS_MIN = 12


class Enforced(NamedTuple):
    """Decisions that requests fell under: level (0 none ... 4 block) and `decision_id` of each row."""

    level: I64
    decision_id: pa.Array


class Amounts(NamedTuple):
    """Tokens and outcome of each request."""

    input_tokens: I64
    cached_tokens: I64
    output_tokens: I64
    reasoning_tokens: I64
    capped: Mask
    refused: Mask


def _amounts(rng: np.random.Generator, *, rows: Rows, accounts: Accounts, table: TextTable) -> Amounts:
    count = rows.account.size
    account = rows.account
    fine = rows.status == 0
    system = rows.system
    system_chars = np.where(system >= 0, table.system_chars[np.maximum(system, 0)] if table.system_chars.size else 0, 0)
    prompt_tokens = np.ceil((table.chars[rows.text] + system_chars) / CHARS_PER_TOKEN * rng.normal(1, 0.04, count))
    input_tokens = np.maximum(prompt_tokens, 1).astype(np.int64) + rows.history_tokens + 4
    reusable = np.where(rows.turn > 0, rows.history_tokens, 0) + (system_chars / CHARS_PER_TOKEN).astype(np.int64)
    hit = fine & (reusable >= CACHE_TOKENS_MIN) & (rng.random(count) < 0.8)
    cached = np.where(hit, reusable // CACHE_BLOCK * CACHE_BLOCK, 0)
    thinks = np.asarray(who.REASONING)[rows.model]
    thought = np.where(thinks, rng.lognormal(6.0, 0.8, count), 0).astype(np.int64)
    refused = fine & (rng.random(count) < accounts.refused[account])
    visible = np.where(refused, np.minimum(rows.visible_tokens, rng.integers(12, 90, count)), rows.visible_tokens)
    wanted = visible + thought
    cap = accounts.token_cap[account]
    capped = fine & (cap > 0) & (wanted >= cap)
    output = np.where(fine, np.where(capped, cap, wanted), 0)
    # Cut short, a model has spent its tokens on thought first.
    reasoning = np.minimum(np.where(fine, thought, 0), output)
    return Amounts(input_tokens, np.minimum(cached, input_tokens), output, reasoning, capped, refused & ~capped)


def _usage(rng: np.random.Generator, *, rows: Rows, amounts: Amounts, tools: I64) -> dict[str, pa.Array]:
    """Token counts, times, prices and outcome."""
    count = rows.account.size
    fine = rows.status == 0
    visible = amounts.output_tokens - amounts.reasoning_tokens
    ttft = rng.lognormal(6.0, 0.5, count) + amounts.input_tokens * 0.02
    latency = np.where(
        fine, ttft + amounts.output_tokens * _TOKEN_MS[rows.model] * rng.lognormal(0, 0.2, count), ttft / 4
    )
    calls = fine & ~amounts.capped & ~amounts.refused & (tools > 0) & (rng.random(count) < 0.6)
    finish = np.select([amounts.capped, calls, amounts.refused], [1, 2, 3], 0)
    cost = amounts.input_tokens * _PRICE_IN[rows.model] + amounts.output_tokens * _PRICE_OUT[rows.model]
    return {
        "input_tokens": pa.array(amounts.input_tokens),
        "output_tokens": pa.array(amounts.output_tokens),
        "reasoning_tokens": pa.array(amounts.reasoning_tokens),
        "cached_input_tokens": pa.array(amounts.cached_tokens),
        "visible_output_chars": pa.array((visible * np.clip(rng.normal(4.1, 0.5, count), 2.0, 6.5)).astype(np.int64)),
        "latency_ms": pa.array(latency.astype(np.int64)),
        "ttft_ms": numbers(np.minimum(ttft, latency).astype(np.int64), keep=fine),
        "cost_usd": pa.array(np.round(np.where(fine, cost, 0.0) / 1e6, 6)),
        "status_code": pa.array(_STATUS[rows.status]),
        "error_type": masked(pa.array(_ERRORS).take(pa.array(rows.status)), keep=~fine),
        "finish_reason": masked(
            pa.array(("stop", "length", "tool_calls", "content_filter")).take(pa.array(finish)), keep=fine
        ),
    }


def _origin(rows: Rows, *, accounts: Accounts, networks: tuple[Network, ...]) -> dict[str, pa.Array]:
    """Where the request came from and with which program; nothing of it where a gateway strips it."""
    place = accounts.address_start[rows.account] + rows.place
    told = ~accounts.stripped[rows.account]
    network = pa.array(accounts.address_network[place])
    program = pa.array(accounts.program[rows.account], mask=~told)
    return {
        "client_ip": accounts.address.take(pa.array(place)),
        "asn": pa.array([n.asn for n in networks]).take(network),
        "country": pa.array([n.country for n in networks]).take(network),
        "ip_type": pa.array([n.kind for n in networks]).take(network),
        "user_agent": pa.array([p.user_agent for p in PROGRAMS]).take(program),
        "sdk_name": pa.array([p.sdk_name for p in PROGRAMS], pa.string()).take(program),
        "sdk_version": pa.array([p.sdk_version for p in PROGRAMS], pa.string()).take(program),
        "ja4": pa.array([p.ja4 for p in PROGRAMS]).take(program),
    }


def _answers(rng: np.random.Generator, *, rows: Rows, amounts: Amounts, accounts: Accounts) -> dict[str, pa.Array]:
    """What tells outputs apart, and what of earlier ones is presented."""
    seen = amounts.output_tokens - amounts.reasoning_tokens >= ANSWER_TOKENS_MIN
    signed = (rows.answer > 0) & thought(rows.answer)
    width = np.where((rows.answer > 0) & seen, RUNS, 0)
    bias = accounts.bias[rows.account]
    own = mix64(rows.account.astype(np.uint64), seed=np.full(1, 77, np.uint64))
    drawn = rng.integers(1, 1 << 63, rows.account.size, dtype=np.uint64)
    return {
        "output_run_fps": masked_lists(run_prints(rows.answer), counts=width),
        "reasoning_signature_fp": _named(rows.answer, keep=signed),
        "reasoning_signature_echo_fp": _named(rows.presented, keep=rows.presented > 0),
        "logit_bias_fp": _named(np.where(bias == 1, own, drawn), keep=bias > 0),
    }


def _named(names: U64, *, keep: Mask) -> pa.Array:
    """Fingerprints of 32 digits by name."""
    pair = np.stack([mix64(names, seed=np.full(1, k, np.uint64)) for k in (5, 6)], axis=1)
    return masked(hex_strings(pair, digits=32), keep=keep)


def render(
    rng: np.random.Generator,
    *,
    rows: Rows,
    accounts: Accounts,
    table: TextTable,
    networks: tuple[Network, ...],
    fields: str,
    fingerprints: bool,
    enforced: Enforced | None = None,
) -> EventBatch:
    """Fill an event batch; rows keep their order. Without `fingerprints` the content columns stay null.

    `fields` is one of `COVERAGE`; `enforced` says which requests a decision held back.
    """
    count = rows.account.size
    if enforced is not None:
        stopped = enforced.level >= BLOCKS_FROM
        rows = rows._replace(
            status=np.where(stopped, FORBIDDEN, rows.status), answer=np.where(stopped, np.uint64(0), rows.answer)
        )
    amounts = _amounts(rng, rows=rows, accounts=accounts, table=table)
    account = pa.array(rows.account)
    columns = {name: column.take(account) for name, column in accounts.fields.items()}
    mode = accounts.conversation_mode[rows.account]
    single = mode == 2
    conversation = np.where(single, rng.integers(1, 1 << 63, count, dtype=np.uint64), rows.session)
    spoken = numbers(np.where(single, 0, rows.turn), keep=mode > 0)
    tools = columns["tool_count"].to_numpy(zero_copy_only=False)
    model = pa.array(rows.model)
    user = mix64(rows.session, seed=np.full(1, 9, np.uint64))
    columns |= _usage(rng, rows=rows, amounts=amounts, tools=tools)
    columns |= _origin(rows, accounts=accounts, networks=networks)
    columns |= {
        "event_id": ids(rng, count=count, prefix="req_"),
        "event_time": pa.array(rows.time_ms),
        "request_model": pa.array(who.MODELS).take(model),
        "response_model": pa.array([f"{name}-2026-02" for name in who.MODELS]).take(model),
        "tenant": pa.array(["default"] * count),
        "operation": pa.array(["chat"] * count),
        "conversation_id": masked(hex_strings(conversation, prefix="conv_"), keep=mode > 0),
        "turn_index": spoken,
        "end_user_id": masked(hex_strings(user, prefix="user_"), keep=accounts.end_users[rows.account]),
        "image_count": pa.array((rng.random(count) < 0.02).astype(np.int64)),
        "disposition": pa.array(["allowed"] * count),
    }
    if enforced is not None:
        columns["disposition"] = pa.array(DISPOSITIONS).take(pa.array(enforced.level))
        columns["decision_id"] = enforced.decision_id
    if fingerprints:
        columns |= gather(
            table,
            rows=rows.text,
            variants=rows.variant,
            system=rows.system,
            recycled=rows.recycled,
        )
        columns |= _answers(rng, rows=rows, amounts=amounts, accounts=accounts)
    return project(event_batch(columns, rows=count), fields=fields)


def project(batch: EventBatch, *, fields: str) -> EventBatch:
    """The batch as a log of that coverage holds it; what a log lacks is null.

    A gateway's log without enforcement fields tells nothing of what was done: minimal drops those too.
    """
    if fields == "full":
        return batch
    kept = MINIMAL_KEEPS if fields == "minimal" else [name for name in batch.schema.names if name not in LEAN_DROPS]
    return event_batch({name: batch.column(name) for name in kept}, rows=len(batch))
