"""A run travels: to a folder with a model card, to a hub and back, and generates the same there to the last bit."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hub import serving

import polymodal as pm
from polymodal.cli.main import main
from polymodal.errors import CheckpointError

GIVEN = {"name": "red disc"}
TO = ["picture", "tone", "colour", "place"]


def samples(model: pm.Generator) -> list[bytes]:
    made = model.generate(GIVEN, to=TO, n=2, seed=3)
    return [np.asarray(thing).tobytes() for name in TO for thing in made[name]]


@pytest.fixture(scope="module")
def package(trained, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("packages") / "tiny"
    assert main(["package", str(trained), "-o", str(folder), "--license", "apache-2.0"]) == 0
    return folder


def head(folder: Path) -> dict:
    return yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])


def test_a_package_generates_the_same_to_the_last_bit(trained, package, tmp_path):
    there = pm.open(trained)
    again = pm.from_pretrained(there.save_pretrained(tmp_path / "saved")).package(tmp_path / "again")
    assert samples(pm.from_pretrained(package)) == samples(there) == samples(pm.from_pretrained(again))
    assert {path.name for path in package.iterdir()} == {
        "README.md", "checksums.json", "config.json", "model.safetensors",
    }  # fmt: skip


def test_a_package_says_nothing_of_the_authors_disk(trained, package, world):
    assert str(world) in json.dumps(pm.open(trained).model.recipe.data.source)
    for file in ("config.json", "README.md"):
        assert str(world) not in (package / file).read_text(encoding="utf-8")


def test_the_card_has_what_was_measured_and_nothing_else(trained, package, tmp_path):
    card = (package / "README.md").read_text(encoding="utf-8")
    assert head(package)["license"] == "apache-2.0"
    assert head(package)["library_name"] == "polymodal"
    assert "model-index" not in head(package)
    for said in ("It has not been scored", "Nobody has looked for any", "It has not been audited"):
        assert said in card
    run = shutil.copytree(trained, tmp_path / "run")
    assert main(["evaluate", str(run), "--rows", "4", "--judge-steps", "0", "--only", "name", "colour"]) == 0
    model = pm.open(run)
    folder = model.package(tmp_path / "scored", name="x|y <b>", data_name="*shapes*", data_licence="CC0 1.0")
    scores = json.loads((run / "evaluation" / "test.json").read_text())["scores"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "# x\\|y &lt;b&gt;" in card
    assert "Trained on `\\*shapes\\*`" in card
    for score in scores:
        interval = f"{score['value']:.3f} | {score['low']:.3f} to {score['high']:.3f}"
        assert re.search(rf"{' . '.join([*score['inputs'], score['output']])} \| .* \| {re.escape(interval)}", card)
    results = head(folder)["model-index"][0]["results"]
    assert [result["task"]["name"] for result in results] == ["name → colour", "colour → name"]
    assert results[0]["metrics"][0]["value"] == pytest.approx(scores[0]["value"], abs=1e-4)
    (run / "evaluation" / "test.json").write_text("[]")
    with pytest.raises(CheckpointError, match=r"test\.json"):
        model.package(tmp_path / "broken")


def test_a_package_replaces_nothing_but_a_package(trained, package, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    for more in ([], ["--overwrite"]):
        assert main(["package", str(trained), "-o", str(tmp_path / "mine"), *more]) == 2
        assert "choose another folder" in capsys.readouterr().err
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    copy = shutil.copytree(package, tmp_path / "copy")
    assert main(["package", str(trained), "-o", str(copy)]) == 2
    assert main(["package", str(trained), "-o", str(copy), "--overwrite", "--name", "new"]) == 0
    assert "# new" in (copy / "README.md").read_text()


HUB = """
import sys
import numpy as np, polymodal as pm
run, name = sys.argv[1:]
there = pm.open(run)
print(there.push_to_hub(name, licence="mit", private=True))
fetched = pm.from_pretrained(name)
given = dict(to=["picture", "name"], n=2, seed=5)
for key, things in there.generate({"colour": "red"}, **given).items():
    for thing, other in zip(things, fetched.generate({"colour": "red"}, **given)[key]):
        assert np.asarray(thing).tobytes() == np.asarray(other).tobytes(), key
for wrong, revision in (("me/other", None), (name, "v9"), ("no name", None), (run, "v1")):
    try:
        pm.from_pretrained(wrong, revision=revision)
    except pm.CheckpointError as error:
        print(f"refused: {str(error).splitlines()[0]}")
"""


def test_a_model_goes_to_a_hub_and_comes_back(trained, tmp_path):
    with serving() as (hub, address):
        environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "HF_HUB_DISABLE_XET": "1",
                       "HF_TOKEN": "hf_x", "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}  # fmt: skip
        command = [sys.executable, "-c", HUB, str(trained), "me/tiny"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        files = hub.repos["me/tiny"][hub.heads["me/tiny", "main"]]
    assert {"README.md", "config.json", "model.safetensors", "checksums.json"} <= files.keys()
    assert not [path for method, path in hub.asked if "resolve" in path and path.endswith("README.md")]
    link, *refused = done.stdout.splitlines()
    assert "/me/tiny/" in link
    for line, said in zip(
        refused, ("no such model", "no revision 'v9'", "no such run", "no revision 'v1'"), strict=True
    ):
        assert line.startswith("refused: ")
        assert said in line


@pytest.mark.parametrize("damage", ["pickle", "code", "link", "size"])
def test_a_hostile_package_is_refused_in_a_line(package, tmp_path, damage):
    folder = shutil.copytree(package, tmp_path / "hostile")
    weights = folder / "model.safetensors"
    if damage == "pickle":
        weights.rename(folder / "pytorch_model.bin")
        sums = json.loads((folder / "checksums.json").read_text())
        sums["pytorch_model.bin"] = sums.pop("model.safetensors")
        (folder / "checksums.json").write_text(json.dumps(sums))
    if damage == "code":
        sums = json.loads((folder / "checksums.json").read_text()) | {"modeling.py": "0"}
        (folder / "modeling.py").write_text("raise SystemExit('I was run')")
        (folder / "checksums.json").write_text(json.dumps(sums))
    if damage == "link":
        (folder / "evaluation").symlink_to(tmp_path)
    if damage == "size":
        weights.write_bytes((1 << 50).to_bytes(8, "little") + weights.read_bytes()[8:])
    with pytest.raises(CheckpointError) as refused:
        pm.from_pretrained(folder)
    assert "\n" not in str(refused.value)
