"""The layers, and the only direction in which imports may run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import polymodal
from polymodal.modalities import MODALITIES

ROOT = Path(polymodal.__file__).parent

LAYERS = [
    ["types", "errors", "files", "migration", "stopping", "launch"],
    ["arguments", "claims", "device", "progress", "ray_cluster", "yaml_text"],
    ["nn", "checkpoint_pieces"],
    ["modalities"],
    ["data"],
    ["pretrained"],
    ["encoders", "codecs", "vocoders", "fusion", "alignment", "heads", "balancing"],
    ["parts"],
    ["config", "recipes"],
    ["condition", "sizes", "quantisation"],
    ["model"],
    ["checkpoint", "resolution"],
    ["generation", "pivots", "prior", "samples"],
    ["guess", "tables"],
    ["baseline", "cell_filler", "embedding"],
    ["familiarity", "fill", "search"],
    ["bulk"],
    ["training", "evaluation"],
    ["preparation"],
    ["packaging", "export", "kept"],
    ["api"],
    ["fitting", "cluster", "serving", "studio"],
    ["cli"],
]
"""From the bottom to the top. A package imports only packages of earlier lines, never one of its own line."""

RANKS = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(ROOT.rglob("*.py"))


def package(file: Path) -> str:
    """``nn`` of ``polymodal/nn/ode.py``; ``model`` of ``polymodal/model.py``."""
    return file.relative_to(ROOT).with_suffix("").parts[0]


def imported(file: Path) -> set[str]:
    """Packages of ours that a file imports anywhere, inside functions too; not for the type checker alone."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {
                f"{node.module}.{alias.name}" if node.module == "polymodal" else str(node.module)
                for alias in node.names
            }
    parts = [name.split(".") for name in names]
    return {words[1] for words in parts if words[0] == "polymodal" and len(words) > 1} - {"__version__"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_run_downwards(file):
    own = package(file)
    if own in ("__init__", "__main__"):
        return
    assert own in RANKS, f"{own} has no layer"
    for other in imported(file) - {own}:
        assert RANKS[other] < RANKS[own], f"{file.relative_to(ROOT)} of {own} imports {other}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_are_short_and_well_named(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 500
    assert file.stem not in ("utils", "util", "helpers", "misc", "common")
    text = file.read_text(encoding="utf-8")
    assert "TODO" not in text
    assert "FIXME" not in text


def test_inheritance_is_one_level_deep():
    """Our classes have at most one of ours above them, exceptions and test doubles aside."""
    from polymodal.balancing import BALANCERS
    from polymodal.codecs import CODECS
    from polymodal.encoders import ENCODERS
    from polymodal.fusion import FUSIONS
    from polymodal.heads import HEADS
    from polymodal.vocoders import VOCODERS

    for table in (MODALITIES, ENCODERS, CODECS, FUSIONS, HEADS, VOCODERS, BALANCERS):
        for part in table.values():
            ours = [base for base in part.__mro__[1:] if base.__module__.startswith("polymodal")]
            assert len(ours) == 1, f"{part.__name__}: {[base.__name__ for base in ours]}"
            assert part.__doc__


KNOWS_MODALITIES = (ROOT / "modalities", ROOT / "evaluation" / "kinds", ROOT / "studio" / "widgets")
"""Folders in which code may ask which modality a field is."""


def questions(tree: ast.AST) -> list[str]:
    """Where code asks what kind a modality, or an object that one wrote, is: by its class, a name or an attribute."""
    classes = {kind.__name__ for kind in MODALITIES.values()} | {"Waveform", "Numbers", "PILImage"}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            asked = [inner for argument in node.args[1:] for inner in ast.walk(argument)]
            if node.func.id in ("isinstance", "issubclass") and classes & {getattr(a, "id", None) for a in asked}:
                found.append(ast.unparse(node))
            if node.func.id in ("hasattr", "getattr") and {"save", "sample_rate_hz", "vocoder"} & {
                getattr(a, "value", None) for a in asked if isinstance(getattr(a, "value", None), str)
            }:
                found.append(ast.unparse(node))
        if isinstance(node, ast.Compare):
            asked = [inner for side in (node.left, *node.comparators) for inner in ast.walk(side)]
            names = {a.value for a in asked if isinstance(a, ast.Constant) and isinstance(a.value, str)}
            if names & set(MODALITIES):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_only_modalities_know_their_kind(file):
    if file.parent not in KNOWS_MODALITIES:
        assert questions(ast.parse(file.read_text(encoding="utf-8"))) == []


def test_questions_about_kinds_are_found():
    for code in (
        "isinstance(modality, Audio)",
        "isinstance(modality, Text | Label)",
        "isinstance(thing, PILImage.Image)",
        "hasattr(thing, 'save')",
        "field.modality == 'image'",
        "kind in ('audio', 'video')",
    ):
        assert questions(ast.parse(code)) == [code]
    assert questions(ast.parse("isinstance(path, Path) or kind == 'flow' or hasattr(self, 'save_model')")) == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_is_said_of_an_argument_stands_alone(file):
    elsewhere = re.compile(r"^ *(\w+: )?(As (of|in|above|``)|The same as|Likewise).*", re.MULTILINE)
    tree = ast.parse(file.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, documented)]
    entries = "\n".join(text.partition("\n")[2] for text in texts)  # the first line may compare
    assert [found[0].strip() for found in elsewhere.finditer(entries)] == []


def test_importing_is_light():
    code = "import sys, polymodal; sys.exit(sum(m in sys.modules for m in ('torch', 'numpy', 'pydantic', 'datasets')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    heavy = "('datasets', 'tensorboard', 'accelerate', 'pandas')"
    code = f"import sys, polymodal as pm; pm.load, pm.Image, pm.Model; sys.exit(sum(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_there():
    for name in polymodal.__all__:
        assert getattr(polymodal, name) is not None
    assert set(polymodal.__all__) <= set(dir(polymodal))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        polymodal.lod  # noqa: B018
