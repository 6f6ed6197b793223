"""A real browser without a window: Debian's Chromium, told what to do over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.ops.debian import fetched

PACKAGE = "chromium-headless-shell"


class Tab:
    """One page. ``events`` has all that the browser told of it, in order."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := self._next(20.0)).get("id") != number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return dict(answer["result"])

    def _next(self, timeout_s: float) -> dict[str, Any]:
        return dict(json.loads(self._connection.recv(timeout_s)))

    def watch(self, duration_s: float) -> None:
        """Let it run, and take what it tells."""
        deadline = time.monotonic() + duration_s
        while (left := deadline - time.monotonic()) > 0:
            try:
                self.events.append(self._next(left))
            except TimeoutError:
                return

    def open(self, address: str, *, width: int = 1240, height: int = 900) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.events.clear()
        self.ask("Page.navigate", url=address)
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, script: str) -> Any:
        """What a script in the page comes to. A page that is being replaced is asked again."""
        deadline = time.monotonic() + 10
        while True:
            found = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
            if "exceptionDetails" not in found:
                return found["result"].get("value")
            assert time.monotonic() < deadline, found["exceptionDetails"]
            time.sleep(0.1)

    def wait_for(self, script: str, timeout_s: float = 20.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.value(script):
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {script}\n{self.text()}"
            self.watch(0.1)

    def text(self) -> str:
        return str(self.value("document.body ? document.body.innerText : ''"))

    def screenshot(self, path: Path) -> None:
        taken = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))

    def addresses_asked(self) -> set[str]:
        asked = [each for each in self.events if each.get("method") == "Network.requestWillBeSent"]
        return {str(each["params"]["request"]["url"]) for each in asked}

    def complaints(self) -> list[str]:
        """Errors and messages of the page's console."""
        kinds = {"Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"}
        return [json.dumps(each["params"]) for each in self.events if each.get("method") in kinds]


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """One tab; the browser ends with it."""
    package = fetched(PACKAGE)
    log_path = folder / "browser.log"
    # Chromium's own sandbox wants rights that a container, or root, does not have. It sees our own page alone.
    options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [
                package.folder / "usr" / "lib" / "chromium" / PACKAGE,
                *options,
                f"--user-data-dir={folder / 'profile'}",
                "about:blank",
            ],
            stdout=log,
            stderr=log,
            env={**package.environment(), "HOME": str(folder), "LANG": os.environ.get("LANG", "C.UTF-8")},
        )
    try:
        port = _port(log_path, process)
        targets = httpx.get(f"http://127.0.0.1:{port}/json", timeout=10).json()
        (page,) = [target for target in targets if target["type"] == "page"]
        with connect(page["webSocketDebuggerUrl"], max_size=None, compression=None) as connection:
            yield Tab(connection)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _port(log_path: Path, process: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"DevTools listening on ws://[^:]+:(\d+)/", log_path.read_text("utf-8", "replace"))
        if found:
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"the browser does not start: {log_path.read_text('utf-8', 'replace')[-2000:]}")
