"""Every recipe that comes with the package: trained for a few steps, opened again, and asked to generate."""

import json

import numpy as np
import pytest
import soundfile
from PIL import Image

import polymodal as pm
from polymodal.cli.main import main
from polymodal.config import load_recipe, recipe_names

WORDS = ("sandal", "ankle boot", "bag", "coat")
CHINESE = ("凉鞋", "短靴", "包", "外套")
STRUCTURES = ("CC(=O)O", "c1ccccc1O", "CC(C)=O", "C1CCCCC1=O")
ROWS = 32


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A table with every column that a recipe asks for, of a sort of its own: a colour for each word, and a pitch."""
    folder = tmp_path_factory.mktemp("table")
    random, table = np.random.default_rng(0), []
    for number in range(ROWS):
        kind = number % len(WORDS)
        pixels = np.full((28, 28), 60 * kind + 20) + random.integers(0, 20, (28, 28))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
        first, *rest = [Image.fromarray(np.roll(pixels, t, 1).astype(np.uint8)) for t in range(3 + number % 3)]
        first.save(folder / f"{number}.gif", save_all=True, append_images=rest, duration=120)
        time = np.arange(8000 + 200 * (number % 5)) / 16_000
        wave = 0.5 * np.sin(2 * np.pi * (200 + 100 * kind) * time)
        soundfile.write(folder / f"{number}.wav", wave, 16_000)
        np.save(folder / f"{number}.npy", random.normal(size=(80, 3)) * (1 + kind, 1, 2))
        table.append(
            {
                "icon": f"{number}.png",
                "shape": f"{number}.npy",
                "picture": f"{number}.png",
                "image": f"{number}.png",
                "caption": f"a picture of a {WORDS[kind]}",
                "name": WORDS[kind],
                "name_zh": CHINESE[kind],
                "label": WORDS[kind],
                "speech": f"{number}.wav",
                "structure": "C" * (number % 5) + STRUCTURES[kind],
                "trace": [[float(kind), step / 4] for step in range(10 + number % 5)],
                **dict.fromkeys(("logp", "mass", "tpsa", "rings", "donors"), number % 7 + kind / 4),
                "melting_point": 200.0 + 10 * kind,
                "boiling_point": 300.0 + 10 * kind + number % 3,
                "video": f"{number}.gif",
                "face": f"{number}.gif",
                "mouth": [[kind / 4 + step / 20] for step in range(6 + number % 5)],
                "text": f"a {WORDS[kind]} face",
                "short": WORDS[kind],
                "section": WORDS[kind],
                **dict.fromkeys(("long", "short_en", "short_fr", "short_de"), f"It is a {WORDS[kind]}, and no other."),
                "split": "validation" if number == 0 else "train",
            }
        )
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in table))
    return file


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_and_generates(name, rows, tmp_path):
    small = {"train.steps": 2, "train.codec_steps": 2, "train.vocoder_steps": 2}
    small |= {"train.batch_size": 8, "train.codec_batch_size": 8}
    if "shape" in load_recipe(name).fields:
        small["fields.shape.count"] = 64
    source = rows
    if not load_recipe(name).fields:  # it takes the fields that there are: not every column under two names
        keep = ("picture", "name", "speech", "label", "structure", "trace")
        table = [json.loads(line) for line in rows.read_text().splitlines()]
        source = rows.parent / "some.jsonl"
        source.write_text("".join(json.dumps({column: row[column] for column in keep}) + "\n" for row in table))
    settings = [word for key, value in small.items() for word in ("--set", f"{key}={value}")]
    assert main(["train", name, "--data", str(source), "-o", str(tmp_path / "run"), *settings]) == 0
    model = pm.open(tmp_path / "run")
    row = model.data().train[0]
    given = {field: row[field] for field in model.inputs if field not in model.outputs}
    if not given and len(model.outputs) > 1:
        given = {field: row[field] for field in model.inputs if field != model.outputs[0]}
    to = [field for field in model.outputs if field not in given]
    assert to
    out = model.generate(given, to=to, n=2, seed=0)
    for field in to:
        assert len(out[field]) == 2
        assert type(out[field][0]) is type(row[field])


@pytest.mark.parametrize("name", [name for name in recipe_names() if load_recipe(name).fields])
def test_a_recipe_says_what_does_not_fit(name, tmp_path, capsys):
    (tmp_path / "rows.jsonl").write_text('{"number": 3}\n' * 4)
    assert main(["train", name, "--data", str(tmp_path / "rows.jsonl"), "-o", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert ".column: '" in message
    assert "is unknown;" in message
    assert message.endswith("(number)\n")
    assert not (tmp_path / "run").exists()
