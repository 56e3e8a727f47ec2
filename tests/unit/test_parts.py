"""What is divided between tuning, validation and test is divided as written down."""

import hashlib
import itertools

from detector.tuning.generate import texts, wording
from detector.tuning.generate.parts import DIVISION, PARTS, Ranges
from detector.tuning.generate.rewording import _CLAUSES
from tests.conftest import data_path


def ids_of(part: str) -> list[str]:
    return sorted({str(row["id"]) for row in texts.read_rows(data_path()) if texts.part_of(str(row["id"])) == part})


def test_the_rows_of_each_part_are_those_that_were_counted() -> None:
    for name, part in DIVISION.items():
        ids = ids_of(name)
        digest = hashlib.blake2b("\n".join(ids).encode(), digest_size=16).hexdigest()
        assert (len(ids), digest) == (part.rows, part.digest), name


def test_no_two_parts_share_a_seed_or_a_parameter() -> None:
    parts = DIVISION
    offsets = sorted(part.seed_offset for part in parts.values())
    assert all(later - earlier >= 1_000_000_000 for earlier, later in itertools.pairwise(offsets))
    for name in Ranges._fields:
        spans = sorted(getattr(part.ranges, name) for part in parts.values())
        assert all(one[1] < other[0] for one, other in itertools.pairwise(spans)), name


def test_no_two_parts_share_a_wording() -> None:
    def all_of(part: int) -> set[str]:
        held = [text if isinstance(text, tuple) else (text,) for text in wording.wording(part)]
        return {*itertools.chain(*held), *itertools.chain(*_CLAUSES[part])}

    for one, other in itertools.combinations(range(len(PARTS)), 2):
        assert not all_of(one) & all_of(other)
