"""Topics as inputs: reached as the configuration says, their ranges fixed before anything is read."""

from collections.abc import Sequence
from pathlib import Path

from detector.cli.live import exits, finish, quiet, read_connection
from detector.runtime.kafka import topic_input
from detector.runtime.kafka.reach import reach
from detector.runtime.kafka.topic_input import TopicInputs
from detector.runtime.sources import TOPIC_SCHEME, Opener, open_input


def with_topics(inputs: Sequence[str], *, config: Path | None) -> tuple[list[str], Opener]:
    """Fix the range of every topic among the inputs."""
    quiet()
    topics = TopicInputs(open_input)
    names: list[str] = []
    for name in inputs:
        if not name.startswith(TOPIC_SCHEME):
            names.append(name)
            continue
        with exits():
            address = topic_input.parse(name)
        connection = read_connection(config, bootstrap=address.brokers or None, prefix=None)
        finish(reach(connection))
        with exits():
            names += topics.add(address, connection)
    return names, topics.open
