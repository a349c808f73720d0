"""A headless Chromium, driven through its DevTools protocol."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Self

from tornado.websocket import websocket_connect

PROGRAM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
_TROUBLE = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")


class Browser:
    """One page of a browser; everything is synchronous."""

    def __init__(self) -> None:
        assert PROGRAM
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._process = subprocess.Popen(
            [PROGRAM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0",
             f"--user-data-dir={self._profile.name}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._loop = asyncio.new_event_loop()
        self._number, self._events = 0, list[dict[str, Any]]()
        self._socket = self._loop.run_until_complete(self._connect())
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.run_until_complete(self._disconnect())
        self._process.terminate()
        self._process.wait()
        self._loop.close()
        self._profile.cleanup()

    async def _connect(self) -> Any:
        port_file = Path(self._profile.name) / "DevToolsActivePort"
        for _ in range(300):
            if port_file.exists() and port_file.read_text().strip():
                break
            await asyncio.sleep(0.1)
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as reply:
            page = next(one for one in json.load(reply) if one["type"] == "page")
        return await websocket_connect(page["webSocketDebuggerUrl"], max_message_size=2**28)

    async def _disconnect(self) -> None:
        """Close the socket inside its loop: outside, it would make a future of another loop."""
        self._socket.close()
        while await self._socket.read_message() is not None:
            pass  # until the browser has closed its side, too

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; return its result."""
        return self._loop.run_until_complete(self._call(method, parameters))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        await self._socket.write_message(json.dumps(request))
        while True:
            message = await self._receive()
            if message.get("id") == request["id"]:
                assert "error" not in message, message
                return message["result"]

    async def _receive(self) -> dict[str, Any]:
        message = json.loads(await asyncio.wait_for(self._socket.read_message(), 60))
        if "method" in message:
            self._events.append(message)
        return message

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window a size in pixels; the page that is open takes it, too."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)  # fmt: skip
        self.evaluate("new Promise(drawn => requestAnimationFrame(() => setTimeout(drawn)))")

    def prefer(self, theme: str) -> None:
        """Prefer `light` or `dark` pages, as a reader's system does."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        """Open a page and wait until it is loaded; forget what earlier ones said."""
        self._events.clear()
        self.call("Page.navigate", url=address)
        self._loop.run_until_complete(self._loaded())

    async def _loaded(self) -> None:
        while not any(event["method"] == "Page.loadEventFired" for event in self._events):
            await self._receive()

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, awaited where it is a promise."""
        found = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def errors(self) -> list[str]:
        """Return what the console says went wrong since the page was opened."""
        found = []
        for event in self._events:
            said = event["params"]
            level = said.get("type") or said.get("entry", {}).get("level")
            failed = event["method"] == "Runtime.exceptionThrown" or level == "error"
            if event["method"] in _TROUBLE and failed:
                found.append(json.dumps(said)[:500])
        return found

    def hosts(self) -> set[str]:
        """Return the hosts that were asked for something since the page was opened."""
        urls = (event["params"]["request"]["url"] for event in self._events
                if event["method"] == "Network.requestWillBeSent")  # fmt: skip
        return {url.split("/")[2] for url in urls if url.startswith(("http:", "https:"))}
