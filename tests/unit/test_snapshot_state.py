"""What a snapshot holds, against what a judge is made of: whoever adds to one must add to the other."""

import numpy as np

from detector.config import Settings
from detector.judge import Judge
from detector.snapshot.changes import blank_digests, digests_of, take_digests
from detector.snapshot.state import INTEGERS, parts_of, tables_of
from tests.laws.streams import KEY, SETTINGS

# What is no integer, by part: a table's column, a field of the state, or what follows from settings and columns.
ELSEWHERE = {
    "judge": "tenant settings config_hash buffer accounts links population model cases ask tails registrations passed",
    "cases": "tenant settings config_hash accounts links population tails coverage "
    "campaigns ledger desk freshness outlet recent outputs stamps closed_members",
    "buffer": "pane_ms lateness_ms skew_ms_max store sources panes away rows_away rows late_by_pane refused",
    "population": "accounts fired",
    "tails": "sizes points fired bins",
    "registrations": "domains counts",
    "accounts": "index stats prompts template_keys template_counts template_errors touched n_touched",
    "links": "index stats small pools large sketches free touched n_touched gate gate_load generation_ms",
}


def test_every_attribute_of_the_judge_is_held_or_follows_from_what_is() -> None:
    for name, part in parts_of(Judge("t", ("s",), Settings())).items():
        assert {*vars(part)} == {*INTEGERS[name], *ELSEWHERE[name].split()}, name


def test_every_array_of_a_table_is_a_column() -> None:
    judge = Judge("t", ("s",), SETTINGS)
    held = {id(a.base if a.base is not None else a) for t in tables_of(judge) for a in t.columns.values()}
    derived = {"touched", "free"}
    for part in (judge.accounts, judge.links, judge.population):
        arrays = {n: a for n, a in vars(part).items() if isinstance(a, np.ndarray)}
        missing = {n for n, a in arrays.items() if id(a) not in held and id(a.base) not in held}
        assert missing <= derived


def test_an_empty_judge_has_the_digests_of_empty_rows_and_one_changed_cell_is_seen() -> None:
    judge = Judge("t", ("s",), SETTINGS)
    blank = blank_digests(judge, key=KEY, allocate=lambda rows: np.empty(rows, np.uint64))
    for table in tables_of(judge):
        rows = len(next(iter(table.columns.values())))
        assert np.array_equal(digests_of(table, 0, rows, key=KEY), blank[table.name])
        for array in table.columns.values():
            array.reshape(rows, -1)[rows // 2, -1] ^= 1
            changed = np.flatnonzero(digests_of(table, 0, rows, key=KEY) != blank[table.name])
            assert changed.tolist() == [rows // 2]
            array.reshape(rows, -1)[rows // 2, -1] ^= 1
    now = {name: held.copy() for name, held in blank.items()}
    take_digests(judge, now, key=KEY)
    assert all(np.array_equal(now[name], blank[name]) for name in now)
