"""The columns of access.v1: the table of fields, and assembling a batch from the columns at hand."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detector import events


def test_names_are_unique_and_classes_are_the_contracts_four() -> None:
    names = [field.name for field in events.FIELDS]
    assert len(names) == len(set(names))
    assert {"O", "P", "N", "F"} == {field.klass for field in events.FIELDS}


def test_raw_text_has_no_column() -> None:
    assert not {"content", "prompt", "messages", "system", "output", "ext"} & set(events.SCHEMA.names)


def test_four_fields_must_hold_a_value() -> None:
    assert set(events.REQUIRED) == {"event_id", "event_time", "account_id", "request_model"}


def test_times_are_int64_milliseconds() -> None:
    for name in ("event_time", "account_created_at"):
        assert events.SCHEMA.field(name).type == pa.int64()


def test_no_access_event_is_older_than_2015() -> None:
    assert pa.scalar(events.TIME_MS_MIN, pa.timestamp("ms", "UTC")).as_py().isoformat() == "2015-01-01T00:00:00+00:00"


@given(st.sets(st.sampled_from(events.SCHEMA.names)), st.integers(0, 4))
def test_a_batch_has_exactly_the_schema_and_absent_columns_are_null(names: set[str], rows: int) -> None:
    columns = {name: pa.nulls(rows, events.SCHEMA.field(name).type) for name in names}
    batch = events.event_batch(columns, rows=rows)
    assert batch.schema == events.SCHEMA
    assert batch.num_rows == rows
    assert all(column.null_count == rows for column in batch.columns)


def test_columns_are_cast_to_the_schemas_types() -> None:
    batch = events.event_batch({"input_tokens": pa.array([1, 2], pa.int16())}, rows=2)
    assert batch.column("input_tokens").type == pa.int64()
    assert batch.column("input_tokens").to_pylist() == [1, 2]


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="'event_id' has 1 rows, expected 2"):
        events.event_batch({"event_id": pa.array(["e1"])}, rows=2)


def test_a_name_that_is_no_field_is_refused() -> None:
    with pytest.raises(KeyError, match="prompt"):
        events.event_batch({"prompt": pa.array(["text"])}, rows=1)


def test_a_value_that_does_not_fit_the_type_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        events.event_batch({"input_tokens": pa.array(["many"])}, rows=1)
