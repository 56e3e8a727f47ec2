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
from detector.tuning.generate.columns import I64, Mask, hex_strings, ids, masked, numbers, pick
from detector.tuning.generate.network import PROGRAMS, Network
from detector.tuning.generate.pools import TextTable, gather
from detector.tuning.generate.sessions import CHARS_PER_TOKEN, Rows

LEAN_DROPS = ("payment_fp", "device_fp", "account_created_at", "asn", "ja4")
SECOND_MODEL_SHARE = 0.15
CACHE_BLOCK = 128
CACHE_TOKENS_MIN = 1_024

# Over `accounts.MODELS`: price per million input and output tokens, and milliseconds per output token.
_PRICE_IN = np.array([0.15, 1.0, 3.0, 1.1, 12.0, 0.8])
_PRICE_OUT = np.array([0.6, 4.0, 15.0, 4.4, 60.0, 3.2])
_TOKEN_MS = np.array([5.0, 9.0, 16.0, 9.0, 22.0, 7.0])
_STATUS = np.array([200, 429, 500, 529, 400])
_STATUS_WEIGHTS = (987, 6, 2, 2, 3)
_ERRORS = ("", "rate_limit_error", "server_error", "overloaded_error", "invalid_request_error")


class Amounts(NamedTuple):
    """Tokens and outcome of each request."""

    model: I64
    status: I64  # index into _STATUS
    input_tokens: I64
    cached_tokens: I64
    output_tokens: I64
    reasoning_tokens: I64
    capped: Mask


def _amounts(rng: np.random.Generator, *, rows: Rows, accounts: Accounts, table: TextTable) -> Amounts:
    count = rows.account.size
    account = rows.account
    other = rng.random(count) < SECOND_MODEL_SHARE
    model = np.where(other, accounts.second_model[account], accounts.model[account])
    status = pick(rng, weights=_STATUS_WEIGHTS, count=count)
    fine = status == 0
    system = accounts.system[account]
    system_chars = np.where(system >= 0, table.system_chars[np.maximum(system, 0)] if table.system_chars.size else 0, 0)
    prompt_tokens = np.ceil((table.chars[rows.text] + system_chars) / CHARS_PER_TOKEN * rng.normal(1, 0.04, count))
    input_tokens = np.maximum(prompt_tokens, 1).astype(np.int64) + rows.history_tokens + 4
    reusable = np.where(rows.turn > 0, rows.history_tokens, 0) + (system_chars / CHARS_PER_TOKEN).astype(np.int64)
    hit = fine & (reusable >= CACHE_TOKENS_MIN) & (rng.random(count) < 0.8)
    cached = np.where(hit, reusable // CACHE_BLOCK * CACHE_BLOCK, 0)
    thinks = np.asarray(who.REASONING)[model]
    thought = np.where(thinks, rng.lognormal(6.0, 0.8, count), 0).astype(np.int64)
    wanted = rows.visible_tokens + thought
    cap = accounts.token_cap[account]
    capped = fine & (cap > 0) & (wanted >= cap)
    output = np.where(fine, np.where(capped, cap, wanted), 0)
    # Cut short, a model has spent its tokens on thought first.
    reasoning = np.minimum(np.where(fine, thought, 0), output)
    return Amounts(model, status, input_tokens, np.minimum(cached, input_tokens), output, reasoning, capped)


def _usage(rng: np.random.Generator, *, rows: Rows, amounts: Amounts, tools: I64) -> dict[str, pa.Array]:
    """Token counts, times, prices and outcome."""
    count = rows.account.size
    fine = amounts.status == 0
    visible = amounts.output_tokens - amounts.reasoning_tokens
    ttft = rng.lognormal(6.0, 0.5, count) + amounts.input_tokens * 0.02
    latency = np.where(
        fine, ttft + amounts.output_tokens * _TOKEN_MS[amounts.model] * rng.lognormal(0, 0.2, count), ttft / 4
    )
    calls = fine & ~amounts.capped & (tools > 0) & (rng.random(count) < 0.6)
    finish = np.where(amounts.capped, 1, np.where(calls, 2, 0))
    cost = amounts.input_tokens * _PRICE_IN[amounts.model] + amounts.output_tokens * _PRICE_OUT[amounts.model]
    return {
        "input_tokens": pa.array(amounts.input_tokens),
        "output_tokens": pa.array(amounts.output_tokens),
        "reasoning_tokens": pa.array(amounts.reasoning_tokens),
        "cached_input_tokens": pa.array(amounts.cached_tokens),
        "visible_output_chars": pa.array((visible * np.clip(rng.normal(4.1, 0.5, count), 2.0, 6.5)).astype(np.int64)),
        "latency_ms": pa.array(latency.astype(np.int64)),
        "ttft_ms": numbers(np.minimum(ttft, latency).astype(np.int64), keep=fine),
        "cost_usd": pa.array(np.round(np.where(fine, cost, 0.0) / 1e6, 6)),
        "status_code": pa.array(_STATUS[amounts.status]),
        "error_type": masked(pa.array(_ERRORS).take(pa.array(amounts.status)), keep=~fine),
        "finish_reason": masked(pa.array(("stop", "length", "tool_calls")).take(pa.array(finish)), keep=fine),
    }


def _origin(rows: Rows, *, accounts: Accounts, networks: tuple[Network, ...]) -> dict[str, pa.Array]:
    """Where the request came from and with which program."""
    place = accounts.address_start[rows.account] + rows.place
    network = pa.array(accounts.address_network[place])
    program = pa.array(accounts.program[rows.account])
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


def render(
    rng: np.random.Generator,
    *,
    rows: Rows,
    accounts: Accounts,
    table: TextTable,
    networks: tuple[Network, ...],
    lean: bool,
    fingerprints: bool,
) -> EventBatch:
    """Fill an event batch; rows keep their order. Without `fingerprints` the content columns stay null."""
    count = rows.account.size
    amounts = _amounts(rng, rows=rows, accounts=accounts, table=table)
    account = pa.array(rows.account)
    columns = {name: column.take(account) for name, column in accounts.fields.items()}
    mode = accounts.conversation_mode[rows.account]
    single = mode == 2
    conversation = np.where(single, rng.integers(1, 1 << 63, count, dtype=np.uint64), rows.session)
    spoken = numbers(np.where(single, 0, rows.turn), keep=mode > 0)
    tools = columns["tool_count"].to_numpy(zero_copy_only=False)
    model = pa.array(amounts.model)
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
        "image_count": pa.array((rng.random(count) < 0.02).astype(np.int64)),
        "disposition": pa.array(["allowed"] * count),
    }
    if fingerprints:
        columns |= gather(table, rows=rows.text, variants=rows.variant, system=accounts.system[rows.account])
    if lean:
        for name in LEAN_DROPS:
            columns.pop(name, None)
    return event_batch(columns, rows=count)
