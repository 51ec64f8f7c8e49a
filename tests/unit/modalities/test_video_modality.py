"""Video: what is seen when, of files of every kind; ceilings; files that are written; recognition and previews."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage

import polymodal as pm
from polymodal.data import infer_fields
from polymodal.modalities.animations import durations_of, length_of
from polymodal.modalities.video import Clip, film_strip
from refusals import refused

GREYS = np.arange(10, 250, 40)


def pictures(count: int = 6, size: tuple[int, int] = (16, 16)) -> list[PILImage.Image]:
    """Plain greys, each another."""
    return [PILImage.new("RGB", size, (int(GREYS[i % 6]),) * 3) for i in range(count)]


def animation(kind: str, durations: list[int], **options) -> bytes:
    first, *rest = pictures(len(durations))
    file = io.BytesIO()
    options |= {"lossless": True} if kind == "WEBP" else {}
    first.save(file, kind, save_all=True, append_images=rest, duration=durations, loop=0, **options)
    return file.getvalue()


def greys(stored: np.ndarray) -> list[int]:
    """The index of the grey that each frame shows."""
    return [int(np.abs(GREYS - frame.mean()).argmin()) for frame in stored]


def ramp(count: int, side: int = 32) -> np.ndarray:
    """Frames (count, side, side, 3), the first dark, each a little lighter."""
    return np.broadcast_to(np.linspace(20, 230, count).astype(np.uint8)[:, None, None, None], (count, side, side, 3))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_frame_is_seen_as_long_as_its_file_says(kind):
    content = animation(kind, [100, 300, 200])
    assert durations_of(content) == [100, 300, 200]
    assert length_of(content) == pytest.approx((0.6, 5.0))
    assert greys(pm.Video(size=8, rate_hz=10).read(content)) == [0, 1, 1, 1, 2, 2]
    assert greys(pm.Video(size=8, rate_hz=20).read(content)) == [0] * 2 + [1] * 6 + [2] * 4
    assert greys(pm.Video(size=8, rate_hz=5).read(content)) == [1, 1, 2]  # what is seen at 0.1, 0.3 and 0.5 s
    assert greys(pm.Video(size=8, rate_hz=0.5).read(content)) == [2]  # shorter than half a frame: its end


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_without_a_duration_are_seen_as_browsers_show_them(kind):
    assert durations_of(animation(kind, [0, 10, 20])) == [100, 100, 20]


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".mkv", ".mov"])
def test_a_film_is_resampled_in_time(suffix):
    content = Clip(ramp(30), 30.0).encode(suffix)
    assert durations_of(content) == []
    assert length_of(content) == pytest.approx((1.0, 30.0), rel=0.02)
    frames = pm.Video(size=32, rate_hz=10).read(content)
    wanted = ramp(30)[[1, 4, 7, 10, 13, 16, 19, 22, 25, 28]][..., 0].mean((1, 2))
    np.testing.assert_allclose(frames.mean((1, 2, 3)), wanted, atol=5)


def test_a_film_is_seen_as_the_camera_was_held():
    frames = np.zeros((4, 16, 32, 3), np.uint8)
    frames[:, :, :16] = 255  # light on the left
    content = Clip(frames, 8.0).encode(".mp4")
    place = content.index(b"tkhd") + 4 + 40
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)  # a quarter, clockwise
    seen = pm.Video(size=[32, 16], rate_hz=8).read(content[:place] + turned + content[place + 36 :])
    assert seen.shape == (4, 3, 32, 16)
    assert seen[:, :, :14].mean() > 230
    assert seen[:, :, 18:].mean() < 25


def test_a_clip_that_claims_an_hour_is_refused_before_it_is_decoded():
    webp = bytearray(animation("WEBP", [1_800_000, 1_800_000]))
    place = webp.index(b"VP8L")
    webp[place + 8 : place + 12] = b"\xff" * 4  # nothing that could be decoded
    for content in (bytes(webp), Clip(np.zeros((3600, 16, 16, 3), np.uint8), 1.0).encode(".mp4")):
        with refused("3600.00 s long", "at most 2 s", "frames=16", "rate_hz=8", by=pm.DataError):
            pm.Video(size=8).read(content)
    with refused("2.25 s long", "at most 2 s", by=pm.DataError):
        pm.Video(size=8).read(pictures() * 3)


@pytest.mark.parametrize("content", [animation("GIF", [100, 100]), Clip(ramp(3), 8.0).encode(".mkv")])
def test_a_frame_of_too_many_pixels_is_refused(content, tmp_path):
    with pytest.raises(pm.DataError, match=r"over 100 pixels; max_pixels can be set higher: (16|32) x"):
        pm.Video(size=8, max_pixels=100).read(content)
    file = tmp_path / "clip"
    with file.open("wb") as large:
        large.truncate(pm.Video.most_bytes + 1)
    with pytest.raises(pm.DataError, match="1,073,741,825 bytes"):
        pm.Video().read(file)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (np.zeros((4, 8, 8), np.uint8), r"shape \(4, 8, 8\) is not a video"),
        (np.zeros((0, 8, 8, 3), np.uint8), "no frames"),
        ([], "no frames"),
        (["no picture"], "str is not a picture"),
        (pictures()[0], "give a path, bytes, an array or a list of pictures"),
        ((pictures(), 0.0), "frames per second"),
        (Clip(ramp(20), 8.0).encode(".mp4")[:300], "not readable as video"),
        (animation("GIF", [100, 100])[:30], "picture"),
    ],
)
def test_what_is_no_video_is_refused_in_a_line(raw, says):
    with pytest.raises(pm.DataError, match=says) as error:
        pm.Video(size=8).read(raw)
    assert "\n" not in str(error.value)


def test_arrays_lists_and_stills_are_read():
    video = pm.Video(size=16, frames=6)
    wanted = video.read(pictures())
    assert greys(wanted) == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(video.read(np.stack([np.asarray(p) for p in pictures()])), wanted)
    np.testing.assert_array_equal(video.read((pictures(), 16)), wanted[1::2])
    grey = pm.Video(size=16, channels=1)
    np.testing.assert_array_equal(grey.read(np.stack([np.asarray(p)[..., :1] for p in pictures()])), wanted[:, :1])
    still = io.BytesIO()
    pictures()[3].save(still, "JPEG", quality=100)
    assert greys(video.read(still.getvalue())) == [3]
    apart = {video.identity(pictures(n)) for n in (1, 2, 3)} | {video.identity(pictures()[::-1])}
    assert len(apart) == 4


@pytest.mark.parametrize(("name", "value"), [("frames", 0), ("frames", 1.5), ("rate_hz", 0), ("rate_hz", float("nan"))])
def test_arguments_out_of_range_are_refused(name, value):
    with pytest.raises(pm.ConfigError, match=f"^{name}: "):
        pm.Video(**{name: value})


@pytest.mark.parametrize("frames", [ramp(16, 17), ramp(1, 16), np.full((16, 16, 16, 3), 90, np.uint8)])
@pytest.mark.parametrize("rate_hz", [8.0, 12.5, 30.0])
def test_files_keep_the_frames_and_their_times(frames, rate_hz, tmp_path):
    clip = Clip(frames, rate_hz)
    video = pm.Video(size=frames.shape[1], rate_hz=rate_hz)
    for suffix in (".webp", ".gif", ".mp4"):
        clip.save(tmp_path / f"clip{suffix}")
        again = video.read(tmp_path / f"clip{suffix}")
        assert len(again) == len(frames), suffix
        error = np.abs(again.transpose(0, 2, 3, 1).astype(int) - frames).max()
        assert error <= {".webp": 0, ".gif": 0, ".mp4": 8}[suffix], suffix
    with refused(f"{tmp_path}/clip.mpg", "'.mpg'", ".mp4", ".webp", by=pm.DataError):
        clip.save(tmp_path / "clip.mpg")


def write(folder: Path, contents: list[bytes], suffix: str) -> list[dict]:
    for i, content in enumerate(contents):
        (folder / f"{i}{suffix}").write_bytes(content)
    lines = "".join(f'{{"it": "{i}{suffix}"}}\n' for i in range(len(contents)))
    (folder / "rows.jsonl").write_text(lines)
    return infer_fields(folder / "rows.jsonl", folder / "cache")


def test_what_moves_is_recognised(tmp_path):
    moving, still = animation("GIF", [100] * 5), io.BytesIO()
    pictures()[0].save(still, "GIF")
    (found,) = write(tmp_path, [moving] * 3 + [still.getvalue()], ".gif").values()
    assert (type(found), found.frames, found.rate_hz) == (pm.Video, 4, 8.0)
    (found,) = write(tmp_path, [moving] + [still.getvalue()] * 3, ".gif").values()
    assert type(found) is pm.Image
    fields = write(tmp_path, [Clip(ramp(100, 16), 10.0).encode(".mp4")] * 3, ".mp4")
    assert (fields["it"].frames, fields["it"].rate_hz) == (32, 3.2)
    assert any("rate_hz=3.2" in note for note in fields.notes)
    for cell, frames in ((np.zeros((6, 8, 8, 3), np.uint8), 6), (pictures(5), 5), (Clip(ramp(8), 4.0), 8)):
        (found,) = infer_fields([{"it": cell}] * 3, tmp_path / "cache").values()
        assert (type(found), found.frames) == (pm.Video, frames)


def test_it_is_shown_playing_and_as_a_strip():
    video, clip = pm.Video(size=16), Clip(np.stack([np.asarray(p) for p in pictures()]), 8.0)
    page = video.preview(clip)
    assert page.count("<img") == 2
    assert "data:image/webp" in page
    assert film_strip(clip).size == (6 * 17 - 1, 16)
    corners = [video.thumbnail(clip, 16).getpixel((x, y))[0] for y in (3, 12) for x in (3, 12)]
    assert corners == [GREYS[0], GREYS[2], GREYS[3], GREYS[5]]


def test_folders_of_films_are_rows(tmp_path):
    for i in range(6):
        folder = tmp_path / "data" / ("light", "dark")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Clip(ramp(4 + i)[:: 1 - 2 * (i % 2)], 8.0).save(folder / f"{i}.mp4")
    data = pm.load(tmp_path / "data", cache=tmp_path / "cache")
    assert {name: type(field) for name, field in data.fields.items()} == {"video": pm.Video, "label": pm.Label}
    assert sorted(len(row["video"]) for row in data.rows) == [4, 5, 6, 7, 8, 9]
    for row in data.rows:
        first, *_, last = row["video"].frames.mean((1, 2, 3))
        assert (first < last) == (row["label"] == "light")
