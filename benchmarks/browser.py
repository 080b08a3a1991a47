"""Headless Chromium over its debugging pipe: opens a page without a network, and reports errors, paint times and pictures.

A module for other scripts and for tests. It needs Chromium on the path (Debian's package ``chromium``), and no driver.
Run: ``python benchmarks/browser.py PAGE.html PICTURE.png`` takes a picture of the top of a page, such as the README's.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

PROGRAM = "chromium"
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the pages are our own files, and containers often forbid the sandbox
    "--disable-gpu",
    "--hide-scrollbars",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # no network, but servers of the caller
    "--remote-debugging-pipe",
)
PICTURE_WIDTH, PICTURE_HEIGHT = 1_000, 1_130  # CSS pixels
READ_FD, WRITE_FD = 3, 4  # where Chromium expects its pipe
CHUNK = 1 << 16
Message = dict[str, object]


@dataclass(kw_only=True)
class Page:
    """An open page. ``errors`` collects what its console, its scripts and its requests complain about."""

    session: str
    _browser: _Pipe
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)  # addresses other than the page's own and its data

    def call(self, method: str, **parameters: object) -> Message:
        """Send a command of the DevTools protocol to the page and return its result."""
        return self._browser.call(method, parameters, session=self.session, listener=self._heard)

    def open(self, address: str) -> None:
        """Load a page and wait until it is complete."""
        self.call("Page.navigate", url=address)
        self.evaluate(
            "new Promise(done => document.readyState === 'complete' ? done(1) : addEventListener('load', () => done(1)))"
        )

    def evaluate(self, expression: str) -> object:
        """Return the JSON value of an expression, awaited if it is a promise. Raises RuntimeError if it throws."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            message = json.dumps(found["exceptionDetails"])
            raise RuntimeError(message)
        return cast(Message, found["result"]).get("value")

    def look(self, *, width: int, height: int = 900, scheme: Literal["light", "dark"] = "light") -> None:
        """Set the size of the window in CSS pixels and the colour scheme that its user prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write what the window shows, or the whole page, as PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole, **self._clip(whole))
        path.write_bytes(base64.b64decode(str(found["data"])))

    def _clip(self, whole: bool) -> Message:
        if not whole:
            return {}
        size = cast(Mapping[str, float], self.call("Page.getLayoutMetrics")["cssContentSize"])
        return {"clip": {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}}

    def _heard(self, method: str, about: Message) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(about["args"]))
        elif method == "Log.entryAdded":
            entry = cast(Mapping[str, object], about["entry"])
            if entry["level"] in ("error", "warning"):
                self.errors.append(str(entry["text"]))
        elif method == "Network.requestWillBeSent":
            address = str(cast(Mapping[str, object], about["request"])["url"])
            if not address.startswith(("file:", "data:", "about:")):
                self.requests.append(address)


class _Pipe:
    """The two ends of the debugging pipe: JSON messages that end in a zero byte."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write, self._rest, self._number = read, write, b"", 0

    def call(
        self, method: str, parameters: Mapping[str, object], *, session: str = "", listener: object = None
    ) -> Message:
        self._number += 1
        message = {"id": self._number, "method": method, "params": dict(parameters)}
        text = json.dumps({**message, **({"sessionId": session} if session else {})})
        data = text.encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        while True:
            found = self._next()
            if found.get("id") == self._number:
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return cast(Message, found["result"])
            if callable(listener) and "method" in found:
                listener(found["method"], found.get("params", {}))

    def _next(self) -> Message:
        while b"\0" not in self._rest:
            data = os.read(self._read, CHUNK)
            if not data:
                raise RuntimeError("Chromium ended")
            self._rest += data
        first, _, self._rest = self._rest.partition(b"\0")
        return cast(Message, json.loads(first))


@contextmanager
def browser() -> Iterator[Page]:
    """Start Chromium with an empty profile and yield a page; it ends with the block."""
    program = shutil.which(PROGRAM)
    if program is None:
        message = f"{PROGRAM} is not on the path; install the package {PROGRAM}"
        raise FileNotFoundError(message)
    to_browser, from_browser = os.pipe(), os.pipe()
    with tempfile.TemporaryDirectory(prefix="arena-browser-", ignore_cleanup_errors=True) as profile:
        # The shell moves the ends of the pipes to the numbers that Chromium expects.
        command = f'exec "$@" {READ_FD}<&{to_browser[0]} {WRITE_FD}>&{from_browser[1]}'
        process = subprocess.Popen(
            ["bash", "-c", command, "bash", program, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_browser[0], from_browser[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser[0])
        os.close(from_browser[1])
        try:
            yield _page(_Pipe(from_browser[0], to_browser[1]))
        finally:
            process.terminate()
            process.wait()
            os.close(to_browser[1])
            os.close(from_browser[0])


def _page(pipe: _Pipe) -> Page:
    target = pipe.call("Target.createTarget", {"url": "about:blank"})["targetId"]
    session = pipe.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
    page = Page(session=str(session), _browser=pipe)
    for domain in ("Page", "Runtime", "Log", "Network"):
        page.call(f"{domain}.enable")
    return page


def main(page: str, picture: str) -> None:
    """Write a picture of the top of a page."""
    with browser() as opened:
        opened.look(width=PICTURE_WIDTH, height=PICTURE_HEIGHT)
        opened.open(Path(page).resolve().as_uri())
        opened.picture(Path(picture))


if __name__ == "__main__" and len(sys.argv) > 1:
    main(*sys.argv[1:])
