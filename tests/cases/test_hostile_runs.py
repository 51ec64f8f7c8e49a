"""A run folder that anybody may have made: it opens, or is refused by a CheckpointError, and takes no memory before."""

import hashlib
import json
import os
import resource
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polymodal import checkpoint as checkpoints
from polymodal.cli.main import main
from polymodal.errors import CheckpointError
from polymodal.files import file_name

FILES = ("config.json", "model.safetensors", "ema.safetensors", "checksums.json")
DEEP = b"[" * 100_000
WRONG: list[Any] = [None, [], {}, "x", -1, 10**9, 1e300, [[]], {"kind": []}, True]


@pytest.fixture
def saved(trained: Path, tmp_path: Path) -> Path:
    """A copy of the newest checkpoint, without what only training needs."""
    newest = sorted((trained / "checkpoints").glob("step-*"))[-1]
    copy = shutil.copytree(newest, tmp_path / "saved")
    shutil.rmtree(copy / "trainer")
    sign(copy)
    return copy


def sign(folder: Path) -> None:
    """Makes the checksums those of the files, as whoever changes a file can."""
    files = [path for path in folder.iterdir() if path.name != "checksums.json" and path.is_file()]
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    (folder / "checksums.json").write_text(json.dumps(sums))


def refused(folder: Path) -> str | None:
    """Why a folder cannot be opened; None if it can."""
    try:
        checkpoints.load_model(folder)
    except CheckpointError as error:
        return str(error)
    return None


def damaged(content: bytes) -> Iterator[bytes]:
    middle = len(content) // 2
    flipped = bytearray(content)
    flipped[middle] ^= 255
    yield from (b"", content[:middle], content[:-1], content + b"x", bytes(flipped), b"\xff" * 8 + content, DEEP)
    yield from (b"[]", b"5", b"null", b"\x80\x04cos\nsystem\n", b"PK\x03\x04", struct.pack("<Q", 1 << 40) + b"{}")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_a_file_that_is_damaged_is_refused(saved, name, signed):
    file, content = saved / name, (saved / name).read_bytes()
    opened = 0  # a sign that was changed in a text or a number, and signed, may be as good as any other
    for bad in damaged(content):
        file.write_bytes(bad)
        if signed and name != "checksums.json":
            sign(saved)
        opened += refused(saved) is None
    assert opened <= (2 if signed else 0)
    file.unlink()
    assert refused(saved)
    if os.name == "posix":
        os.mkfifo(file)
        assert refused(saved)


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, value in tree.items() if isinstance(tree, dict) else ():
        yield from places(value, (*path, key))


@pytest.mark.parametrize("offset", range(6))
def test_a_configuration_with_any_value_in_any_place_opens_or_is_refused(saved, offset):
    config = json.loads((saved / "config.json").read_text())
    sums = json.loads((saved / "checksums.json").read_text())
    every = list(places(config))
    told = 0
    for number, path in enumerate(every[offset::12]):
        value = WRONG[(number + offset) % len(WRONG)]
        changed = json.loads(json.dumps(config))
        inner = changed
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        (saved / "config.json").write_text(json.dumps(changed))
        sums["config.json"] = hashlib.sha256((saved / "config.json").read_bytes()).hexdigest()
        (saved / "checksums.json").write_text(json.dumps(sums))
        told += refused(saved) is not None
    assert told


CLAIMS = {
    "width": ("recipe", "width"),
    "depth": ("recipe", "fusion", "depth"),
    "picture": ("fields", "picture", "size"),
    "sound": ("fields", "tone", "max_seconds"),
    "window": ("fields", "tone", "n_fft"),
    "numbers": ("fields", "place", "size"),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_of_a_huge_model_takes_no_memory(saved, claim):
    for huge in (10**6, 10**9):
        config = json.loads((saved / "config.json").read_text())
        inner = config
        *path, last = CLAIMS[claim]
        for key in path:
            inner = inner[key]
        inner[last] = huge
        (saved / "config.json").write_text(json.dumps(config))
        sign(saved)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        reason = refused(saved)
        assert reason
        assert "\n" not in reason
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


@pytest.mark.parametrize(
    "name", ["../out", "/tmp/out", "a/b", "..", ".", "", "a.b", "a\x1b[31m", "a\nb", "training", "x" * 300]
)
def test_a_field_of_a_name_that_none_may_have_is_refused(saved, name):
    config = json.loads((saved / "config.json").read_text())
    for tree in (config["fields"], config["recipe"]["fields"]):
        tree[name] = tree.pop("colour")
    (saved / "config.json").write_text(json.dumps(config))
    sign(saved)
    reason = refused(saved)
    assert reason
    assert "\x1b" not in reason


def test_weights_that_are_no_numbers_are_refused(saved):
    content = (saved / "model.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    (saved / "model.safetensors").write_bytes(
        content[: 8 + size] + b"\xff\xff\xff\x7f" * ((len(content) - 8 - size) // 4)
    )
    (saved / "ema.safetensors").unlink()
    sign(saved)
    assert "not finite" in (refused(saved) or "")


def test_a_link_that_leads_out_of_a_run_is_refused(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation", "judge"))
    outside = tmp_path / "outside"
    outside.mkdir()
    for name, target in {"evaluation": outside, "metrics.jsonl": tmp_path / "log", "judge": tmp_path / "none"}.items():
        if (run / name).exists():
            (run / name).unlink()
        (run / name).symlink_to(target)
        with pytest.raises(CheckpointError, match=f"{name}: is a link that leads out"):
            checkpoints.load_model(run)
        (run / name).unlink()
    (tmp_path / "latest").symlink_to(run)  # a run may be named by a link
    assert refused(tmp_path / "latest") is None
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    snapshot = tmp_path / "snapshot"  # as the cache of the hub holds one
    snapshot.mkdir()
    for file in newest.glob("*.*"):
        (snapshot / file.name).symlink_to(file)
    (snapshot / "checksums.json").unlink()
    sums = json.loads((newest / "checksums.json").read_text())
    (snapshot / "checksums.json").write_text(json.dumps({n: s for n, s in sums.items() if "/" not in n}))
    assert refused(snapshot) is None


def test_texts_of_a_run_never_reach_the_terminal_raw(saved, capsys):
    config = json.loads((saved / "config.json").read_text())
    config["recipe"]["description"] = "[/x] [red]\x1b]0;owned\x07"
    config["recipe"]["data"]["source"] = "[/y]\x9b31m"
    (saved / "config.json").write_text(json.dumps(config))
    sign(saved)
    assert main(["info", str(saved)]) == 0
    shown = capsys.readouterr().out
    assert "[/x] [red]\\x1b]0;owned\\x07" in shown
    assert not {"\x1b", "\x9b", "\x07"} & set(shown)


@pytest.mark.parametrize(
    "name",
    ["/etc/x", "..", "", ".hidden", "a/../../b", "CON", "nul.txt", "a\0b", "x" * 500, "é" * 140, "a:b", "a ", "\ud800"],
)
def test_any_name_becomes_that_of_a_file_in_the_folder(tmp_path, name):
    made = file_name(name)
    assert Path(made).name == made != name
    assert not made.startswith(".")
    assert len(made.encode()) < 200
    (tmp_path / made).write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == [made]
    assert file_name(f"{name}?") != file_name(f"{name}*")


@pytest.mark.parametrize("name", ["picture", "col [red]", "größe", "名前", "a-b_c", "x.y"])
def test_a_plain_name_stays(name):
    assert file_name(name) == name
