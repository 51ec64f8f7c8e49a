"""Pages as a browser shows them: nothing is fetched, nothing is said on the console, nothing is too wide."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser

from polymodal.cli.main import main
from polymodal.export import write_runner

MOST_BYTES = 15_000_000


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
    browser.open(pages[name].as_uri(), width)
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
    browser.open(pages["report"].as_uri(), 1600)
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
    browser.open(pages["report"].as_uri(), 1600)
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
    browser.open(page.as_uri(), 400)
    assert len(browser.told("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")) >= 3
    assert any("missing.png" in params["request"]["url"] for params in browser.told("Network.requestWillBeSent"))
    assert browser.evaluate("document.documentElement.scrollWidth") > 400


def test_the_page_of_an_exported_file_asks_nobody_else(browser, tmp_path):
    model = tmp_path / "model.onnx"
    model.touch()
    page = next(path for path in write_runner(model) if path.suffix == ".html")
    browser.open(page.as_uri(), 400)
    browser.wait("document.getElementById('said').textContent.includes('onnxruntime-web is missing')")
    asked = {params["request"]["url"] for params in browser.told("Network.requestWillBeSent")}
    beside = (page.as_uri(), page.with_name("dist").as_uri())
    assert all(url.startswith(("data:", *beside)) for url in asked)
