"""A limiter's lookup among many decisions: what it adds to each request.

Floor: one look into a dict of as many keys, for each attribute that is asked.
Measured: processor time of `LeaseTable.lookup` with the attributes of a request (account, key, organisation, end user,
address), none held, one held, and with subnets of several lengths among the decisions.
Run: `python -m tests.bench.bench_lookup [--full] [--decisions N]`.
"""

import argparse
from collections.abc import Mapping

from detector.enforce.leases import LeaseTable
from tests.bench.measure import arguments, at_most, figure, headline, seconds
from tests.unit.leasing import HOUR, decision, put

BAR_US = 5.0
ASKED = 20_000


def main() -> None:
    """Print microseconds a request."""
    given = arguments(__doc__, options)
    count, asked = given.decisions, ASKED * (10 if given.full else 1)
    headline("a request's strictest decision", decisions=count, requests=asked)
    table = filled(count, subnets=False)
    rows = [{"account": f"x-{n}", "api_key": f"k-{n}", "org": f"o-{n}", "end_user": f"u-{n}"} for n in range(asked)]
    plain = {(("default", f"a-{n}")): n for n in range(count)}
    floor = 1e6 * seconds(lambda: [[plain.get(("default", value)) for value in row.values()] for row in rows]) / asked
    figure("floor: a dict for each attribute", floor, "us")
    show("nothing held", table, rows, floor)
    show("one held", table, [row | {"account": f"a-{n % count}"} for n, row in enumerate(rows)], floor)
    mixed = filled(count, subnets=True)
    addressed = [row | {"subnet": f"10.{n % 250}.{n // 250 % 250}.7"} for n, row in enumerate(rows)]
    show("with an address, subnets of three lengths held", mixed, addressed, floor)


def filled(count: int, *, subnets: bool) -> LeaseTable:
    """So many leases in force: accounts, and of each ten a key and an organisation; with subnets instead of some."""
    table = LeaseTable()
    for number in range(count):
        scope = ("account", "account", "api_key", "org")[number % 4] if number % 10 > 7 else "account"
        value = f"a-{number}"
        if subnets and number % 10 == 3:
            length = (24, 20, 28)[number // 10 % 3]
            scope, value = "subnet", f"172.{number >> 16 & 15}.{number >> 8 & 255}.{number & 240}/{length}"
        put(table, decision(value, scope=scope))
    return table


def show(name: str, table: LeaseTable, rows: list[Mapping[str, str]] | list[dict[str, str]], floor: float) -> None:
    """Print the time of one lookup."""
    took = seconds(lambda: [table.lookup(row, model="m", now_ms=HOUR) for row in rows])
    value = 1e6 * took / len(rows)
    figure(name, value, "us", ratio=value / floor, bar=at_most(BAR_US))


def options(parser: argparse.ArgumentParser) -> None:
    """This bench's own options."""
    parser.add_argument("--decisions", type=int, default=100_000, help="how many stand")


if __name__ == "__main__":
    main()
