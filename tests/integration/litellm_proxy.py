"""A real LiteLLM proxy with our callback, in an environment of its own: its pins are not ours.

The environment is made once from `requirements-litellm.lock`, by uv where it is at hand, which
takes a quarter of pip's time; STILLWATCH_TEST_LITELLM names a Python that has all of it already.
"""

import hashlib
import http.client
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import urllib3

from detector.hashing import DEVELOPMENT_KEY
from detector.runtime.kafka.connection import Connection
from tests.conftest import ROOT
from tests.integration.live import end_with_parent, wait_until

VARIABLE = "STILLWATCH_TEST_LITELLM"
LOCK = ROOT / "requirements-litellm.lock"
HOME = ROOT / ".venv-litellm"
ANSWER = "The quick brown fox jumps over the lazy dog and goes home to sleep"
CONFIG = f"""
model_list:
  - model_name: frontier-1
    litellm_params: {{model: openai/frontier-1, api_key: none, mock_response: "{ANSWER}"}}
litellm_settings: {{callbacks: detector.enforce.litellm_callback.callback, telemetry: false}}
general_settings: {{custom_auth: who.allow, master_key: sk-0123456789abcdef0123456789abcdef}}
"""
# Keys without a database: each key's user is what stands behind `sk-`.
WHO = """
from litellm.proxy._types import UserAPIKeyAuth

async def allow(request, api_key):
    user = api_key.removeprefix("sk-")
    return UserAPIKeyAuth(api_key=api_key, user_id=user, metadata={"stillwatch": {"account_tier": "paygo"}})
"""


def python() -> Path:
    """The Python that has LiteLLM; its environment is made if need be."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    found, stamp = HOME / "bin" / "python", HOME / "lock"
    digest = hashlib.blake2b(LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return found
    shutil.rmtree(HOME, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
    if importlib.util.find_spec("uv") is not None:
        install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(found)]
    else:
        install = [str(found), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK)], check=True)
    stamp.write_text(digest)
    return found


class Answered(NamedTuple):
    """What the proxy answered."""

    status: int
    body: Any
    headers: Any


class Proxy(NamedTuple):
    """A running proxy."""

    port: int

    def ask(self, user: str, prompt: str, **more: Any) -> Answered:
        """One chat request of a user."""
        body = {"model": "frontier-1", "messages": [{"role": "user", "content": prompt}], **more}
        answer = urllib3.request(
            "POST",
            f"http://127.0.0.1:{self.port}/v1/chat/completions",
            body=orjson.dumps(body),
            headers={"Authorization": f"Bearer sk-{user}", "Content-Type": "application/json"},
            retries=False,
            timeout=30,
        )
        raw = answer.data
        return Answered(answer.status, orjson.loads(raw) if raw.startswith(b"{") else raw, answer.headers)

    def live(self) -> bool:
        """Whether it answers."""
        try:
            return (
                urllib3.request("GET", f"http://127.0.0.1:{self.port}/health/liveliness", retries=False).status == 200
            )
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError):
            return False


@contextmanager
def proxy(connection: Connection, folder: Path) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "who.py").write_text(WHO)
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = int(held.getsockname()[1])
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "STILLWATCH_BOOTSTRAP": connection.bootstrap,
        "STILLWATCH_TOPIC_PREFIX": connection.prefix,
        "STILLWATCH_FINGERPRINT_KEY": DEVELOPMENT_KEY.hex(),
    }
    log = folder / "proxy.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [str(python().with_name("litellm")), "--config", str(folder / "config.yaml"), "--port", str(port)],
            env=environment,
            cwd=folder,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the tests start no threads that hold locks
        )
        try:
            made = Proxy(port)
            wait_until(lambda: made.live() or process.poll() is not None, timeout_s=120, what="LiteLLM")
            assert process.poll() is None, log.read_text()[-3000:]
            yield made
        finally:
            process.kill()
            process.wait()
