"""A headless Chromium for tests, spoken to by the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """Headless Chromium, spoken to by the DevTools protocol over pipes, which it has as files 3 and 4.

    Args:
        profile: An empty folder.

    Attributes:
        events: What it told, oldest first.
    """

    def __init__(self, profile: Path):
        theirs, self.ask = os.pipe()
        self.answer, other = os.pipe()
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-pipe"]
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$0" "$@" 3<&{theirs} 4>&{other}', CHROMIUM, *options, f"--user-data-dir={profile}"],
            pass_fds=(theirs, other),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(other)
        self.number, self.rest, self.session, self.events = 0, b"", {}, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = {"sessionId": self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        os.write(self.ask, json.dumps({"id": self.number, "method": method, "params": params} | self.session).encode())
        os.write(self.ask, b"\0")
        while (message := self.read()).get("id") != self.number:
            self.events.append(message)
        return message["result"]

    def read(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            chunk = os.read(self.answer, 1 << 20)
            assert chunk, "Chromium has gone"
            self.rest += chunk
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def told(self, *methods: str) -> list[dict[str, Any]]:
        return [event["params"] for event in self.events if event.get("method") in methods]

    def open(self, address: str, width: int) -> None:
        """Loads a page in a window of a width, in pixels."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=address)
        while not self.told("Page.loadEventFired"):
            self.events.append(self.read())

    def evaluate(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def wait(self, script: str, seconds: float = 60.0) -> None:
        """Until a script gives something true."""
        until = time.monotonic() + seconds
        while not self.evaluate(script):
            assert time.monotonic() < until, f"{script} is still {self.evaluate(script)!r}"
            time.sleep(0.1)

    def click(self, element: str) -> None:
        """Clicks on the first element that a selector names, once it is there."""
        self.wait(f"!!document.querySelector({element!r})")
        self.evaluate(f"document.querySelector({element!r}).click()")

    def write(self, element: str, text: str) -> None:
        """Replaces the text of an input as a user types it, and leaves it by Enter."""
        self.wait(f"!!document.querySelector({element!r})")
        self.evaluate(f"document.querySelector({element!r}).focus(); document.querySelector({element!r}).select()")
        self.call("Input.insertText", text=text)
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
        self.evaluate(f"document.querySelector({element!r}).blur()")

    def upload(self, element: str, *files: Path) -> None:
        """Gives files to an input of files."""
        self.wait(f"!!document.querySelector({element!r})")
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({element!r})")["result"]
        self.call("DOM.setFileInputFiles", files=list(map(str, files)), objectId=found["objectId"])

    def picture(self, path: Path) -> None:
        """Writes what can be seen, as a PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self) -> None:
        self.session = {}
        self.call("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.ask)
        os.close(self.answer)
