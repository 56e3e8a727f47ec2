"""How often, how long, how fast: measured rates and the shapes drawn from them.

Purpose: read the published traces (a folder `traces/` beside the prompts) and offer, as
tables, the hour-of-week profiles of clients and the quantiles of output lengths and gaps.
Invariants: every table is a function of the files alone; a profile has mean 1 over its week.
Limits: traces carry no account, so a profile is one client's shape and never its volume.
Source: ServeGen (per-client rates and lengths of a production service), Azure LLM inference
trace 2023 (conversation), VTC arena arrivals, the tau-bench agent trace, Vidur's arXiv
summarisation lengths.
"""

import csv
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from detector.tuning.generate.columns import F64, I64

WEEK_HOURS = 168
QUANTILES = 65
ZONES = 24
CHAT_OUT, ARENA_OUT, AGENT_OUT, SUMMARY_OUT, LONG_OUT, TUTOR_OUT, CODE_OUT = range(7)
OWN_LENGTHS = 7


class Rates(NamedTuple):
    """Tables that populations index.

    `weights` (profiles, 168): relative rate per hour of the week. Rows 0..23 are people in
    the time zone UTC + row; row 24 is flat; rows 25.. are published clients.
    `outputs` (lengths, 65): quantiles of visible output tokens. Rows 0..6 as named above;
    rows 7.. are published clients in the order of `weights`. `agent_gap_s` (65): quantiles.
    """

    weights: F64
    outputs: F64
    agent_gap_s: F64

    @property
    def clients(self) -> int:
        """Number of published clients."""
        return int(self.weights.shape[0]) - ZONES - 1

    def nearest_output(self, *, median: float) -> int:
        """The row of `outputs` of the published client whose median length is nearest."""
        medians = self.outputs[OWN_LENGTHS:, QUANTILES // 2]
        return OWN_LENGTHS + int(np.abs(np.log(medians / median)).argmin())


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as lines:
        yield from csv.DictReader(lines)


def _quantiles(values: list[float]) -> F64:
    return np.quantile(np.asarray(values, float), np.linspace(0, 1, QUANTILES))


def _lognormal(*, median: float, sigma: float, low: float, high: float) -> F64:
    """Quantiles of a clipped log-normal, for what no trace at hand shows."""
    normal = np.random.default_rng(5).standard_normal(40_001)  # seeded on purpose: a fixed table
    return np.asarray(
        np.clip(np.quantile(median * np.exp(sigma * normal), np.linspace(0, 1, QUANTILES)), low, high), float
    )


def _people() -> F64:
    """Hour-of-week weights of people by time zone: awake from 7 to 24, most at work and in the evening."""
    hour = np.array([1, 0.6, 0.4, 0.3, 0.3, 0.4, 0.8, 2, 4, 6, 7, 7, 6, 6.5, 7, 7, 6.5, 6, 5, 5, 5.5, 5.5, 4.5, 2.5])
    day = np.array([1.1, 1.15, 1.15, 1.1, 1.0, 0.7, 0.75])
    week = (day[:, None] * hour[None, :]).reshape(-1)
    table = np.stack([np.roll(week, -zone) for zone in range(ZONES)])
    return np.asarray(table / table.mean(axis=1, keepdims=True), float)


def _clients(folder: Path) -> tuple[F64, F64]:
    """Profiles and output quantiles of the published clients that have both."""
    sums: dict[str, F64] = {}
    for row in _rows(folder / "servegen_m_small_client_rates.csv.gz"):
        week = sums.setdefault(row["client"], np.zeros(WEEK_HOURS))
        week[int(float(row["window_start_s"]) // 3600) % WEEK_HOURS] += float(row["rate_rps"])
    levels = ("out_p10", "out_p50", "out_p90", "out_p99")
    lengths: dict[str, list[list[float]]] = {}
    for row in _rows(folder / "servegen_m_small_client_lengths.csv.gz"):
        lengths.setdefault(row["client"], []).append([float(row[name]) for name in levels])
    weights, outputs = [], []
    for client in sorted(sums.keys() & lengths.keys()):
        if np.count_nonzero(sums[client]) < 24:  # seen for less than a day of the week: no shape
            continue
        weights.append(sums[client] / sums[client].mean())
        points = np.median(np.asarray(lengths[client]), axis=0)
        at = np.linspace(0, 1, QUANTILES)
        outputs.append(np.interp(at, (0.0, 0.1, 0.5, 0.9, 0.99, 1.0), np.r_[1, points, points[-1] * 1.2]))
    return np.asarray(weights), np.maximum(np.asarray(outputs), 1)


def _agents(path: Path) -> tuple[F64, F64]:
    """Quantiles of an agent's output tokens and of the gaps within its runs, in seconds."""
    tokens, gaps = [], []
    before: dict[str, str] | None = None
    for row in _rows(path):
        tokens.append(max(float(row["output_chars"]) / 4, 8.0))
        if before is not None and before["run"] == row["run"]:
            gap_s = (float(row["timestamp_us"]) - float(before["timestamp_us"])) / 1e6
            # Calls of one run overlap in the trace; a gap below 0.3 s is a parallel call.
            gaps.append(max(gap_s, 0.3))
        before = row
    return _quantiles(tokens), _quantiles(gaps)


def load(folder: Path) -> Rates:
    """Read the traces in `folder/traces`, or in `folder` itself. Raises `FileNotFoundError` that names what lacks."""
    traces = folder / "traces" if (folder / "traces").is_dir() else folder
    weights, outputs = _clients(traces)
    arena = _quantiles([float(r["output_len"]) for r in _rows(traces / "vtc_arena_arrivals.csv.gz")])
    agent, gap_s = _agents(traces / "agent_calls_taubench.csv.gz")
    azure = traces / "azure_llm_2023_conv_part1.csv.gz"
    vidur = traces / "vidur_arxiv_summarization_lengths.csv.gz"
    # The sample that ships leaves out what is large or under other licences; the arena stands in.
    chat = _quantiles([float(r["GeneratedTokens"]) for r in _rows(azure)]) if azure.exists() else arena
    summary = _quantiles([float(r["num_decode_tokens"]) for r in _rows(vidur)]) if vidur.exists() else arena
    own = np.stack(
        [
            np.maximum(chat, 1),
            np.maximum(arena, 1),
            agent,
            np.maximum(summary, 1),
            _lognormal(median=900, sigma=0.45, low=80, high=6_000),  # reasoning written out, worked solutions
            _lognormal(median=420, sigma=0.6, low=20, high=4_000),
            _lognormal(median=350, sigma=1.0, low=10, high=8_000),
        ]
    )
    assert own.shape[0] == OWN_LENGTHS
    flat = np.ones((1, WEEK_HOURS))
    return Rates(
        weights=np.concatenate([_people(), flat, weights]),
        outputs=np.concatenate([own, outputs]),
        agent_gap_s=gap_s,
    )


def draw(table: F64, *, row: I64, u: F64) -> F64:
    """Invert quantile functions: entry `row[i]` of `table` at probability `u[i]`, linearly between quantiles."""
    at = u * (table.shape[1] - 1)
    low = np.minimum(at.astype(np.int64), table.shape[1] - 2)
    share = at - low
    return np.asarray(table[row, low] * (1 - share) + table[row, low + 1] * share, float)
