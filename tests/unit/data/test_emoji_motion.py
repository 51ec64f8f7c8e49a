"""The built-in data set ``emoji-motion``, from small files named as the real ones are."""

import io
import tarfile

import numpy as np
import pytest

import polymodal as pm
from polymodal.data.emoji_motion.files import PARTS, fetch, moving_files
from polymodal.modalities.video import Clip

HANDS = [f"1f44d-1f3f{digit}" for digit in "bcdef"]
MOVING = ["1f34e", "2764-fe0f", *HANDS]


def a_clip(seed: int, frames: int = 6) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    return Clip(pixels, 12.0).encode(".webp")


@pytest.fixture
def folder(tmp_path):
    assets = tmp_path / "package" / "assets"
    assets.mkdir(parents=True)
    for seed, name in enumerate(["1f44d", *MOVING]):
        (assets / f"{name}.webp").write_bytes(a_clip(seed))
    (assets / "1f600.webp").write_bytes(Clip(np.zeros((1, 16, 16, 3), np.uint8), 12.0).encode(".webp"))
    (assets / "readme.webp").write_bytes(a_clip(9))
    (assets / ".gitkeep").touch()
    return tmp_path / "package"


def test_files_that_move_are_found_in_folders_and_archives(folder, tmp_path):
    found = moving_files([folder])
    assert set(found) == {"1F34E", "2764", "1F44D", *(name.upper() for name in HANDS)}
    with tarfile.open(tmp_path / "part.tgz", "w:gz") as archive:
        archive.add(folder, "package")
    assert moving_files([tmp_path / "part.tgz"]) == found
    (tmp_path / "broken.tgz").write_bytes(b"no archive")
    with pytest.raises(pm.DataError, match=r"emoji-motion: .*broken.tgz cannot be read"):
        moving_files([tmp_path / "broken.tgz"])


def test_archives_that_are_there_are_not_fetched_and_others_need_npm(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pm.DataError, match=r"npm is not on this machine.*emoji-motion:folder=FOLDER"):
        fetch(PARTS[:1], tmp_path / "npm")
    archive = tmp_path / "npm" / "lobehub-fluent-emoji-anim-1-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as packed:
        content = a_clip(0)
        member = tarfile.TarInfo("package/assets/1f34e.webp")
        member.size = len(content)
        packed.addfile(member, io.BytesIO(content))
    assert fetch(PARTS[:1], tmp_path / "npm") == [archive]
    assert moving_files([archive]) == {"1F34E": content}


def test_it_is_built_and_loaded(folder, tmp_path):
    pytest.importorskip("espeakng_loader", reason="needs the extra 'demo'")
    data = pm.load(f"emoji-motion:voices=2,folder={folder}", cache=tmp_path / "cache")
    assert not data.rejected
    assert not data.bad_cells
    rows = list(data.rows)
    assert {row["name"] for row in rows} == {"red apple", "red heart", "thumbs up"}
    apples = [row for row in rows if row["name"] == "red apple"]
    assert len(apples) == 4
    assert len({row["voice"] for row in apples}) == 4
    assert all(len(row["video"]) == 3 and row["video"].rate_hz == 6 for row in rows)
    toned = [row for row in rows if row["skin_tone"] not in (None, "none")]
    assert len(toned) == 5
    assert all(row["speech"] is None for row in toned)
    kinds = data.test.column("held_out")
    assert kinds.count("voice") == 6
    assert set(kinds) <= {"voice", "tone"}
    with pytest.raises(pm.DataError, match="parts=9; from 1 to 4"):
        pm.load("emoji-motion:parts=9", cache=tmp_path / "cache")
