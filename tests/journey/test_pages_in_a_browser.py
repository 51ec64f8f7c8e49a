"""Pages as a browser shows them: nothing is fetched, nothing is said on the console, nothing is too wide."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymodal.cli.main import main

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
MOST_BYTES = 15_000_000


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

    def open(self, page: Path, width: int) -> None:
        """Loads a page in a window of a width, in pixels."""
        self.events.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500
        )
        self.call("Page.navigate", url=page.as_uri())
        while not self.told("Page.loadEventFired"):
            self.events.append(self.read())

    def evaluate(self, script: str) -> Any:
        return self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)["result"].get(
            "value"
        )

    def close(self) -> None:
        self.session = {}
        self.call("Browser.close")
        self.process.wait(timeout=30)
        os.close(self.ask)
        os.close(self.answer)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def pages(trained, tmp_path_factory) -> dict[str, Path]:
    """A report with everything in it, and an explanation."""
    folder = tmp_path_factory.mktemp("pages")
    shutil.copytree(trained, folder / "run")
    found = {name: folder / f"{name}.html" for name in ("report", "explanation")}
    few = ["--rows", "7", "--judge-steps", "2", "--only", "picture", "name", "tone"]
    assert main(["evaluate", str(folder / "run"), *few, "--directions", "all", "--report", str(found["report"])]) == 0
    given = ["--name", "green disc", "--colour", "green", "--to", "picture", "--steps", "2", "--draws", "1"]
    assert main(["explain", str(trained), *given, "-o", str(found["explanation"])]) == 0
    return found


@pytest.mark.parametrize("name", ["report", "explanation"])
@pytest.mark.parametrize("width", [400, 1600])
def test_it_fits_and_is_silent(browser, pages, name, width):
    browser.open(pages[name], width)
    said = browser.told("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
    assert said == []
    asked = {params["request"]["url"] for params in browser.told("Network.requestWillBeSent")}
    assert {url for url in asked if not url.startswith("data:")} == {pages[name].as_uri()}
    assert pages[name].stat().st_size < MOST_BYTES
    browser.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    pictures = "[...document.images].filter(picture => !(picture.complete && picture.naturalWidth)).length"
    assert browser.evaluate("document.images.length") > 0
    assert browser.evaluate(pictures) == 0
    assert browser.evaluate("innerWidth") == width


def test_sound_plays(browser, pages):
    browser.open(pages["report"], 1600)
    loaded = """new Promise(done => {
        const sound = document.querySelector("audio")
        sound.oncanplaythrough = () => done(sound.duration)
        sound.onerror = () => done(0)
        sound.preload = "auto"
        sound.load()
    })"""
    assert 0.05 < browser.evaluate(loaded) < 0.5


def test_dark_ground_has_readable_ink(browser, pages):
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.open(pages["report"], 1600)
    ink, ground = (
        sum(map(int, browser.evaluate(f"getComputedStyle(document.body).{key}")[4:-1].split(",")))
        for key in ("color", "backgroundColor")
    )
    assert ink > 600 > 150 > ground
    browser.call("Emulation.setEmulatedMedia", features=[])


def test_who_asks_elsewhere_or_complains_would_be_seen(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text(
        '<body style="width: 2000px"><img src="missing.png"><script>console.error("loud"); nothing()</script></body>'
    )
    browser.open(page, 400)
    assert len(browser.told("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")) >= 3
    assert any("missing.png" in params["request"]["url"] for params in browser.told("Network.requestWillBeSent"))
    assert browser.evaluate("document.documentElement.scrollWidth") > 400
