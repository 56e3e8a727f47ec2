"""The live path against other programs that read the same topic and do nothing, on one real broker.

Floor: bare aiokafka, `getmany`. Beside it stock Faust (`take`), Quix Streams, kafka-python with
crc32c and confluent-kafka, one process each, one after another, in rounds; medians are printed.
Measured: `stillwatch run`, from the access topic through frames and judge to the committed
progress record, with both roles in one process and in two; the latency from an event's
production to the decision about its account; how a backlog of a stop is worked off.
Not measured: more than one encode worker, more than one broker.
Run: `make bench-live`, or `python -m tests.bench.bench_live [--full] [--only kilobyte|bench|latency|lag]
[--rounds N] [--records N] [--peers PYTHON]`; without the peers' environment those in it are left out.
"""

import argparse
import asyncio
import statistics
from pathlib import Path
from typing import Final

from detector.config import Settings
from detector.runtime.kafka.connection import Connection
from tests.bench import live_delay, live_runs, traffic
from tests.bench.live_runs import Speed
from tests.bench.measure import Bar, arguments, at_least, at_most, figure, folder, headline
from tests.integration import brokers

MIX: Final = traffic.Mix(accounts=50_000, shared=400, per_second=10_000)
SIZES: Final = {traffic.KILOBYTE: (400_000, 1_200_000), "bench": (200_000, 600_000)}
FAUST_RECORDS: Final = 40_000
ELSEWHERE: Final = ("quix", "confluent")  # in an environment of their own: their pins differ from ours
OURS: Final = ("one process", "two processes")
FLOOR: Final = "aiokafka"


def measure(connection: Connection, options: argparse.Namespace, at: Path, *, records: int) -> dict[str, list[Speed]]:
    """Run everything once per round."""
    made: dict[str, list[Speed]] = {}
    readers = ["aiokafka", "faust", "kafka-python", *(ELSEWHERE if options.peers.exists() else ())]
    for turn in range(options.rounds or (5 if options.full else 3)):
        for name in readers:
            python = options.peers if name in ELSEWHERE else live_runs.own_python()
            some = min(records, FAUST_RECORDS) if name in ("faust", "quix") else records
            speed = live_runs.reader_speed(name, connection, records=some, python=python)
            made.setdefault(name, []).append(speed)
        for processes, name in enumerate(OURS, 1):
            speed = live_runs.our_speed(connection, at, records=records, processes=processes, name=f"{turn}{processes}")
            made.setdefault(name, []).append(speed)
    return made


def throughput(record: str, options: argparse.Namespace, bootstrap: str, at: Path) -> None:
    """Print the rates over one record."""
    rows = options.records or SIZES[record][options.full]
    connection = Connection(bootstrap=bootstrap, prefix=f"{record}.", state_directory=str(at / record))
    connection = live_runs.fresh(connection, "first")
    size = asyncio.run(live_runs.fill(connection, record, MIX, rows=rows))
    headline(f"throughput, {record} record", events=rows, bytes_per_event=size // rows, partitions=live_runs.PARTITIONS,
             link_keys=traffic.link_keys(record), per_second_of_event_time=MIX.per_second)  # fmt: skip
    made = measure(connection, options, at, records=rows)
    rates = {name: statistics.median(s.rate for s in speeds) for name, speeds in made.items()}
    for name, speeds in made.items():
        ours = name in OURS
        title = f"stillwatch, encode and judge in {name}" if ours else f"{name}, doing nothing"
        figure(title, rates[name], "events/s", ratio=rates[name] / rates[FLOOR])
        spread = " ".join(f"{s.rate:,.0f}" for s in speeds)
        cpu = " + ".join(f"{statistics.median(c):.1f}" for c in zip(*(s.cpu_us for s in speeds), strict=True))
        print(f"      rounds: {spread}; processor time {cpu} us/event")
    bars: tuple[Bar | None, Bar | None] = (None, None)
    if record == traffic.KILOBYTE:
        bars = (at_least(0.3), at_least(4.0))
    figure("two processes to bare aiokafka", rates[OURS[1]] / rates[FLOOR], "", bar=bars[0])
    figure("two processes to stock Faust", rates[OURS[1]] / rates["faust"], "", bar=bars[1])


def latency(options: argparse.Namespace, bootstrap: str, at: Path) -> None:
    """Print how long decisions take."""
    pane_ms, lateness_ms = (Settings().pane_ms, Settings().lateness_ms) if options.full else (2_000, 1_000)
    own_s, newcomers = (pane_ms + lateness_ms) / 1000, 100 if options.full else 40
    headline("latency, from an event's production to the decision that is read", pane_ms=pane_ms,
             lateness_ms=lateness_ms, newcomers=newcomers, processes=2)  # fmt: skip
    settings = ["--set", f"pane_ms={pane_ms}", "--set", f"lateness_ms={lateness_ms}"]
    made = live_delay.delays(bootstrap, at, settings=settings, newcomers=newcomers, patience_s=own_s)
    if len(made.newcomers) > 1:
        cuts = statistics.quantiles(made.newcomers, n=100, method="inclusive")
        figure("newcomer of a known campaign, p50", statistics.median(made.newcomers), "s")
        figure("newcomer of a known campaign, p99", cuts[98], "s", bar=at_most(own_s + 2))
    print(f"      {len(made.newcomers)} of {made.acted} newcomers were decided on")
    if made.discovery is None:
        print("  the campaign was not found")
    else:
        title = "new campaign, from what its members did first in that minute"
        figure(title, made.discovery, "s", bar=at_most(own_s + 62))


def recovery(options: argparse.Namespace, bootstrap: str, at: Path) -> None:
    """Print how a stop is worked off."""
    rate, stop_s = (10_000, 60.0) if options.full else (4_000, 15.0)
    headline("recovery of lag, kilobyte record", events_per_second=rate, stopped_s=int(stop_s), processes=2)
    made = live_delay.lag(bootstrap, at, rate=rate, stop_s=stop_s)
    figure("from the start to the first event", made.start_s, "s")
    figure(f"{made.backlog:,} events behind, worked off in", made.drained_s, "s")
    figure("rate meanwhile", made.rate, "events/s")
    print(f"      {made.rate / rate:.1f} times the rate at which events came")


PARTS: Final = {"latency": latency, "lag": recovery}


def main() -> None:
    """Print everything, on one broker."""

    def own(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--rounds", type=int, default=0, help="rounds of each throughput figure")
        parser.add_argument("--records", type=int, default=0, help="events on the topic")
        parser.add_argument("--peers", type=Path, default=Path(".venv-bench/bin/python"), help="their interpreter")

    options = arguments(__doc__, own)
    said: list[str] = []
    with folder(None) as at, brokers.provided(at / "kafka", said) as bootstrap:
        print("\n".join(f"kafka: {sentence}" for sentence in said))
        if bootstrap is None:
            raise SystemExit("no Kafka: nothing was measured")
        for record in SIZES:
            if record.startswith(options.only):
                throughput(record, options, bootstrap, at)
        for name, part in PARTS.items():
            if name.startswith(options.only):
                part(options, bootstrap, at)


if __name__ == "__main__":
    main()
