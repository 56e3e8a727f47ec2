"""Real gateways in an environment of their own, whose pins are not ours: LiteLLM's proxy, Envoy, CrowdSec's library.

The environment is made once from `requirements-gateways.lock`, by uv where it is at hand, which takes a quarter of
pip's time; STILLWATCH_TEST_GATEWAYS names a Python that has all of it already.
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

VARIABLE = "STILLWATCH_TEST_GATEWAYS"
LOCK = ROOT / "requirements-gateways.lock"
HOME = ROOT / ".venv-gateways"
ANSWER = "The quick brown fox jumps over the lazy dog and goes home to sleep"
MASTER_KEY = "sk-0123456789abcdef0123456789abcdef"
CONFIG = f"""
model_list:
  - model_name: frontier-1
    litellm_params: {{model: openai/frontier-1, api_key: none, mock_response: "{ANSWER}"}}
litellm_settings: {{callbacks: detector.enforce.litellm_callback.callback, telemetry: false}}
general_settings: {{custom_auth: who.allow, master_key: {MASTER_KEY}}}
"""
# Keys without a database: each key's user is what stands behind `sk-`.
WHO = """
from litellm.proxy._types import UserAPIKeyAuth

async def allow(request, api_key):
    user = api_key.removeprefix("sk-")
    return UserAPIKeyAuth(api_key=api_key, user_id=user, metadata={"stillwatch": {"account_tier": "paygo"}})
"""

KEYS_CONFIG = f"""
model_list:
  - model_name: frontier-1
    litellm_params: {{model: openai/frontier-1, api_key: none, mock_response: "{ANSWER}"}}
litellm_settings: {{callbacks: tables.nothing, telemetry: false}}
general_settings: {{master_key: {MASTER_KEY}}}
"""
# The proxy's own keys and management API, with its table of keys in memory: its database client is Prisma's, whose
# engine no package registry has. Only what the proxy calls is there.
TABLES = """
import hashlib
import sys
import types

from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy import proxy_server
from litellm.proxy._types import LiteLLM_VerificationToken, LiteLLM_VerificationTokenView


class Errors(types.ModuleType):
    def __getattr__(self, name):
        return type(name, (Exception,), {})


prisma, engine, errors = types.ModuleType("prisma"), types.ModuleType("prisma.engine"), Errors("prisma.errors")
prisma.errors, prisma.engine, engine.errors = errors, engine, errors
sys.modules |= {"prisma": prisma, "prisma.errors": errors, "prisma.engine": engine, "prisma.engine.errors": errors}


class Keys:
    rows = {}

    async def find_unique(self, where, **_):
        return self.rows.get(where["token"])

    async def find_many(self, where, **_):
        user = str(where).partition("'user_id': '")[2].partition("'")[0]
        return [row for row in self.rows.values() if row.user_id == user]

    async def count(self, where, **_):
        return len(await self.find_many(where))

    async def update(self, where, data, **_):
        row = self.rows[where["token"]]
        for name, value in data.items():
            setattr(row, name, value)
        return row


class Empty:
    def __getattr__(self, name):
        async def nothing(*_, **__):
            return [] if name == "find_many" else None
        return nothing


class Db(Empty):
    litellm_verificationtoken = Keys()

    def __getattr__(self, name):
        return Empty()


class Tables(Empty):
    db = Db()
    spend_log_transactions = []

    async def get_data(self, token=None, **_):
        row = Keys.rows.get(token)
        return row and LiteLLM_VerificationTokenView(**row.model_dump())

    async def update_data(self, token=None, data=None, **_):
        row = Keys.rows[token]
        for name, value in data.items():
            setattr(row, name, value)
        return {"token": token, "data": row}


@proxy_server.app.post("/made/{user}")
async def make(user: str):
    proxy_server.prisma_client = proxy_server.prisma_client or Tables()
    token = hashlib.sha256(f"sk-{user}".encode()).hexdigest()
    Keys.rows[token] = LiteLLM_VerificationToken(token=token, user_id=user.partition(".")[0])
    return token


nothing = CustomLogger()
"""


def python() -> Path:
    """The Python that has the gateways; its environment is made if need be."""
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

    def make(self, user: str) -> None:
        """Give a user the key `sk-USER`; what follows a dot tells the keys of one user apart."""
        made = urllib3.request("POST", f"http://127.0.0.1:{self.port}/made/{user}", retries=False, timeout=30)
        assert made.status == 200, made.data

    def live(self) -> bool:
        """Whether it answers."""
        try:
            return (
                urllib3.request("GET", f"http://127.0.0.1:{self.port}/health/liveliness", retries=False).status == 200
            )
        except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError):
            return False


@contextmanager
def running(*command: str, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A gateway's process that ends with the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=log.parent,
            stdout=file,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the tests start no threads that hold locks
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return int(held.getsockname()[1])


@contextmanager
def proxy(connection: Connection, folder: Path) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    (folder / "who.py").write_text(WHO)
    environment = {
        "PYTHONPATH": str(ROOT),
        "STILLWATCH_BOOTSTRAP": connection.bootstrap,
        "STILLWATCH_TOPIC_PREFIX": connection.prefix,
        "STILLWATCH_FINGERPRINT_KEY": DEVELOPMENT_KEY.hex(),
    }
    with _started(folder, CONFIG, environment) as made:
        yield made


@contextmanager
def proxy_with_keys(folder: Path) -> Iterator[Proxy]:
    """Run a proxy that has keys of its own, until the block ends; `Proxy.make` makes one."""
    (folder / "tables.py").write_text(TABLES)
    with _started(folder, KEYS_CONFIG, {}) as made:
        yield made


@contextmanager
def _started(folder: Path, config: str, environment: dict[str, str]) -> Iterator[Proxy]:
    (folder / "config.yaml").write_text(config)
    port, log = free_port(), folder / "proxy.log"
    environment["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    command = str(python().with_name("litellm")), "--config", str(folder / "config.yaml"), "--port", str(port)
    with running(*command, log=log, **environment) as process:
        made = Proxy(port)
        wait_until(lambda: made.live() or process.poll() is not None, timeout_s=240, what="LiteLLM")
        assert process.poll() is None, log.read_text()[-3000:]
        yield made
