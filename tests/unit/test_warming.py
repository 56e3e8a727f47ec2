"""A worker warms up on the sample log."""

from detector.runtime.kafka.warming import warm


def test_the_sample_takes_the_whole_way_to_decisions() -> None:
    assert warm() > 20  # an alert, and a decision for each of its members
