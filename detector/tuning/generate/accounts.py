"""Accounts: who they are, how they pay, where they come from, how they are configured.

Purpose: draw all that stays with an account for its life. A population states weights; an
attacker's pool draws from the same values as everybody.
Invariants: configuration is per account, never per request; identifiers carry no order;
ages are as of the account's first possible request.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from detector.tuning.generate import network
from detector.tuning.generate.columns import F64, I64, Mask, ids, masked, numbers, pick

DAY_MS = 86_400_000
_HOUR_MS = 3_600_000
NEVER_MS = 1 << 60
TIERS = ("free", "trial", "edu", "paygo", "enterprise")
MODELS = ("orion-mini", "orion-base", "orion-large", "orion-think", "orion-think-large", "orion-code", "vega-think")
REASONING = (False, False, False, True, True, False, True)
NEW_MODEL = 6  # comes out while the world runs; nobody is set up for it before
EFFORTS = ("low", "medium", "high")
TOKEN_CAPS = (0, 256, 512, 1_000, 1_024, 2_048, 4_096, 8_192, 16_000, 1)  # 0: not stated
TEMPERATURES = (-1.0, 0.0, 0.2, 0.3, 0.5, 0.7, 0.8, 1.0)  # -1: not stated
THINKING_CAP_MIN = 2_048
CAP_WEIGHTS = (34, 5, 8, 5, 12, 11, 15, 12, 4, 0.5)
LONG_CAP_WEIGHTS = (34, 0, 1, 1, 2, 11, 19, 20, 8, 0)  # of who wants long answers
TEMPERATURE_WEIGHTS = (40, 18, 8, 5, 4, 14, 3, 12)
DOMAINS = 60  # mail domains: 8 large providers, 10 disposable ones, the others small
_LARGE, _DISPOSABLE = 8, 10


class Habit(NamedTuple):
    """What a population's accounts are drawn from. Weights need not sum to one."""

    tiers: Sequence[float]  # over TIERS
    models: Sequence[float]  # over MODELS
    programs: Sequence[float]  # over network.PROGRAMS
    networks: dict[str, float]  # share by kind of network
    young: float = 0.1  # share younger than 7 days
    age_days_max: float = 900.0
    disposable: float = 0.04  # share with disposable mail
    company_mail: float = 0.1
    team: float = 0.1  # share in an organisation of several accounts
    places: float = 1.6  # mean number of addresses
    tools: float = 0.1  # share that sends tool definitions
    structured: float = 0.1
    streams: float = 0.5
    caps: Sequence[float] = CAP_WEIGHTS  # over TOKEN_CAPS
    one_program: bool = False  # all accounts run one client with one configuration
    one_org: bool = False
    declared: str | None = None
    verified: float = 0.1  # share of payers that the operator verified
    batch: bool = False  # sent through the batch endpoint
    dense: bool = False  # all behind one prefix of the first of `networks`
    one_card: bool = False
    logprobs: float = 0.03
    biased: tuple[float, float] = (0.015, 0.006)  # share with a constant logit bias, with a changing one
    refused: float = 0.006  # share of answers that the model refuses
    adopts: float = 0.35  # share of accounts that move to the new model
    adopts_h: float = 60.0  # after how many hours on average
    strips: float = 0.03  # share whose gateway strips what tells the client
    end_users: float = 0.06  # share that names end users
    reseller: bool = False


class Accounts(NamedTuple):
    """Columns over accounts; ragged `addresses` by `address_start` and `address_count`."""

    fields: dict[str, pa.Array]  # access.v1 columns that are constant per account
    model: I64  # indices into MODELS
    second_model: I64
    token_cap: I64
    conversation_mode: I64  # 0 none stated, 1 one per session, 2 one per request
    program: I64
    system: I64  # global index of the system prompt, -1 none
    switch_ms: I64  # when the account moves to the new model
    refused: F64  # share of answers refused
    bias: I64  # logit bias: 0 none, 1 the account's own, 2 another in each request
    stripped: Mask  # client and address are not told
    end_users: Mask  # sessions name their end user
    keeps_signatures: Mask  # sends reasoning signatures back in later turns
    address: pa.Array  # all addresses
    address_network: I64
    address_start: I64
    address_count: I64

    @property
    def size(self) -> int:
        """Number of accounts."""
        return int(self.model.size)


def _identity(rng: np.random.Generator, *, habit: Habit, count: int, first_ms: I64) -> dict[str, pa.Array]:
    """Organisation, sign-up, payment and age."""
    age_days = np.exp(rng.uniform(np.log(7), np.log(habit.age_days_max), count))
    young = rng.random(count) < habit.young
    age_days[young] = rng.gamma(1.5, 1.8, int(young.sum())) % 7
    owner: I64 = np.arange(count)
    if habit.one_org:
        owner[:] = 0
    else:
        joins = rng.random(count) < habit.team
        owner = np.where(joins, owner - owner % 6, owner)
    tier = pick(rng, weights=habit.tiers, count=count)
    tier = np.asarray(tier[owner], np.int64)  # an organisation has one plan
    pays = (tier >= TIERS.index("paygo")) | (rng.random(count) < 0.3)
    payer = np.where(rng.random(count) < 0.03, np.maximum(owner - 1, 0), owner)
    payer = np.zeros_like(owner) if habit.one_card else payer
    pays = pays | habit.one_card
    mail = rng.random(count)
    domain = pick(rng, weights=[24 / (1 + k) for k in range(_LARGE)], count=count)
    throwaway = mail < habit.disposable
    domain = np.where(throwaway, _LARGE + rng.integers(0, _DISPOSABLE, count), domain)
    company = (mail > 1 - habit.company_mail) | habit.one_org
    domain = np.where(company, DOMAINS + owner, domain)
    small = ~throwaway & ~company & (rng.random(count) < 0.12)
    domain = np.where(small, _LARGE + _DISPOSABLE + rng.integers(0, DOMAINS - _LARGE - _DISPOSABLE, count), domain)
    own_domains = ids(rng, count=count, prefix="mail_", digits=12)
    common = ids(np.random.default_rng(17), count=DOMAINS, prefix="mail_", digits=12)  # seeded on purpose: same for all
    domains = pa.concat_arrays([common, own_domains])
    device = np.where(rng.random(count) < 0.03, np.maximum(np.arange(count) - 1, 0), np.arange(count))
    return {
        "account_id": ids(rng, count=count, prefix="acct_"),
        "org_id": ids(rng, count=count, prefix="org_").take(pa.array(owner)),
        "project_id": ids(rng, count=count, prefix="proj_", digits=12).take(pa.array(owner)),
        "api_key_id": ids(rng, count=count, prefix="key_"),
        "account_created_at": pa.array(first_ms - (age_days * DAY_MS).astype(np.int64)),
        "account_tier": pa.array(TIERS).take(pa.array(tier)),
        "payment_fp": masked(ids(rng, count=count, prefix="pay_").take(pa.array(payer)), keep=pays),
        "device_fp": masked(ids(rng, count=count, prefix="dev_").take(pa.array(device)), keep=rng.random(count) < 0.8),
        "signup_ip_fp": ids(rng, count=count, prefix="sip_").take(
            pa.array(np.where(rng.random(count) < 0.05, np.maximum(np.arange(count) - 1, 0), np.arange(count)))
        ),
        "signup_email_domain_fp": domains.take(pa.array(domain)),
        "batch": pa.array(np.full(count, habit.batch)),
        "reseller_id": pa.array(
            ids(rng, count=1, prefix="res_").to_pylist() * count if habit.reseller else [None] * count, pa.string()
        ),
        "declared_use": pa.array([habit.declared] * count, pa.string()),
        "payer_verified": numbers(
            (rng.random(count) < habit.verified)[owner],
            keep=(rng.random(count) < 0.5)[owner] | (habit.declared is not None),
        ),
    }


def _choice(rng: np.random.Generator, *, weights: Sequence[float], habit: Habit, count: int) -> I64:
    """One draw per account, or one for all where a single client is behind them."""
    drawn = pick(rng, weights=weights, count=count)
    return np.full(count, drawn[0]) if habit.one_program else drawn


def _chance(rng: np.random.Generator, *, share: float, habit: Habit, count: int) -> Mask:
    drawn = rng.random(count) < share
    return np.full(count, drawn[0]) if habit.one_program else drawn


def _settings(rng: np.random.Generator, *, habit: Habit, count: int, model: I64, cap: I64) -> dict[str, pa.Array]:
    """Sampling parameters and what else a client's code fixes."""
    temperature = np.asarray(TEMPERATURES)[_choice(rng, weights=TEMPERATURE_WEIGHTS, habit=habit, count=count)]
    top_p = np.asarray((-1.0, 1.0, 0.95, 0.9))[_choice(rng, weights=(70, 18, 8, 4), habit=habit, count=count)]
    stated = temperature >= 0
    tools = _chance(rng, share=habit.tools, habit=habit, count=count)
    tool_count = _choice(rng, weights=(0, 4, 4, 3, 2, 2, 1, 1), habit=habit, count=count)
    tool_sets = ids(rng, count=count, digits=32)
    same_tools = np.zeros(count, np.int64) if habit.one_program else np.arange(count)
    logprobs = _chance(rng, share=habit.logprobs, habit=habit, count=count)
    seeded = _chance(rng, share=0.04, habit=habit, count=count)
    effort = _choice(rng, weights=(2, 5, 4), habit=habit, count=count)
    says_effort = np.asarray(REASONING)[model] & _chance(rng, share=0.6, habit=habit, count=count)
    return {
        "stream": pa.array(_chance(rng, share=habit.streams, habit=habit, count=count)),
        "max_tokens": numbers(cap, keep=cap > 0),
        "temperature": numbers(np.where(stated, temperature, 0.0), keep=stated),
        "top_p": numbers(np.maximum(top_p, 0.0), keep=top_p > 0),
        "n": numbers(np.ones(count, np.int64), keep=_chance(rng, share=0.2, habit=habit, count=count)),
        "seed": numbers(rng.integers(1, 100, count), keep=seeded),
        "logprobs_requested": numbers(logprobs, keep=logprobs),
        "top_logprobs": numbers(np.full(count, 5), keep=logprobs),
        "structured_output": pa.array(_chance(rng, share=habit.structured, habit=habit, count=count)),
        "tool_count": pa.array(np.where(tools, tool_count, 0)),
        "tools_fp": masked(tool_sets.take(pa.array(same_tools)), keep=tools),
        "reasoning_effort": masked(pa.array(EFFORTS).take(pa.array(effort)), keep=says_effort),
    }


def _places(
    rng: np.random.Generator, *, habit: Habit, count: int, networks: Sequence[network.Network]
) -> tuple[pa.Array, I64, I64, I64]:
    """Addresses of every account: the array, their networks, starts and counts."""
    held = 1 + rng.poisson(max(habit.places - 1, 0), count)
    wanders = rng.random(count) < 0.06  # phones and VPNs: as many addresses as a proxy pool hands out
    held[wanders] += rng.integers(5, 18, int(wanders.sum()))
    if habit.dense:
        held[:] = 1
    total = int(held.sum())
    start = np.cumsum(held) - held
    chosen = network.draw_networks(rng, networks=networks, mix=habit.networks, count=total)
    dense = None
    if habit.one_org:  # an organisation's servers stand in one place
        chosen[:] = chosen[0]
    if habit.dense:
        chosen[:] = network.draw_networks(rng, networks=networks, mix=habit.networks, count=1)[0]
        dense = np.ones(total, bool)
    text = network.addresses(rng, networks=networks, chosen=chosen, dense=dense)
    return pa.array(text, pa.string()), chosen, start, held


def draw(
    rng: np.random.Generator,
    *,
    habit: Habit,
    count: int,
    first_ms: I64,
    networks: Sequence[network.Network],
    release_ms: int,
) -> Accounts:
    """Draw `count` accounts: `first_ms` (count,) is each one's earliest request, `release_ms` the new model's time."""
    model = _choice(rng, weights=habit.models, habit=habit, count=count)
    second = np.where(
        _chance(rng, share=0.25, habit=habit, count=count),
        _choice(rng, weights=habit.models, habit=habit, count=count),
        model,
    )
    cap = np.asarray(TOKEN_CAPS)[_choice(rng, weights=habit.caps, habit=habit, count=count)]
    # A small cap on a model that thinks returns nothing: whoever tried has raised it.
    cap = np.where(np.asarray(REASONING)[model] & (cap > 1) & (cap < THINKING_CAP_MIN), 4_096, cap)
    program = _choice(rng, weights=habit.programs, habit=habit, count=count)
    address, address_network, start, held = _places(rng, habit=habit, count=count, networks=networks)
    fields = _identity(rng, habit=habit, count=count, first_ms=first_ms)
    fields |= _settings(rng, habit=habit, count=count, model=model, cap=cap)
    return Accounts(
        fields=fields,
        model=model,
        second_model=second,
        token_cap=cap,
        conversation_mode=_choice(rng, weights=(3, 6, 1), habit=habit, count=count),
        program=program,
        system=np.full(count, -1),
        switch_ms=np.where(
            _chance(rng, share=habit.adopts, habit=habit, count=count),
            release_ms + (_HOUR_MS * rng.exponential(habit.adopts_h, count)).astype(np.int64),
            NEVER_MS,
        ),
        refused=habit.refused * rng.gamma(2.0, 0.5, count),
        bias=_choice(rng, weights=(1 - sum(habit.biased), *habit.biased), habit=habit, count=count),
        stripped=_chance(rng, share=habit.strips, habit=habit, count=count),
        end_users=_chance(rng, share=habit.end_users, habit=habit, count=count),
        keeps_signatures=_chance(rng, share=0.8, habit=habit, count=count),
        address=address,
        address_network=address_network,
        address_start=start,
        address_count=held,
    )


def concatenate(parts: Sequence[Accounts]) -> Accounts:
    """Put populations' accounts under one another; rows of the k-th follow those of the (k-1)-th."""
    bases = np.cumsum([0] + [len(part.address) for part in parts])
    names = list(parts[0].fields)
    return Accounts(
        fields={name: pa.concat_arrays([part.fields[name] for part in parts]) for name in names},
        model=np.concatenate([p.model for p in parts]),
        second_model=np.concatenate([p.second_model for p in parts]),
        token_cap=np.concatenate([p.token_cap for p in parts]),
        conversation_mode=np.concatenate([p.conversation_mode for p in parts]),
        program=np.concatenate([p.program for p in parts]),
        system=np.concatenate([p.system for p in parts]),
        switch_ms=np.concatenate([p.switch_ms for p in parts]),
        refused=np.concatenate([p.refused for p in parts]),
        bias=np.concatenate([p.bias for p in parts]),
        stripped=np.concatenate([p.stripped for p in parts]),
        end_users=np.concatenate([p.end_users for p in parts]),
        keeps_signatures=np.concatenate([p.keeps_signatures for p in parts]),
        address=pa.concat_arrays([p.address for p in parts]),
        address_network=np.concatenate([p.address_network for p in parts]),
        address_start=np.concatenate([p.address_start + base for p, base in zip(parts, bases, strict=False)]),
        address_count=np.concatenate([p.address_count for p in parts]),
    )


def heavy_tail(rng: np.random.Generator, *, median: float, sigma: float, count: int) -> F64:
    """Log-normal volumes, capped at fifty times the median so that one account is not the world."""
    return np.asarray(np.minimum(median * np.exp(sigma * rng.standard_normal(count)), 50 * median), float)
