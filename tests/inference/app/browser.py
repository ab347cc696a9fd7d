"""A headless Chromium, driven over its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Browser:
    """One page of a browser.

    Attributes:
        requests: addresses that the page has asked for.
    """

    def __init__(self, address: str) -> None:
        import websocket

        self.requests: list[str] = []
        self._socket = websocket.create_connection(address, timeout=60, suppress_origin=True)
        self._number = 0
        for domain in ("Page", "Network", "Runtime", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("method") == "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]

    def open(self, url: str, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Open an address in a window of so many pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])
        self.send("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.run(f"!!({script})"):
                return
            time.sleep(0.05)
        raise AssertionError(f"never true: {script}; the page has {self.run('document.body.innerText')!r}")

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an input of the page."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def picture(self, path: Path) -> None:
        """Write the whole page as a .png."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.send("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Start a browser with a fresh profile."""
    assert CHROMIUM is not None
    profile.mkdir(parents=True, exist_ok=True)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    command = [CHROMIUM, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield Browser(_address(profile / "DevToolsActivePort"))
    finally:
        process.terminate()
        process.wait(20)


def _address(file: Path) -> str:
    """Return the address of the first page, which Chromium writes into a file of its profile when it listens."""
    import httpx

    for _ in range(600):
        if file.exists() and len(lines := file.read_text().split()) == 2:
            pages = httpx.get(f"http://127.0.0.1:{lines[0]}/json/list").json()
            if found := [page["webSocketDebuggerUrl"] for page in pages if page["type"] == "page"]:
                return found[0]
        time.sleep(0.05)
    raise AssertionError("Chromium does not listen")
