"""A headless Chromium, driven through its DevTools protocol: what the tests of report.html need of it, and no more."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from websockets.sync.client import connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
LIMIT = 60  # seconds for Chromium to start, and to answer


def chromium() -> str | None:
    """Of the variable SP3F_CHROMIUM, else the first on the path."""
    return os.environ.get("SP3F_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab. `problems`: what its console and its log said, and exceptions that nothing caught."""

    def __init__(self, socket):
        self._socket, self._numbers = socket, itertools.count(1)
        self.problems: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.requests: list[str] = []

    def call(self, method: str, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (message := self._receive()).get("id") != number:
            pass
        if "error" in message:
            raise RuntimeError(f"{method}: {message['error']}")
        return message["result"]

    def _receive(self) -> dict:
        message = json.loads(self._socket.recv(timeout=LIMIT))
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, told: dict) -> None:
        if method == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.problems.append(json.dumps(told["args"]))
        elif method == "Log.entryAdded":
            self.problems.append(told["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])

    def open(self, file: Path, width: int = 1200, height: int = 900, dark: bool = False) -> None:
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=file.resolve().as_uri())
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str):
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, file: Path, whole: bool = False) -> None:
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        file.write_bytes(base64.b64decode(data))


def tabs_at(address: str) -> list[dict]:
    with urllib.request.urlopen(address, timeout=LIMIT) as answer:
        return [each for each in json.load(answer) if each["type"] == "page"]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """A tab of a fresh Chromium whose profile is in the folder. It has no network but what files say."""
    switches = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
    switches += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
    process = subprocess.Popen(
        [chromium(), *switches, f"--user-data-dir={profile}", "about:blank"],
        **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL},
    )
    try:
        port, deadline = profile / "DevToolsActivePort", time.monotonic() + LIMIT
        while not (port.is_file() and port.read_text().count("\n")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Chromium did not start")
            time.sleep(0.05)
        address = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
        while not (tabs := tabs_at(address)):  # it listens before its first tab is there
            if time.monotonic() > deadline:
                raise RuntimeError("Chromium opened no tab")
            time.sleep(0.05)
        with connect(tabs[0]["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
            yield Page(socket)
    finally:
        process.terminate()
        process.wait(timeout=LIMIT)
