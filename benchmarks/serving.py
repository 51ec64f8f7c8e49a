"""What a server stands: the same bytes alone and among others, many clients at once, the tests of OpenAI's client.

    python benchmarks/serving.py RUN [--parts cold pairs throughput load requests client] [--seconds 120] [--clients 16]
                                     [--pairs 100] [--examples 1000] [--openai-tests FOLDER] [--tests-python PYTHON]

RUN is a finished run with a text, a picture and a sound, such as `make demo` leaves. The server is a process of its
own and shares the machine's cores with the clients, so times are by the clock. FOLDER is a checkout of openai-python,
whose `tests/api_resources` are run against the server, by `--tests-python`, which has the packages that they need;
the tests that fail are listed with what the server said. ``schemathesis`` makes that many examples of requests a route,
valid and not, from the page on OpenAPI: none may fail in the server, or be answered by what the page does not tell.
What the page says does not depend on how good a run is, so a small one that draws quickly does for that part.

Each part is written to benchmarks/results/serving.json when it is done, with the call that it is of; the others stay.
"""

import argparse
import base64
import io
import json
import os
import random
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from PIL import Image

from record import RESULTS, about, save

GROUPS = ("test_images.py", "audio", "chat", "test_embeddings.py", "test_models.py", "test_responses.py")
NAMES = ("red apple", "dog", "maple leaf", "basket", "a blue car")


@contextmanager
def serving(run: Path, *options: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A server in a process of its own: its address, and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polymodal", "serve", f"run={run}", "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # a line a request
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            try:
                httpx.get(f"{address}/ready")
                break
            except httpx.TransportError:
                if process.poll() is not None:
                    raise SystemExit("the server ended; see above") from None
                time.sleep(0.02)
        yield address, process
    finally:
        process.terminate()
        process.wait()


def first_picture(run: Path) -> float:
    """Seconds from the start of the command to a picture."""
    began = time.perf_counter()
    with serving(run) as (address, _):
        httpx.post(f"{address}/v1/images/generations", json={"prompt": "red apple"}, timeout=60).raise_for_status()
        return time.perf_counter() - began


def pairs(address: str, count: int, among: int) -> dict[str, Any]:
    """Requests whose bytes are the same alone and among others."""
    wanted = [
        ("/v1/images/generations", {"prompt": random.choice(NAMES), "seed": seed, "output_format": "png"})
        if seed % 3
        else ("/v1/audio/speech", {"input": random.choice(NAMES), "seed": seed, "response_format": "wav"})
        for seed in range(count)
    ]

    def ask(one: tuple[str, dict[str, Any]]) -> bytes:
        content = httpx.post(address + one[0], json=one[1], timeout=300).raise_for_status().content
        return re.sub(rb'"created":\d+', b"", content)

    alone = [ask(one) for one in wanted]
    with ThreadPoolExecutor(among + 1) as pool:
        together = list(pool.map(ask, wanted))
    return {"pairs": count, "among": among, "same_bytes": sum(a == b for a, b in zip(alone, together, strict=True))}


def resident_mb(process: subprocess.Popen[bytes]) -> float:
    """Memory of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def load(address: str, process: subprocess.Popen[bytes], clients: int, seconds: float) -> dict[str, Any]:
    """Many clients at once: one is slow, one goes away, one is hostile; the others are honest."""
    end, counts, times, memory = time.monotonic() + seconds, Counter(), [], [resident_mb(process)]
    lock = threading.Lock()

    def honest(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            name, began = chance.choice(NAMES), time.perf_counter()
            route, body = chance.choice(
                [
                    ("/v1/images/generations", {"prompt": name}),
                    ("/v1/audio/speech", {"input": name, "response_format": "wav"}),
                    ("/v1/generate", {"given": {}, "to": ["picture"]}),
                ]
            )
            answer = httpx.post(address + route, json=body, timeout=120)
            whole = answer.status_code == 200 and len(answer.content) == int(answer.headers["content-length"])
            with lock:
                counts["answered" if whole else f"failed with {answer.status_code}"] += 1
                times.append(time.perf_counter() - began)

    def slow(number: int) -> None:
        body = b'{"prompt": "dog"}'

        def dripping() -> Iterator[bytes]:
            for place in range(len(body)):
                time.sleep(0.2)
                yield body[place : place + 1]

        while time.monotonic() < end:
            kind = {"content-type": "application/json"}
            httpx.post(f"{address}/v1/images/generations", content=dripping(), headers=kind, timeout=120)

    def vanishing(number: int) -> None:
        while time.monotonic() < end:
            try:
                httpx.post(f"{address}/v1/generate", json={"to": ["picture"], "n": 32}, timeout=0.3)
            except httpx.TimeoutException:
                time.sleep(1)

    def hostile(number: int) -> None:
        bomb = io.BytesIO()
        Image.new("1", (20_000, 20_000)).save(bomb, "png")
        picture = "data:image/png;base64," + base64.b64encode(bomb.getvalue()).decode()
        while time.monotonic() < end:
            httpx.post(f"{address}/v1/generate", json={"given": {"picture": picture}, "to": ["name"]}, timeout=120)
            httpx.post(f"{address}/v1/generate", content=b"[" * 100_000, timeout=120)
            httpx.post(f"{address}/v1/generate", json={"to": ["picture"], "n": 64 << 20}, timeout=120)
            time.sleep(0.2)

    parts = [slow, vanishing, hostile] + [honest] * (clients - 3)
    threads = [threading.Thread(target=part, args=(number,)) for number, part in enumerate(parts)]
    for thread in threads:
        thread.start()
    while time.monotonic() < end:
        time.sleep(min(5.0, seconds / 4))
        memory.append(resident_mb(process))
    for thread in threads:
        thread.join()
    failed = {word: count for word, count in counts.items() if word != "answered"}
    return {
        "clients": clients,
        "seconds": seconds,
        "answered": counts["answered"],
        "failed": sum(failed.values()),
        "p50_seconds": statistics.median(times),
        "p95_seconds": statistics.quantiles(times, n=20)[-1],
        "memory_mb_at_half_time": memory[len(memory) // 2],
        "memory_mb_at_end": memory[-1],
    }


def throughput(address: str, clients: int, seconds: float) -> dict[str, Any]:
    """Pictures a second asked for one after the other, and by many clients at once."""

    def ask(end: float) -> int:
        done = 0
        while time.monotonic() < end:
            httpx.post(f"{address}/v1/images/generations", json={"prompt": "dog"}, timeout=120).raise_for_status()
            done += 1
        return done

    serial = ask(time.monotonic() + seconds) / seconds
    end = time.monotonic() + seconds
    with ThreadPoolExecutor(clients) as pool:
        together = sum(pool.map(ask, [end] * clients)) / seconds
    return {"serial_per_second": serial, "together_per_second": together, "ratio": together / serial}


CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


def made_requests(address: str, examples: int) -> dict[str, Any]:
    """How many requests were made up, and the kinds of answers that should not have been."""
    options = ["-n", str(examples), "--seed", "0", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]
    options += ["--suppress-health-check", "all", "--request-timeout", "300", "--continue-on-failure", "--no-color"]
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{address}/openapi.json", *options]
    said = subprocess.run(command, capture_output=True, text=True).stdout
    count = re.search(r"([\d,]+) generated", said)
    if count is None:
        raise SystemExit(f"schemathesis did not run:\n{said[-2000:]}")
    failures = re.findall(r"^- (.+)$", said, re.MULTILINE)
    return {"examples_a_route": examples, "requests": int(count[1].replace(",", "")), "failures": sorted(failures)}


def client_tests(address: str, folder: Path, python: str) -> dict[str, Any]:
    """How many of the client's own tests pass, and the others by what the server or the client said."""
    with TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.xml"
        places = [str(folder / "tests" / "api_resources" / group) for group in GROUPS]
        options = ["-q", "-o", "addopts=", f"--junitxml={report}", "-p", "no:cacheprovider"]
        subprocess.run(
            [python, "-m", "pytest", *options, *places],
            cwd=folder,
            env={**os.environ, "TEST_API_BASE_URL": f"{address}/v1"},
            stdout=subprocess.DEVNULL,
        )
        cases = list(ElementTree.parse(report).iter("testcase"))
    failures: dict[str, Counter[str]] = {}
    for case in cases:
        for failure in case.findall("failure"):
            said = failure.get("message", "").splitlines()[0]
            said = said.split(" (for more")[0][:160]
            name = case.get("name", "").split("[")[0]
            failures.setdefault(said, Counter())[f"{case.get('classname', '').rpartition('.')[0]}.{name}"] += 1
    passed = sum(not list(case) for case in cases)
    listed = [{"said": said, "tests": sorted(tests), "count": tests.total()} for said, tests in failures.items()]
    return {"tests": len(cases), "passed": passed, "failures": sorted(listed, key=lambda part: -part["count"])}


OF_A_PART = ("command", "commit", "minutes_in_all", "share_of_others")
PARTS = ("cold", "pairs", "throughput", "load", "requests", "client")


def measure(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a part, of a server of its own."""
    run, clients = arguments.run, arguments.clients
    if part == "cold":
        return {"first_picture_seconds": first_picture(run)}
    with serving(run, *["--any-model"] * (part == "client")) as (address, process):
        match part:
            case "pairs":
                return pairs(address, arguments.pairs, clients - 1)
            case "throughput":
                return throughput(address, clients, min(20.0, arguments.seconds))
            case "load":
                return load(address, process, clients, arguments.seconds)
            case "requests":
                return made_requests(address, arguments.examples)
            case _:
                return client_tests(address, arguments.openai_tests, arguments.tests_python)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--examples", type=int, default=1000, metavar="N", help="of schemathesis, a route")
    parser.add_argument("--openai-tests", type=Path, metavar="FOLDER", help="needed for the part `client`")
    parser.add_argument("--tests-python", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--output", type=Path, default=RESULTS / "serving.json")
    arguments = parser.parse_args()
    if "client" in arguments.parts and not arguments.openai_tests:
        parser.error("the part `client` needs --openai-tests, a checkout of openai-python")
    random.seed(0)
    results = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
    for part in arguments.parts:
        began = time.perf_counter()
        figures = measure(part, arguments)
        print(part, {name: value for name, value in figures.items() if name != "failures"})
        for failure in figures.get("failures", []):
            print(f"{failure['count']:4d}  {failure['said']}" if part == "client" else f"      {failure}")
        known = about(time.perf_counter() - began, seed=0)
        results |= {"machine": known["machine"], part: {name: known[name] for name in OF_A_PART} | figures}
        save(results, arguments.output)


if __name__ == "__main__":
    main()
