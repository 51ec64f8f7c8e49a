"""Checkpoints are written whole or not at all, checked when read, and hold no code."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from socket import gethostname

import pytest
import torch

from polymodal import checkpoint as checkpoints
from polymodal.errors import CheckpointError
from polymodal.modalities import Label, Vector


def save(stage, step, value=0.0, keep=2, **more):
    tensors = {"model": {"w": torch.full((2, 3), value)}, "trainer/optimizer": {"m.0.step": torch.tensor(1.0)}}
    return checkpoints.save(stage, step, tensors, {"config": {"a": "é"}, "trainer/state": {"step": step}}, keep, **more)


def test_what_is_written_is_read(tmp_path):
    save(tmp_path, 7, 1.5)
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert saved.step == 7
    assert torch.equal(saved.tensors("model")["w"], torch.full((2, 3), 1.5))
    assert saved.document("config") == {"a": "é"}
    assert saved.document("trainer/state") == {"step": 7}
    files = {str(path.relative_to(saved.path)) for path in saved.path.rglob("*") if path.is_file()}
    assert files == {
        "config.json", "model.safetensors", "trainer/optimizer.safetensors", "trainer/state.json", "checksums.json"
    }  # fmt: skip


def test_the_newest_few_are_kept_and_rests_are_swept(tmp_path):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    (tmp_path / "checkpoints" / f".partial-{killed.pid}@{gethostname()}--step-00000001").mkdir(parents=True)
    for step in (1, 2, 9, 10):
        save(tmp_path, step)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-00000009", "step-00000010"]
    save(tmp_path, 10, 4.0)  # again, as a resumed run may
    assert checkpoints.find(tmp_path).tensors("model")["w"][0, 0] == 4


def test_checkpoints_are_bounded_in_bytes_and_the_newest_stays(tmp_path):
    size = sum(file.stat().st_size for file in save(tmp_path, 1).rglob("*") if file.is_file())
    for most, left in ((3.5 * size, [3, 4, 5]), (2.5 * size, [4, 5]), (0.5 * size, [5])):
        for step in (2, 3, 4, 5):
            save(tmp_path, step, keep=4, keep_bytes=most)
        assert [int(path.name[5:]) for path in sorted((tmp_path / "checkpoints").iterdir())] == left


def test_a_full_disk_is_one_line_without_rubble_and_goes_on_with_room(tmp_path):
    """A limit of the size of files stands in for a disk; what the system says is another word for the same."""
    program = (
        "import resource, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from polymodal import checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try:\n"
        "    checkpoint.save(Path(sys.argv[1]), 3, {'model': {'w': torch.zeros(10_000)}}, {'config': {}}, 1)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    save(tmp_path, 2)
    done = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert "model.safetensors" in done.stdout
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]
    save(tmp_path, 3)
    assert checkpoints.newest(tmp_path).step == 3


def test_only_one_function_writes_tensors_to_files():
    """Others of libraries raise errors of their own where a disk is full."""
    package = Path(checkpoints.__file__).parent
    users = {
        word: {path.name for path in package.rglob("*.py") if f"{word}(" in path.read_text(encoding="utf-8")}
        for word in ("save_file", "write_index", "torch.save")
    }
    assert users == {"save_file": {"files.py"}, "write_index": set(), "torch.save": set()}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "trainer/optimizer.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_any_harm_is_found_and_named(tmp_path, name, harm):
    save(tmp_path, 1)
    path = save(tmp_path, 2) / name
    content = bytearray(path.read_bytes())
    if harm == "remove":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes(content if harm == "flip" else content[:-1])
    with pytest.warns(UserWarning, match=f"step-00000002: {name} is (corrupt|missing)"):
        saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert saved.step == 1


def test_no_checkpoint_at_all(tmp_path):
    assert checkpoints.newest(tmp_path) is None
    with pytest.raises(CheckpointError, match="holds no whole checkpoint"):
        checkpoints.find(tmp_path)


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels_last"])
def test_a_restored_optimizer_takes_the_same_steps(layout):
    """The averages must lie in memory as their parameter does: fused optimizers walk both by place."""

    def make():
        torch.manual_seed(0)
        weight = torch.randn(4, 3, 2, 2)
        weight = {
            "contiguous": weight,
            "transposed": weight.transpose(0, 1).contiguous().transpose(0, 1),
            "channels_last": weight.contiguous(memory_format=torch.channels_last),
        }[layout]
        parameter = torch.nn.Parameter(weight)
        return parameter, torch.optim.AdamW([parameter], lr=0.1, fused=True)

    def steps(parameter, optimizer, numbers):
        for number in numbers:
            optimizer.zero_grad()
            (parameter * torch.arange(48.0).view(4, 3, 2, 2).sin() * number).square().sum().backward()
            optimizer.step()

    whole, optimizer = make()
    steps(whole, optimizer, range(1, 7))
    first, optimizer = make()
    steps(first, optimizer, range(1, 4))
    file = {
        name: value.contiguous() for name, value in checkpoints.flatten_optimizer(optimizer.state_dict(), "m").items()
    }
    second, optimizer = make()
    second.data.copy_(first.data)
    checkpoints.restore_optimizer(optimizer, file, "m")
    steps(second, optimizer, range(4, 7))
    assert torch.equal(second, whole)


def test_a_model_comes_back_from_its_config(trained, tmp_path):
    model = checkpoints.load_model(trained)
    config = json.loads(json.dumps(checkpoints.config_of(model)))
    again = checkpoints.model_from_config(config, "here")
    assert {name: p.shape for name, p in again.named_parameters()} == {n: p.shape for n, p in model.named_parameters()}
    assert isinstance(again.modalities["colour"], Label)
    assert again.modalities["colour"].names == ["blue", "green", "red"]
    place = again.modalities["place"]
    assert isinstance(place, Vector)
    assert place.mean == model.modalities["place"].mean
    with pytest.raises(
        CheckpointError, match=f"here: its format is 99; this version reads formats 2, 3, {checkpoints.FORMAT}"
    ):
        checkpoints.model_from_config(config | {"format": 99}, "here")

    averaged, last = model.state_dict(), checkpoints.load_model(trained, averaged=False).state_dict()
    assert any(not torch.equal(averaged[name], last[name]) for name in averaged)
    folder = checkpoints.save_model(model, tmp_path / "own")
    for name, value in checkpoints.load_model(folder).state_dict().items():
        assert torch.equal(value, averaged[name])
    checkpoints.save_model(model, tmp_path / "own")  # its own folder may be written again
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("precious")
    with pytest.raises(CheckpointError, match="holds no saved model"):
        checkpoints.save_model(model, tmp_path / "other")
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_nothing_is_pickled(trained):
    endings = {path.suffix for path in (trained / "checkpoints").rglob("*") if path.is_file()}
    assert endings == {".json", ".safetensors"}
    copy = trained.parent / "moved"
    shutil.copytree(trained, copy)
    assert checkpoints.load_model(copy).recipe == checkpoints.load_model(trained).recipe
    shutil.rmtree(copy)
