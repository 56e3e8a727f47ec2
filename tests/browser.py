"""A real browser for tests: Chromium without a window, driven over its own protocol.

It is found as `chromium`, `chromium-browser` or `google-chrome`, or by STILLWATCH_CHROMIUM. One process
serves many pages; each page is a context of its own, with the width, the colours and the media asked for.
"""

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
VARIABLE = "STILLWATCH_CHROMIUM"
START_S = 30.0
PHONE, DESKTOP = 390, 1280
# As root in a container there is no sandbox to be had; the rest keeps the browser from calling home.
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-port=0", "--remote-allow-origins=*", "--force-color-profile=srgb"),
)


def chromium() -> str | None:
    """Where the browser is; None where there is none."""
    named = os.environ.get(VARIABLE)
    found = (shutil.which(name) for name in ([named] if named else NAMES))
    return next((path for path in found if path is not None), None)


class Page:
    """One tab."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser, self._session = browser, session
        self.requests: list[str] = []  # every address that the page asked for
        self.said: list[str] = []  # what its console, its log and its policy said

    async def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        return await self._browser.ask(method, session=self._session, **parameters)

    async def open(self, address: str) -> None:
        """Go to an address and wait until it is loaded."""
        loaded = self._browser.wait_for(self._session, "Page.loadEventFired")
        await self.ask("Page.navigate", url=address)
        await asyncio.wait_for(loaded, START_S)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is awaited."""
        said = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def press(self, key: str) -> None:
        """Press and let go a key, such as Tab."""
        codes = {"Tab": 9, "Enter": 13, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            words = {"text": text} if text and kind == "keyDown" else {}
            await self.ask("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=codes[key], **words)

    async def picture(self) -> bytes:
        """What the whole page looks like, beyond the window too, as PNG."""
        said = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(said["data"])


class Browser:
    """A running Chromium."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._waiting: dict[tuple[str, str], asyncio.Future[None]] = {}
        self._pages: dict[str, Page] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT:
                continue
            said = message.json()
            if "id" in said:
                self._answers.pop(said["id"]).set_result(said)
                continue
            session, method, what = said.get("sessionId", ""), said["method"], said["params"]
            waiting = self._waiting.pop((session, method), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
            page = self._pages.get(session)
            if page is not None and method == "Network.requestWillBeSent":
                page.requests.append(what["request"]["url"])
            if page is not None and method in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
                page.said.append(str(what))

    def wait_for(self, session: str, method: str) -> asyncio.Future[None]:
        """The next event of a kind on a page."""
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[session, method] = made
        return made

    async def ask(self, method: str, *, session: str = "", **parameters: Any) -> dict[str, Any]:
        """One command of the protocol."""
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        words = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(words | ({"sessionId": session} if session else {}))
        said = await asyncio.wait_for(self._answers[number], START_S)
        assert "error" not in said, (method, said["error"])
        result: dict[str, Any] = said["result"]
        return result

    async def page(
        self, *, width: int = DESKTOP, dark: bool = False, media: str = "", scripts: bool = True, **headers: str
    ) -> Page:
        """A new tab of a width, in light or dark; `media` print for what a printer gets."""
        context = (await self.ask("Target.createBrowserContext"))["browserContextId"]
        target = (await self.ask("Target.createTarget", url="about:blank", browserContextId=context))["targetId"]
        session = (await self.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        made = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            await made.ask(f"{domain}.enable")
        size = {"width": width, "height": 844 if width < 600 else 800, "deviceScaleFactor": 1}
        await made.ask("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        await made.ask("Emulation.setEmulatedMedia", media=media, features=features)
        await made.ask("Emulation.setScriptExecutionDisabled", value=not scripts)
        if headers:
            await made.ask("Network.setExtraHTTPHeaders", headers=headers)
        return made

    async def close(self) -> None:
        """End it."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            await self.ask("Browser.close")
        await self._socket.close()
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run a browser while the block runs."""
    path = chromium()
    assert path is not None, f"no Chromium: install one, or name it with {VARIABLE}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        said = {"stdout": DEVNULL, "stderr": DEVNULL}
        process = await asyncio.create_subprocess_exec(path, *FLAGS, f"--user-data-dir={profile}", **said)
        try:
            async with ClientSession() as client:
                address = await asyncio.wait_for(_address(Path(profile, "DevToolsActivePort")), START_S)
                async with client.ws_connect(address, max_msg_size=0) as socket:
                    browser = Browser(socket)
                    yield browser
                    await browser.close()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
            await process.wait()


async def _address(port_file: Path) -> str:
    """Where a browser that has just started listens."""
    while True:
        found = _lines_of(port_file)
        if len(found) == 2:
            return f"ws://127.0.0.1:{found[0]}{found[1]}"
        await asyncio.sleep(0.05)


def _lines_of(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []
