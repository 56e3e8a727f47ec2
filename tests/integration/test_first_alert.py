"""The traffic of the compose stack, by the stack's own commands: a campaign's alert within three minutes.

Without containers: the same program, topics and log on the tests' broker. What an engine adds, pulling images and
starting them, is not measured here.
"""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from detector.records import Alert, decode
from detector.runtime.kafka.connection import Connection
from tests.conftest import ROOT
from tests.integration.live import environment, read_topic, wait_until, worker

ALERT_S = 180.0


def commands(connection: Connection, folder: Path) -> list[list[str]]:
    """What the service `traffic` runs, here instead of there."""
    (script,) = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]["traffic"]["command"]
    here = script.replace("/tmp/traffic", str(folder))  # noqa: S108 - a place in the container
    generate, produce = (shlex.split(line) for line in here.splitlines())
    assert [generate[:2], produce[:2]] == [["stillwatch-entrypoint", "generate"], ["stillwatch", "produce"]]
    place = ["--bootstrap", connection.bootstrap, "--prefix", connection.prefix]
    return [[sys.executable, "-m", "detector", *generate[1:]], [sys.executable, "-m", "detector", *produce[1:], *place]]


def campaign_of(connection: Connection) -> Alert | None:
    alerts = (decode(record.value, kind=Alert) for record in read_topic(connection, "alerts"))
    return next((alert for alert in alerts if alert.kind == "campaign"), None)


def test_the_stacks_traffic_brings_a_campaign_alert_in_time(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=8)
    generate, produce = commands(connection, tmp_path / "traffic")
    with worker(connection, tmp_path) as live:
        wait_until(live.running, what="a start")
        subprocess.run(generate, env=environment(), check=True, capture_output=True)
        with subprocess.Popen(produce, env=environment(), stdout=subprocess.DEVNULL) as sender:
            try:
                alert = wait_until(lambda: campaign_of(connection), timeout_s=ALERT_S, what="the alert", every_s=1.0)
            finally:
                sender.kill()
        assert live.stop() == 0, live.said()
    assert alert.status == "open"
    assert alert.campaign.accounts >= 10
