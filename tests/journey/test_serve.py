"""A server over a finished run, asked by OpenAI's own client and by others, over real sockets."""

import base64
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image

from polymodal.cli.main import main

openai = pytest.importorskip("openai")
uvicorn = pytest.importorskip("uvicorn")

from polymodal.serving import Engine, Figures, Runs, make_app  # noqa: E402


@contextmanager
def serving(folders, *, engine=None, signer=None, adapters=None, **settings):
    """A server at a free port of loopback; gives its address."""
    figures = Figures()
    engine = engine or (lambda pipeline: Engine(pipeline, watch=figures.sampled))
    runs = Runs(folders, engine=engine, signer=signer, adapters=adapters)
    config = uvicorn.Config(make_app(runs, figures, **settings), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(trained):
    with serving({"tiny": trained}) as address:
        yield address


@pytest.fixture(scope="module")
def client(address):
    with openai.OpenAI(
        base_url=f"{address}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def picture_url(colour=(250, 20, 20)):
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "png")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def tone():
    file = io.BytesIO()
    soundfile.write(file, np.sin(np.arange(800) / 3).astype(np.float32) / 2, 4000, format="WAV")
    return file.getvalue()


def test_the_run_is_a_model(client):
    assert [model.id for model in client.models.list().data] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "polymodal"
    with pytest.raises(openai.NotFoundError, match="there are tiny"):
        client.models.retrieve("large")


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_prompt_draws_pictures_of_any_format_and_size(client, kind):
    drawn = client.images.generate(prompt="red disc", n=2, size="32x24", output_format=kind)
    for picture in drawn.data:
        with Image.open(io.BytesIO(base64.b64decode(picture.b64_json))) as shown:
            assert (shown.format.lower(), shown.size) == (kind, (32, 24))


def test_partial_pictures_come_before_the_whole_one(client):
    events = list(client.images.generate(prompt="red disc", stream=True, partial_images=2, extra_body={"seed": 1}))
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    alone = client.images.generate(prompt="red disc", extra_body={"seed": 1})
    assert events[-1].b64_json == alone.data[0].b64_json


@pytest.mark.parametrize("kind", ["mp3", "opus", "flac", "wav", "aac"])
def test_a_text_is_spoken_in_any_format(client, kind):
    spoken = client.audio.speech.create(model="tiny", voice="any", input="red disc", response_format=kind).content
    begins = {"mp3": b"\xff", "opus": b"OggS", "flac": b"fLaC", "wav": b"RIFF", "aac": b"\xff"}
    assert spoken.startswith(begins[kind])
    assert len(spoken) > 100


def test_twice_the_speed_is_half_as_long(client):
    slow, fast = (
        client.audio.speech.create(
            model="tiny", voice="any", input="red disc", response_format="wav", speed=speed, extra_body={"seed": 4}
        ).content
        for speed in (1, 2)
    )
    lengths = [soundfile.info(io.BytesIO(sound)).frames for sound in (slow, fast)]
    assert lengths[1] == pytest.approx(lengths[0] / 2, rel=0.2, abs=200)


def test_a_sound_is_written_down(client):
    heard = client.audio.transcriptions.create(model="tiny", file=("a.wav", tone()), response_format="verbose_json")
    assert heard.duration == pytest.approx(0.2)
    again = client.audio.transcriptions.create(model="tiny", file=("a.wav", tone()))
    assert again.text == heard.text


def test_a_picture_is_named_in_a_conversation_and_the_name_is_spoken(client):
    parts = [{"type": "image_url", "image_url": {"url": picture_url()}}]
    answer = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "system", "content": ""}, {"role": "user", "content": parts}],
        modalities=["text", "audio"],
        audio={"format": "wav", "voice": "any"},
    )
    sound = answer.choices[0].message.audio
    assert base64.b64decode(sound.data).startswith(b"RIFF")
    stream = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": parts}], stream=True, seed=3
    )
    assert [chunk.choices[0].finish_reason for chunk in stream] == [None, "stop"]


def test_a_response_holds_a_text_or_a_picture(client):
    drawn = client.responses.create(model="tiny", input="red disc", tools=[{"type": "image_generation"}])
    with Image.open(io.BytesIO(base64.b64decode(drawn.output[0].result))) as picture:
        assert picture.size == (16, 16)
    kinds = [event.type for event in client.responses.create(model="tiny", input="red disc", stream=True)]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def test_embeddings_ask_for_an_index_first(client):
    with pytest.raises(openai.BadRequestError):
        client.embeddings.create(model="tiny", input="red disc")


def test_a_server_opens_no_data(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("POLYMODAL_CACHE", str(tmp_path))  # where what is opened leaves its mark
    with serving({"tiny": trained}) as address:
        rows = {"rows": [{"name": "red disc"}], "columns": ["colour"]}
        assert httpx.post(f"{address}/v1/fill", json=rows, timeout=60).json()["filled"] == [["colour"]]
        wanted = {"given": {"name": "red disc"}, "to": ["place"]}
        assert httpx.post(f"{address}/v1/generate", json=wanted, timeout=60).status_code == 200
    assert not list(tmp_path.iterdir())


def test_any_fields_come_from_any_others(address):
    wanted = {"given": {"picture": picture_url()}, "to": ["name", "place", "tone"], "n": 2, "seed": 5}
    first, second = (httpx.post(f"{address}/v1/generate", json=wanted, timeout=60).json() for _ in range(2))
    assert first == second
    assert len(first["samples"]) == 2
    assert len(first["samples"][0]["place"]) == 2
    assert first["samples"][0]["tone"].startswith("data:audio/wav;base64,")
    assert 0 <= first["familiarity"]["picture"]["share"] <= 1
    strange = {"given": {"name": "zq xv"}, "to": ["colour"]}
    familiarity = httpx.post(f"{address}/v1/generate", json=strange, timeout=60).json()["familiarity"]
    assert familiarity["name"] == {"share": 0.0, "unfamiliar": True, "unknown_words": ["zq", "xv"]}
    rows = [{"name": "red disc"}, {"colour": "red", "name": None}]
    filled = httpx.post(f"{address}/v1/fill", json={"rows": rows, "columns": ["colour", "name"]}, timeout=60).json()
    assert filled["filled"] == [["colour"], ["name"]]
    assert filled["rows"][1]["colour"] == "red"


def test_the_same_seed_gives_the_same_bytes_alone_and_among_others(address):
    def ask(wanted):
        return httpx.post(f"{address}/v1/generate", json=wanted, timeout=120).text

    names = ["red disc", "a", "green square", "blue"]
    outputs = [["picture"], ["tone"], ["place", "colour", "picture"]]
    asked = [
        {"given": {"name": name}, "to": to, "seed": seed}
        for seed, (name, to) in enumerate((name, to) for name in names for to in outputs)
    ]
    alone = [ask(wanted) for wanted in asked]
    with ThreadPoolExecutor(len(asked)) as pool:
        together = list(pool.map(ask, asked))
    assert together == alone
    assert all("samples" in text for text in alone)


REFUSED = {
    "no such route": ("GET", "/v1/nothing", None, 404),
    "no such method": ("DELETE", "/v1/models", None, 405),
    "no such field": ("POST", "/v1/generate", {"to": ["pictur"]}, 400),
    "a file of the server": ("POST", "/v1/generate", {"given": {"picture": "/etc/hostname"}, "to": ["name"]}, 400),
    "an array in a file": ("POST", "/v1/generate", {"given": {"place": "/tmp/a.npy"}, "to": ["name"]}, 400),
    "an address": ("POST", "/v1/generate", {"given": {"picture": "http://127.0.0.1/a.png"}, "to": ["name"]}, 400),
    "no picture": ("POST", "/v1/generate", {"given": {"picture": "data:;base64,AAAA"}, "to": ["name"]}, 400),
    "a wrong type": ("POST", "/v1/images/generations", {"prompt": 5}, 400),
    "a wrong size": ("POST", "/v1/images/generations", {"prompt": "a", "size": "1x9999999999999"}, 400),
    "an unknown model": ("POST", "/v1/images/generations", {"prompt": "a", "model": "gpt"}, 404),
    "an unknown option": ("POST", "/v1/generate", {"to": ["picture"], "options": {"picture": {"stepz": 1}}}, 400),
    "too many steps": ("POST", "/v1/generate", {"to": ["picture"], "options": {"picture": {"steps": 10**9}}}, 400),
    "too many samples": ("POST", "/v1/generate", {"to": ["picture"], "n": 10_000}, 400),
}


@pytest.mark.parametrize("what", REFUSED)
def test_every_refusal_has_the_shape_of_the_api(address, what):
    method, route, body, status = REFUSED[what]
    answer = httpx.request(method, address + route, json=body)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert answer.headers["x-request-id"]


def test_what_is_too_large_is_refused_before_it_is_read(trained):
    with serving({"tiny": trained}, most_body_bytes=1000, keys=["secret", "other"]) as address:
        key = {"Authorization": "Bearer other"}
        assert httpx.post(f"{address}/v1/generate", content=b" " * 2000, headers=key).status_code == 413

        def endless():
            for _ in range(100):
                yield b" " * 100

        answer = httpx.post(f"{address}/v1/generate", content=endless(), headers=key)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "body_too_large"
        for headers in ({}, {"Authorization": "Bearer secre"}, {"Authorization": "Basic secret"}):
            for route in ("/v1/models", "/metrics", "/openapi.json", "/nothing"):
                assert httpx.get(address + route, headers=headers).status_code == 401
        assert httpx.get(f"{address}/health").json() == {"status": "ok"}
        assert "polymodal_requests_total" in httpx.get(f"{address}/metrics", headers=key).text


def test_more_than_may_wait_is_refused_with_the_time_to_come_back(trained):
    def small(pipeline):
        return Engine(pipeline, most_waiting=2)

    with serving({"tiny": trained}, engine=small) as address:
        answer = httpx.post(f"{address}/v1/generate", json={"to": ["picture"], "n": 3})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert httpx.post(f"{address}/v1/generate", json={"to": ["colour"], "n": 2}).status_code == 200


def test_what_takes_too_long_is_given_up(trained):
    with serving({"tiny": trained}, most_seconds=1e-6) as address:
        answer = httpx.post(f"{address}/v1/generate", json={"to": ["tone", "picture"], "n": 64}, timeout=60)
        assert answer.status_code == 504


def test_runs_are_opened_when_asked_for_and_closed_when_memory_is_short(trained):
    runs = Runs({"a": trained, "b": trained}, most_bytes=1, idle_seconds=0)
    try:
        assert runs.open("a") is runs.open("a")
        runs.open("b")
        assert [run.name for run in runs.opened] == ["b"]
    finally:
        runs.close()


def test_an_error_of_one_request_does_not_end_the_thread(trained):
    import polymodal as pm

    engine = Engine(pm.open(trained))
    with pytest.raises(ZeroDivisionError):
        engine.call(lambda: 1 / 0).result()
    (future,) = engine.submit(engine.read({}, ["colour"]), ["colour"])
    waiting = engine.submit(engine.read({}, ["picture"]), ["picture"], n=20)
    assert set(future.result()) == {"colour"}
    assert any(row.cancel() for row in waiting)
    engine.close()
    assert all(row.done() for row in waiting)


def test_a_call_that_nobody_waits_for_any_more_does_not_end_the_thread(trained):
    import polymodal as pm

    engine, begun, go_on = Engine(pm.open(trained)), threading.Event(), threading.Event()
    at_work = engine.call(lambda: (begun.set(), go_on.wait(10)))
    begun.wait(10)
    waiting = engine.call(lambda: 1 / 0)
    assert waiting.cancel()
    assert not at_work.cancel()  # too late
    go_on.set()
    (row,) = engine.submit(engine.read({}, ["colour"]), ["colour"])
    assert set(row.result(timeout=30)) == {"colour"}
    engine.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing"], "no folder"),
        (["{run}", "--host", "0.0.0.0"], "--api-key-file"),
        (["{run}", "--map", "prompt=nam"], "name"),
        (["{run}", "{run}"], "another run"),
        (["{run}", "--batch-rows", "0"], "above 0"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_listens(trained, capsys, arguments, message):
    assert main(["serve", *(word.replace("{run}", str(trained)) for word in arguments)]) == 2
    assert message in capsys.readouterr().err


def test_a_signal_finishes_what_was_begun(trained):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polymodal", "serve", str(trained), "--port", str(port)]
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                httpx.get(f"{address}/ready")
                break
            except httpx.TransportError:
                time.sleep(0.1)
        wanted = {"to": ["picture", "tone"], "n": 32, "seed": 1}
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(httpx.post, f"{address}/v1/generate", json=wanted, timeout=60)
            time.sleep(0.3)
            process.send_signal(signal.SIGTERM)
            assert len(json.loads(asked.result().text)["samples"]) == 32
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
