"""The generated internet: networks, addresses and client programs.

Purpose: one set of autonomous systems and client programs that innocent people and
attackers alike draw from.
Invariants: addresses lie in private and documentation ranges (10.0.0.0/8, 2001:db8::/32)
and AS numbers in the private range, so no real network is named; a network has one country
and one type.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from detector.tuning.generate.columns import I64, Mask

KINDS = ("residential", "mobile", "datacenter", "vpn", "tor")
_COUNTS = {"residential": 90, "mobile": 24, "datacenter": 40, "vpn": 8, "tor": 2}
_COUNTRIES = (
    "US",
    "US",
    "US",
    "DE",
    "FR",
    "GB",
    "IN",
    "IN",
    "BR",
    "JP",
    "SG",
    "CA",
    "ES",
    "PL",
    "KR",
    "ID",
    "NG",
    "MX",
    "AU",
    "NL",
)
ASN_FIRST = 64_512
ASN_LAST = 65_534
V6_SHARE = 0.2


class Network(NamedTuple):
    """One autonomous system: `block` is the second byte of its 10.0.0.0/8 addresses."""

    asn: int
    kind: str
    country: str
    block: int
    weight: float


class Program(NamedTuple):
    """What a client says it is."""

    user_agent: str
    sdk_name: str | None
    sdk_version: str | None
    ja4: str


def _program(agent: str, sdk: str | None, version: str | None, print_: str) -> Program:
    return Program(agent, sdk, version, print_)


PROGRAMS: tuple[Program, ...] = (
    _program("openai-python/1.91.0", "openai-python", "1.91.0", "t13d1715h1_5b57614c22b0_3d5424432f57"),
    _program("openai-python/1.108.1", "openai-python", "1.108.1", "t13d1715h1_5b57614c22b0_3d5424432f57"),
    _program("openai-python/2.3.0", "openai-python", "2.3.0", "t13d1715h2_5b57614c22b0_7121afd63204"),
    _program("openai-node/5.12.2", "openai-node", "5.12.2", "t13d1714h1_5b57614c22b0_eca864cca44a"),
    _program("openai-node/6.1.0", "openai-node", "6.1.0", "t13d1714h1_5b57614c22b0_eca864cca44a"),
    _program("litellm/1.77.3", "litellm", "1.77.3", "t13d1715h1_5b57614c22b0_93c746dc12af"),
    _program(
        "langchain-core/0.3.76 python-httpx/0.28.1", "langchain", "0.3.76", "t13d1715h1_5b57614c22b0_3d5424432f57"
    ),
    _program("python-httpx/0.28.1", None, None, "t13d1715h1_5b57614c22b0_3d5424432f57"),
    _program("aiohttp/3.12.15", None, None, "t13d1812h1_85036bcba153_b26ce05bbdd6"),
    _program("Go-http-client/2.0", None, None, "t13d1312h2_f57a46bbacb6_ef7df7f74e48"),
    _program("okhttp/4.12.0", "java", "4.12.0", "t13d1613h2_46e7e9700bed_45f260be83e2"),
    _program("curl/8.5.0", None, None, "t13d3112h2_e8f1e7e78f70_b26ce05bbdd6"),
    _program("ChatDesk-Web/7.4", None, None, "t13d1516h2_8daaf6152771_d8a2da3f94cd"),
    _program("ChatDesk-iOS/7.4.1", None, None, "t13d2014h2_a09f3c656075_14788d8d241b"),
    _program("ChatDesk-Android/7.4.0", None, None, "t13d1514h2_8daaf6152771_de4a06bb82e3"),
    _program("codepilot-cli/2.18.4", "openai-node", "5.12.2", "t13d1714h1_5b57614c22b0_eca864cca44a"),
    _program("codepilot-cli/2.19.0", "openai-node", "6.1.0", "t13d1714h1_5b57614c22b0_eca864cca44a"),
)
# Weights over `PROGRAMS` for people who write programs, and for those who use the chat client.
SCRIPT_WEIGHTS = (6, 14, 10, 7, 4, 4, 6, 6, 3, 3, 3, 2, 0, 0, 0, 0, 0)
CHAT_WEIGHTS = (0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 50, 22, 24, 0, 0)
HARNESS_WEIGHTS = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 40, 60)


def internet(rng: np.random.Generator) -> tuple[Network, ...]:
    """Draw the networks of one world: heavy-tailed sizes, every kind."""
    numbers = rng.permutation(np.arange(ASN_FIRST, ASN_LAST + 1))
    blocks = rng.permutation(256)
    out: list[Network] = []
    for kind in KINDS:
        for _ in range(_COUNTS[kind]):
            at = len(out)
            country = _COUNTRIES[int(rng.integers(len(_COUNTRIES)))]
            out.append(Network(int(numbers[at]), kind, country, int(blocks[at]), float(rng.pareto(1.2) + 0.05)))
    return tuple(out)


def draw_networks(rng: np.random.Generator, *, networks: Sequence[Network], mix: dict[str, float], count: int) -> I64:
    """Draw network indices: kind by `mix`, then size within the kind."""
    weight = np.array([n.weight for n in networks])
    kinds = np.array([n.kind for n in networks])
    total = {kind: weight[kinds == kind].sum() for kind in KINDS}
    share = np.array([mix.get(n.kind, 0.0) * n.weight / total[n.kind] for n in networks])
    steps = np.cumsum(share)
    return np.searchsorted(steps / steps[-1], rng.random(count), side="right").astype(np.int64)


def addresses(
    rng: np.random.Generator, *, networks: Sequence[Network], chosen: I64, dense: Mask | None = None
) -> list[str]:
    """One address in each chosen network; `dense` rows share that network's first /24."""
    draws = rng.integers(0, 256, (chosen.size, 4)).tolist()
    six = (rng.random(chosen.size) < V6_SHARE).tolist()
    out = []
    for row, (network, (a, b, c, d)) in enumerate(zip(chosen.tolist(), draws, strict=True)):
        held = networks[network]
        if dense is not None and dense[row]:
            out.append(f"10.{held.block}.77.{1 + d % 254}")
        elif six[row] and held.kind in {"residential", "mobile"}:
            out.append(f"2001:db8:{held.block << 8 | a:x}:{b << 8 | c:x}::{d + 1:x}")
        else:
            out.append(f"10.{held.block}.{a}.{1 + d % 254}")
    return out
