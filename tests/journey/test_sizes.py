"""`any-to-any` takes pictures, clips and texts of any size, and a word makes it smaller or larger."""

import json
import logging
import wave

import numpy as np
import pytest
from PIL import Image

import polymodal as pm

FEW = {
    "train.steps": 5,
    "train.codec_steps": 2,
    "train.batch_size": 2,
    "train.codec_batch_size": 2,
    "data.validation": 0.0,
    "data.test": 0.0,
}
PICTURES = [
    ((28, 28), 1), ((28, 28), 3), ((32, 32), 3), ((48, 64), 3), ((96, 96), 1), ((100, 100), 3), ((128, 128), 3),
    ((256, 256), 3)
]  # fmt: skip


def train(rows, fields, run, **settings) -> pm.Generator:
    source = run.parent / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = pm.load(source, fields, validation=0.0, test=0.0)
    return pm.fit("any-to-any", data, run=run, set=FEW | settings)


def noise(folder, number, size, channels):
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).convert("L" if channels == 1 else "RGB").save(folder / f"{number}.png")
    return f"{number}.png"


@pytest.mark.parametrize(("size", "channels"), PICTURES)
def test_pictures_of_any_size(tmp_path, caplog, size, channels):
    caplog.set_level(logging.INFO, "polymodal")
    rows = [{"picture": noise(tmp_path, k, size, channels), "name": f"number {k}"} for k in range(4)]
    fields = {"picture": pm.Image(size=list(size), channels=channels), "name": pm.Text(max_length=16)}
    run = train(rows, fields, tmp_path / "run")
    made = run.generate({"name": "number 1"}, to="picture", options={"picture": {"steps": 2}})["picture"][0]
    assert made.size == size[::-1]
    assert made.mode == ("L" if channels == 1 else "RGB")
    parts = json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]["fields"]["picture"]
    assert (parts["codec"] is None) == (size[0] * size[1] <= 1024)  # small pictures are learned as they are
    head = parts["head"]
    assert f"{channels}x{size[0]}x{size[1]}" in (line := caplog.text)
    sides = head["patch"] if isinstance(head["patch"], list) else [head["patch"]]
    assert f"patch={','.join(map(str, sides))}" in line
    again = pm.open(tmp_path / "run").generate({"name": "number 1"}, to="picture", options={"picture": {"steps": 2}})
    assert np.array_equal(np.asarray(again["picture"][0]), np.asarray(made))


def test_long_clips_and_texts(tmp_path):
    rows = []
    for number in range(3):
        with wave.open(str(tmp_path / f"{number}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(
                np.random.default_rng(number).integers(-9999, 9999, 160_000 - 9000 * number, "<i2").tobytes()
            )
        rows.append({"speech": f"{number}.wav", "text": "abc de " * (285 - number)})
    fields = {"speech": pm.Audio(max_seconds=10.0), "text": pm.Text(max_length=2000)}
    run = train(rows, fields, tmp_path / "run")
    made = run.generate({"text": rows[0]["text"]}, to="speech", options={"speech": {"steps": 2}})["speech"][0]
    assert 0 < len(made.samples) <= 160_000
    assert isinstance(run.generate({}, to="text", options={"text": {"temperature": 0.0}})["text"][0], str)


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_a_word_scales_a_whole_recipe(tmp_path, size):
    rows = [{"picture": noise(tmp_path, k, (16, 16), 3), "place": [k, -k]} for k in range(4)]
    fields = {"picture": pm.Image(size=16), "place": pm.Vector(size=2)}
    run = train(rows, fields, tmp_path / "run", size=size)
    recipe = json.loads((tmp_path / "run" / "config.json").read_text())["recipe"]
    width, depth, heads, channels = {"tiny": (96, 1, 2, [24, 48]), "base": (384, 2, 8, [96, 192])}[size]
    assert (recipe["size"], recipe["width"]) == ("small", width)
    encoder, head = (recipe["fields"]["picture"][family] for family in ("encoder", "head"))
    assert (encoder["depth"], head["heads"], head["channels"]) == (depth, heads, channels)
    assert run.model.fusion.transformer.head_width == 48
    assert pm.open(tmp_path / "run").generate({"place": [1, 2]}, to="picture")["picture"][0].size == (16, 16)
