"""The real LiteLLM proxy enforces decisions and tells what became of each request."""

from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa

from detector.decode import decode_text
from detector.fingerprint import Content, fingerprint
from detector.hashing import DEVELOPMENT_KEY
from detector.records import DecisionParams
from detector.runtime.kafka.connection import Connection
from tests.integration.litellm_proxy import ANSWER, proxy
from tests.integration.live import read_topic, wait_until
from tests.integration.test_enforce import current, publish

PROMPT = "Explain step by step how a bill becomes a law in 12 lines of text"


def test_the_proxy_enforces_decisions_and_tells_what_became_of_each_request(
    installation: Callable[..., Connection], tmp_path: Path
) -> None:
    connection = installation(partitions=1)
    system = {"role": "system", "content": "Be brief. It is 2026."}
    with proxy(connection, tmp_path) as gateway:
        passed = gateway.ask("a-1", PROMPT, max_tokens=50, temperature=0.5)
        assert (passed.status, passed.body["choices"][0]["message"]["content"]) == (200, ANSWER)
        messages = [system, {"role": "user", "content": PROMPT}]
        assert gateway.ask("a-1", "", messages=messages, stream=True).status == 200

        publish(connection, current("a-1", decision_id="d-1"))
        refused = wait_until(lambda: (got := gateway.ask("a-1", PROMPT)).status == 403 and got, what="the decision")
        assert "d-1" in str(refused.body)
        assert refused.headers["x-stillwatch-decision"] == "d-1"
        assert gateway.ask("a-9", PROMPT).status == 200
        publish(connection, current("a-1", decision_id="d-1", seq=2, state="revoked"))
        wait_until(lambda: gateway.ask("a-1", PROMPT).status == 200, what="the revoke")

        slow = DecisionParams(requests_per_minute=2, retry_after_s=60)
        publish(connection, current("a-2", action="throttle", decision_id="d-2", params=slow))
        wait_until(lambda: (got := gateway.ask("a-2", PROMPT)).status == 429 and got, every_s=0.05, what="the throttle")

        publish(connection, current("a-3", action="block"))
        wait_until(lambda: gateway.ask("a-3", PROMPT).status == 403, what="the block")
        publish(connection, control=b'{"enforcement":"off","since":0,"by":"kim","reason":"drill"}')
        wait_until(lambda: gateway.ask("a-3", PROMPT).status == 200, what="the kill switch")
        wait_until(lambda: len(read_topic(connection, "access")) >= 10, what="events", timeout_s=20)
    raws = [record.value for record in read_topic(connection, "access")]
    assert not [raw for raw in raws if b"law" in raw or b"fox" in raw or b"brief" in raw]
    assert not decode_text(b"\n".join(raws)).rejects
    told = [orjson.loads(raw) for raw in raws]
    assert {(e["account_id"], e["disposition"], e.get("decision_id")) for e in told} >= {
        ("a-1", "allowed", None),
        ("a-1", "challenged", "d-1"),
        ("a-9", "allowed", None),
        ("a-2", "throttled", "d-2"),
        ("a-3", "blocked", "d-a-3"),
        ("a-3", "allowed", None),
    }
    first = next(e for e in told if e["account_id"] == "a-1")
    columns = Content(*(pa.array([text], pa.string()) for text in (None, PROMPT, ANSWER)))
    made = {name: column[0].as_py() for name, column in fingerprint(columns, key=DEVELOPMENT_KEY).items()}
    for name in ("prompt_fp", "template_fp", "prompt_lang", "prompt_chars", "visible_output_chars", "fp_key_id"):
        assert first[name] == made[name]
    assert first["output_run_fps"] == [f"{value:016x}" for value in made["output_run_fps"]]
    assert (first["max_tokens"], first["temperature"], first["account_tier"]) == (50, 0.5, "paygo")
    assert first["request_model"] == "frontier-1"
    assert len({event["event_id"] for event in told}) == len(told)
    streamed = next(e for e in told if e.get("stream"))
    assert streamed["system_prompt_fp"]
    assert streamed["output_run_fps"] == first["output_run_fps"]
