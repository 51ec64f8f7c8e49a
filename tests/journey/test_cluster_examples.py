"""The scripts for schedulers are sound, and so is what they say to ``polymodal``."""

import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from polymodal.cli.main import _parser
from polymodal.config import load_recipe
from polymodal.yaml_text import parse_override

FOLDER = Path(__file__).parents[2] / "examples" / "cluster"


def arguments_after(words: list[str]) -> list[str]:
    return words[words.index("train") :]


def check(words: list[str]) -> None:
    """Whether the command line takes them, and the recipe their settings."""
    parsed = _parser(words).parse_args(words)
    recipe = load_recipe("any-to-any", dict(parse_override(text) for text in parsed.set))
    assert recipe.train.engine["kind"] == "sharded"


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.slurm")), ids=lambda file: file.name)
def test_a_slurm_script_is_sound(file):
    assert subprocess.run(["bash", "-n", str(file)], capture_output=True, check=True).stderr == b""
    text = file.read_text().replace("\\\n", " ")
    command = next(line for line in text.splitlines() if line.startswith("srun"))
    words = shlex.split(command.replace("$recipe", "any-to-any").replace("$data", "d").replace("$run", "r"))
    check(arguments_after(words[: words.index("&")]))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.name)
def test_a_kubernetes_manifest_is_sound(file):
    service, job = yaml.safe_load_all(file.read_text())
    assert (service["kind"], job["kind"]) == ("Service", "Job")
    spec = job["spec"]
    assert spec["completions"] == spec["parallelism"]
    [container] = spec["template"]["spec"]["containers"]
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["template"]["spec"]["volumes"]}
    assert f"--nnodes={spec['completions']}" in container["command"]
    check(arguments_after(container["command"]))
