"""Every recipe that comes with the package: trained for a few steps, opened again, and asked to generate."""

import pytest

import polymodal as pm
from polymodal.cli.main import main
from polymodal.config import load_recipe, recipe_names
from tiny_rows import SOME, write_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A table with every column that a recipe asks for."""
    return write_rows(tmp_path_factory.mktemp("table"))


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """For recipes that take the fields that there are: not every column under two names."""
    return write_rows(tmp_path_factory.mktemp("some"), SOME)


@pytest.mark.parametrize("name", recipe_names())
def test_a_recipe_trains_and_generates(name, rows, some, tmp_path):
    small = {"train.steps": 2, "train.codec_steps": 2, "train.vocoder_steps": 2}
    small |= {"train.batch_size": 8, "train.codec_batch_size": 8}
    if "shape" in load_recipe(name).fields:
        small["fields.shape.count"] = 64
    source = rows if load_recipe(name).fields else some
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
