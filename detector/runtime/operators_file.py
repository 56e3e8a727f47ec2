"""Recorded operators' records: a file of JSON lines -> frames for every tenant's judge.

Purpose: the file side of the operators' topics, for `replay --operators`.
Invariants: a line that is no record becomes a reject with its number and reason; the
order of lines plays no part beyond equal ingest times.
Limits: the whole file is held in memory; 64 KiB per record.
Source: the record contract's `--operators FILE`.
"""

from pathlib import Path
from typing import NamedTuple

from detector.encode_operators import encode_operators
from detector.formats import CANONICAL
from detector.frames import OperatorFrame
from detector.operators import Fault, Received, read, tenant_of
from detector.records import Reject
from detector.runtime.sources import InputError, open_input, reject_record


class Recorded(NamedTuple):
    """A file's records by line, and what was wrong with the other lines."""

    name: str
    received: list[tuple[int, Received]]
    rejects: list[Reject]
    stop: int

    def frame(self, tenant: str, *, key: bytes) -> OperatorFrame:
        """What concerns a tenant, as one frame whose records wait for their time."""
        return encode_operators(
            self.received, tenant=tenant, source=self.name, first=1, stop=self.stop, key=key, timed=True
        )


def read_operators(path: Path, *, tenants: tuple[str, ...]) -> Recorded:
    """Read a file of operators' records. Raises `InputError` where it cannot be opened or is no text."""
    name = str(path)
    received: list[tuple[int, Received]] = []
    rejects: list[Reject] = []
    stop = 1
    for block in open_input(name, form=CANONICAL):
        if not isinstance(block.data, bytes):
            raise InputError(f"operators' records {name}: expected JSON lines")
        rejects += [reject_record(r, block=block) for r in block.rejects]
        for line, raw in enumerate(block.data.split(b"\n"), block.first):
            stop = max(stop, line + 1)
            if not raw.strip():
                continue
            found = read(raw)
            if isinstance(found, Received) and tenants and tenant_of(found.record) not in (None, *tenants):
                found = Fault("unknown_tenant", "tenant")
            if isinstance(found, Fault):
                rejects.append(Reject(source=name, line=line, reason=found.reason, field=found.field))
            else:
                received.append((line, found))
    return Recorded(name, received, rejects, stop)
