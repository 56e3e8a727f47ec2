"""The real LiteLLM proxy's own blocks and limits, over its management API; its table of keys is in memory."""

from pathlib import Path

import pytest

from detector.enforce.client import now_ms
from detector.enforce.leases import CONTROL_KEY
from detector.enforce.litellm_keys import LitellmCopy
from detector.records import DecisionParams
from tests.integration.gateways import MASTER_KEY, Proxy, proxy_with_keys
from tests.integration.live import wait_until
from tests.unit.test_copies import current, pushing


def status(proxy: Proxy, user: str) -> int:
    return proxy.ask(user, "hello").status


@pytest.mark.timeout(600)  # an environment may have to be made first
def test_the_proxy_blocks_and_limits_keys_as_decisions_say_and_gives_them_back(tmp_path: Path) -> None:
    with proxy_with_keys(tmp_path) as proxy:
        for user in ("a-1", "a-1.second", "a-2", "a-3"):
            proxy.make(user)
        assert [status(proxy, user) for user in ("a-1", "a-1.second", "a-2", "a-3")] == [200] * 4
        copy = LitellmCopy(f"http://127.0.0.1:{proxy.port}", admin_key=MASTER_KEY, journal=tmp_path / "journal")
        with pushing(copy) as live:
            live.tell(current())
            wait_until(lambda: [status(proxy, u) for u in ("a-1", "a-1.second")] == [401, 401], what="the block")
            assert "blocked" in str(proxy.ask("a-1", "hello").body)
            assert status(proxy, "a-2") == 200
            live.tell(current(seq=2, expires_at=now_ms() + 2_000))  # a renewal, whose end comes
            wait_until(lambda: [status(proxy, u) for u in ("a-1", "a-1.second")] == [200, 200], what="its end")

            slow = DecisionParams(requests_per_minute=2, retry_after_s=60)
            live.tell(current("a-2", action="throttle", params=slow))
            wait_until(lambda: status(proxy, "a-2") == 429, every_s=0.05, what="the throttle")
            live.tell(current("a-3", action="block"))
            wait_until(lambda: status(proxy, "a-3") == 401, what="the block")
            live.tell_raw(CONTROL_KEY, b'{"enforcement":"off","since":0,"by":"kim","reason":"drill"}')
            wait_until(lambda: [status(proxy, u) for u in ("a-2", "a-3")] == [200, 200], what="the kill switch")
        assert copy.kept == {}
