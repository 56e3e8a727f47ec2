"""CrowdSec's own bouncer library pulls our decisions, and lets go of those that are taken back."""

import subprocess
from collections.abc import Callable

import pytest

from tests.integration.gateways import python
from tests.integration.live import wait_until
from tests.unit.test_enforce_server import Enforcer, current, enforcer

__all__ = ["enforcer"]
# Answers each line with the action for it.
BOUNCER = """
import sys
from pycrowdsec.client import StreamClient
client = StreamClient(api_key="k3y", lapi_url=sys.argv[1] + "/", interval=1, scopes=("ip", "range", "username"))
client.run()
for line in sys.stdin:
    print(client.get_action_for(line.strip()), flush=True)
"""


@pytest.mark.timeout(600)  # as in test_litellm
@pytest.mark.parametrize("enforcer", ["last_state"], indirect=True)
def test_a_bouncer_applies_what_stands_and_forgets_what_is_revoked(enforcer: Enforcer) -> None:
    enforcer.tell(current("10.1.2.0/24", scope="subnet"), current("10.9.9.9/32", scope="subnet", action="block"))
    enforcer.tell(current("a-1", action="throttle"))
    wait_until(lambda: len(enforcer.pull("/v1/decisions?scope=Range") or []) == 1, what="the copy")
    wait_until(lambda: enforcer.pull("/v1/decisions?ip=10.9.9.9"), what="the copy")
    wait_until(lambda: enforcer.pull("/v1/decisions?value=a-1"), what="the copy")
    command = str(python()), "-c", BOUNCER, enforcer.url
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def action(item: str) -> str:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(item + "\n")
            process.stdin.flush()
            return process.stdout.readline().strip()

        def becomes(item: str, wanted: str) -> Callable[[], bool]:
            return lambda: action(item) == wanted

        try:
            assert [action(item) for item in ("10.1.2.7", "10.9.9.9", "a-1")] == ["captcha", "ban", "throttle"]
            assert action("10.8.8.8") == "None"
            enforcer.tell(
                current("10.1.2.0/24", scope="subnet", seq=2, state="revoked"), current("10.7.0.0/16", scope="subnet")
            )
            wait_until(becomes("10.1.2.7", "None"), what="the revoke")
            wait_until(becomes("10.7.1.1", "captcha"), what="the next decision")
            assert action("10.9.9.9") == "ban"
        finally:
            process.kill()
