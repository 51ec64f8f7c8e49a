"""The studio in a browser: upload a table, train on it, generate, fill, download; on a telephone and on a screen."""

import importlib.util
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None or CHROMIUM is None, reason="there is no Gradio, or no Chromium"
)
TABS = ("data", "train", "use", "fill", "score")


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """Of a studio in a process of its own, as Gradio warns of its own code."""
    folder = tmp_path_factory.mktemp("studio")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "polymodal", "studio", "--port", str(port)], cwd=folder, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def files(world, tmp_path_factory) -> list[Path]:
    """A table of pictures, names and colours, and its pictures."""
    table = tmp_path_factory.mktemp("table") / "rows.jsonl"
    rows = [json.loads(line) for line in (world / "rows.jsonl").read_text().splitlines()]
    rows = [{key: row.get(key) for key in ("picture", "name", "colour")} for row in rows]
    table.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"picture": "gone.png", "name": "red disc"}]))
    return [table, *(world / row["picture"] for row in rows if row["picture"])]


def tab(browser: Browser, name: str) -> None:
    place = TABS.index(name)
    browser.evaluate(f"document.querySelectorAll('button[role=tab]')[{place}].click()")


def value(name: str) -> str:
    """A script for the text of a box."""
    return f"(document.querySelector('#{name} textarea') || document.querySelector('#{name} input') || {{}}).value"


@pytest.mark.parametrize(("width", "language"), [(400, "zh"), (1600, "en")])
def test_from_a_table_to_a_filled_table(address, browser, files, recipe_file, width, language):
    run = f"runs/{width}"
    browser.open(f"{address}/{language}/", width)
    browser.wait(f"document.querySelectorAll('button[role=tab]').length >= {len(TABS)}")
    browser.wait("!!document.querySelector('#data-upload input[type=file]')")

    browser.upload("#data-upload input[type=file]", *files)
    browser.wait(f"{value('data-source')}.endsWith('rows.jsonl')")
    browser.click("#data-recognise")
    browser.wait("document.querySelectorAll('#data-sheet img').length > 0")
    assert browser.evaluate(value("data-command")).startswith("polymodal data inspect ")
    browser.wait("document.querySelector('#data-bad').innerText.includes('gone.png')")
    browser.wait("document.querySelector('#data-fields').innerText.includes('size: 64')")
    browser.click("#data-check")
    browser.wait(f"{value('data-command')}.includes('--fields studio/fields.yaml')")

    tab(browser, "train")
    browser.write("#train-recipe input", str(recipe_file))
    browser.click("#train-budget input[value=steps]")
    browser.write("#train-amount input", "20")
    browser.write("#train-run textarea, #train-run input", run)
    browser.click("#train-start")
    browser.wait(
        f"{value('train-command')}.endsWith('--steps 20 --set data.validation=0.05 --set data.test=0.1 -o {run}')"
    )
    browser.wait(f"{value('run')} == '{run}'", 120)
    browser.wait("document.querySelectorAll('#train-losses svg').length > 2")
    browser.wait("document.querySelectorAll('#train-samples img').length > 0")

    tab(browser, "use")
    browser.wait(f"(document.querySelector('#use-given') || {{}}).innerText?.includes('{run}')")
    browser.write("#use-name input", "red disc")
    browser.click("#use-generate")
    browser.wait("!!document.querySelector('#use-page iframe')")
    wanted = f"polymodal generate {run} --name 'red disc' -n 4 --seed 0 -o studio/generated --to picture"
    assert browser.evaluate(value("use-command")) == wanted

    tab(browser, "fill")
    browser.upload("#fill-upload input[type=file]", *files)
    browser.wait(f"{value('fill-source')}.endsWith('rows.jsonl')")
    browser.click("#fill-confidence input")
    browser.click("#fill-start")
    browser.wait("!!document.querySelector('#fill-done a')")
    address_of_file = browser.evaluate("document.querySelector('#fill-done a').href")
    with urllib.request.urlopen(address_of_file) as answer:
        assert answer.read(2) == b"PK"

    for name in TABS:
        tab(browser, name)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    said = browser.told("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert [one for one in said if one.get("type", one.get("entry", {}).get("level", "error")) == "error"] == []
    asked = {urlsplit(params["request"]["url"]) for params in browser.told("Network.requestWillBeSent")}
    assert {url.netloc for url in asked if url.scheme not in ("data", "blob")} == {urlsplit(address).netloc}


def test_other_hosts_are_refused(address):
    request = urllib.request.Request(f"{address}/en/", headers={"Host": "elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(request)
