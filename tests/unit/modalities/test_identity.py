"""Names of contents: two values share one only if nothing that a modality reads tells them apart."""

import io
from dataclasses import dataclass
from datetime import date
from enum import Enum, IntEnum
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

import polymodal as pm
from polymodal import DataError
from polymodal.modalities import Image, Modality
from polymodal.modalities.audio import Waveform

CLIP = np.linspace(-0.5, 0.5, 4000, dtype=np.float32)
NUDGED = CLIP.copy()
NUDGED[2000] += 1e-6  # in the middle, where the text of an array has dots


@dataclass
class Pair:
    left: Any
    right: Any


class Level(IntEnum):
    LOW = 1


class Number(int):
    def __str__(self) -> str:
        return "one"


def objects(*values: Any) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def record(*values: Any) -> np.ndarray:
    return np.array([values], dtype=[("a", "f4"), ("b", "O")])


@pytest.mark.parametrize(
    "values",
    [
        [
            1,
            1.0,
            True,
            "1",
            b"1",
            1j,
            np.int64(1),
            np.float32(1),
            np.bool_(True),
            Level.LOW,
            Number(1),
            [1],
            (1,),
            {1: 1},
        ],
        [None, "None", 0, False, 0.0, -0.0, "", b""],
        [0.1, np.float32(0.1), np.float16(0.1), "0.1", 0.1 + 1e-17 * 3],
        [date(2020, 1, 2), "2020-01-02", np.datetime64("2020-01-02"), np.datetime64("2020-01-02", "s")],
        [(CLIP, 16000), (NUDGED, 16000), (CLIP, 8000), [CLIP, 16000], (CLIP.astype(np.float64), 16000), CLIP, NUDGED],
        [Waveform(CLIP, 16000), Waveform(NUDGED, 16000), Waveform(CLIP, 8000), (CLIP, 16000)],
        [{"a": CLIP}, {"a": NUDGED}, {"b": CLIP}, {"a": CLIP, "b": None}, [("a", CLIP)]],
        [Pair(CLIP, 1), Pair(NUDGED, 1), Pair(CLIP, True), Pair(1, CLIP), {"left": CLIP, "right": 1}],
        [[[CLIP], CLIP], [CLIP, [CLIP]], [CLIP, CLIP], [[CLIP, CLIP]]],
        [torch.from_numpy(CLIP), torch.from_numpy(NUDGED), torch.from_numpy(CLIP)[None], CLIP],
        [torch.ones(3), torch.ones(3, dtype=torch.float16), torch.ones(3, dtype=torch.bfloat16), torch.ones(3) > 0],
        [torch.tensor([1 + 2j]), torch.tensor([1 + 2j]).conj(), torch.zeros(0), torch.zeros(())],
        [np.zeros(4), np.zeros(4, int), np.zeros((2, 2)), np.zeros(4, ">f8"), np.zeros(0), np.array(0.0)],
        [objects(CLIP, 1), objects(NUDGED, 1), objects(CLIP, "1"), objects(1, CLIP), [CLIP, 1]],
        [
            record(1, "x"),
            record(1, "y"),
            record(2, "x"),
            record(1, "x")[0],
            np.array([(1, "x")], dtype=[("a", "f4"), ("c", "O")]),
        ],
        [np.array(["a", "b"]), np.array(["a", "c"]), np.array(["a", "b"], np.dtypes.StringDType())],
        [np.array(["a", "x" * 99], np.dtypes.StringDType()), np.array(["a", "y" * 99], np.dtypes.StringDType())],
    ],
    ids=lambda values: type(values[0]).__name__,
)
def test_values_that_differ_have_different_names(values):
    for first, second in combinations(values, 2):
        assert Modality.identity(first) != Modality.identity(second), (first, second)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (CLIP.copy(), 16000),
        lambda: Waveform(CLIP.copy(), 16000),
        lambda: {"a": [CLIP.copy(), {"b": torch.arange(6).view(2, 3).T}]},
        lambda: torch.arange(6, dtype=torch.bfloat16)[::2],
        lambda: objects(CLIP.copy(), "1"),
        lambda: np.array(["x" * 99], np.dtypes.StringDType()),
        lambda: Number(1),
        lambda: [0.1, None, {"a": (1, b"x")}],
    ],
)
def test_equal_values_have_one_name(make):
    assert Modality.identity(make()) == Modality.identity(make())
    assert len(Modality.identity(make())) == 16


def test_names_are_those_of_earlier_versions(tmp_path):
    """Splits by content and caches depend on them."""
    (tmp_path / "file").write_bytes(b"one")
    for value, name in [
        (b"one", "17904a4fffabe61811c99a3d7497bc50"),
        (tmp_path / "file", "17904a4fffabe61811c99a3d7497bc50"),
        ("one", "e761a92aeae8a968d95ad34e0ecf43a0"),
        (np.arange(6, dtype=np.uint8).reshape(2, 3), "fa28fae5819b09d850bf8adb6a62ddaf"),
        (3, "d56d1c40e7bb1f58c846ceda227e10f6"),
        (True, "7600934ecb0a72341d90f62f64c1a176"),
        (0.5, "efbc76d9823bd169dd43fbf0a3f43163"),
        ([1.0, 2.5], "459ca49df8114656721cd0a363788056"),
        (["a", None, {"b": 1}], "7135bb395176d1cf0e1430e717f5e291"),
        ({"bytes": b"x", "path": None}, "450e89d4dd02ac5e66642607221a2d2f"),
        (np.int64(3), "9c0c0b791dd35d8522e6f643e56843d1"),
        (date(2020, 1, 2), "f8963ebb0a44ff6ee714ce36b90ae644"),
        (PILImage.new("RGB", (2, 1), "red"), "8478b6e22357e4d0bde09369204385c2"),
        (PILImage.new("P", (2, 1)), "4e64765e516fa76489eb83cd6d1e16d8"),
    ]:
        assert Image.identity(value).hex() == name


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "builtins.object"),
        (bytearray(b"x"), "builtins.bytearray"),
        ({"b", "a"}, "builtins.set"),
        (Colour.RED, "test_identity.Colour"),
        (Waveform, "abc.ABCMeta|builtins.type"),
        ([CLIP, object()], "builtins.object"),
        ({"a": iter([1])}, "builtins.list_iterator"),
        (objects(lambda: 1), "builtins.function"),
        (torch.eye(2).to_sparse(), "torch.Tensor"),
        (PILImage.new("L", (1, 1)), "PIL.Image.Image"),
    ],
)
def test_what_has_no_name_is_refused_with_what_would_be_right(value, kind):
    with pytest.raises(DataError, match=f"a .*({kind}) .* give a string, number, bytes, path, array or tensor"):
        Modality.identity(value)


def test_broken_values_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot read the file: No such file"):
        Modality.identity([CLIP, tmp_path / "none"])
    deep: list = []
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(DataError, match=r"a list .* nested too deeply"):
        Modality.identity(deep)
    file = io.BytesIO()
    PILImage.effect_noise((64, 64), 50).save(file, "PNG")
    with pytest.raises(DataError, match="cannot decode the picture"):
        Image.identity(PILImage.open(io.BytesIO(file.getvalue()[:1500])))


class TestPictures:
    @staticmethod
    def picture(mode: str = "RGB", **info: Any) -> PILImage.Image:
        made = PILImage.linear_gradient("L").resize((6, 4)).convert(mode)
        made.info |= info
        return made

    @staticmethod
    def turned(orientation: int, form: str = "JPEG") -> PILImage.Image:
        exif, file = PILImage.Exif(), io.BytesIO()
        exif[0x0112] = orientation
        PILImage.linear_gradient("L").resize((6, 4)).save(file, form, exif=exif)
        return PILImage.open(file)

    def frames(self) -> io.BytesIO:
        file = io.BytesIO()
        first, *rest = [PILImage.new("L", (6, 4), 40 * i) for i in range(3)]
        first.save(file, "GIF", save_all=True, append_images=rest)
        return file

    def test_all_that_is_read_tells_them_apart(self):
        palette = self.picture("P")
        other, see_through = self.picture("P"), self.picture("P")
        other.putpalette(bytes(range(255, -1, -1)) * 3)
        see_through.putpalette([0, 0, 0, 0] * 256, "RGBA")
        also = self.picture("P")
        also.putpalette([0, 0, 0, 255] * 256, "RGBA")
        second = PILImage.open(self.frames())
        second.seek(1)
        pictures = [
            *(self.picture(mode) for mode in ("L", "RGB", "RGBA", "CMYK", "I", "F", "1")),
            self.picture().transpose(PILImage.Transpose.ROTATE_90),
            *(self.picture("P", transparency=index) for index in (0, 3, bytes(256))),
            self.picture("L", transparency=9),
            palette, other, see_through, also,
            *(self.turned(orientation) for orientation in (1, 3, 6, 8)),
            PILImage.open(self.frames()),
            second,
        ]  # fmt: skip
        names = {Image.identity(picture) for picture in pictures}
        assert len(names) == len(pictures)

    def test_what_is_not_read_does_not(self):
        assert Image.identity(self.picture(dpi=(72, 72))) == Image.identity(self.picture())
        assert Image.identity(self.turned(1, "PNG")) == Image.identity(self.picture("L"))
        animation = PILImage.open(self.frames())
        assert Image.identity(animation) == Image.identity(animation)

    def test_names_part_what_read_parts(self):
        """Pictures of the same pixels are one value only where they become the same stored picture."""
        reads: dict[bytes, bytes] = {}
        for picture in (self.turned(o, form) for o in range(1, 9) for form in ("JPEG", "PNG", "WEBP")):
            stored = pm.Image(8, fit="stretch").read(picture).tobytes()
            assert reads.setdefault(Image.identity(picture), stored) == stored

    def test_inside_another_value(self):
        assert Image.identity([self.turned(1)]) != Image.identity([self.turned(6)])


FIELDS = {
    "sound": pm.Audio(sample_rate_hz=4000, max_seconds=1.0, mels=8, n_fft=256, hop_length=64),
    "picture": pm.Image(4),
    "numbers": pm.Vector(3),
    "kind": pm.Label(),
}


def test_values_in_memory_load_as_the_values_that_they_are(tmp_path):
    """Each was one value for all rows before, or one for all that print alike."""
    upright = TestPictures.turned(1)
    rows = [
        {
            "sound": (np.roll(CLIP, 100 * i), 4000) if i % 2 else Waveform(np.roll(CLIP, 100 * i), 4000),
            "picture": TestPictures.turned(1 + i % 8) if i else upright,
            "numbers": torch.tensor([1.0, 2.0, 3.0 + 1e-6 * i]),
            "kind": [1, "a", np.int64(2)][i % 3],
        }
        for i in range(10)
    ]
    data = pm.load(rows, FIELDS, cache=tmp_path, validation=0, test=0)
    assert not data.rejected
    slots = {name: len(np.unique(column.slots)) for name, column in data.train.columns.items()}
    assert slots == {"sound": 10, "picture": 8, "numbers": 10, "kind": 3}
    assert [row["kind"] for row in data.rows][:3] == ["1", "a", "2"]
    stored = [data.train.columns["numbers"].batch(np.array([i])).value for i in range(10)]
    assert len({float(value[0, 2]) for value in stored}) > 3


def test_a_cell_that_has_no_name_is_set_aside(tmp_path):
    rows = [{"kind": "a", "who": 1}, {"kind": object(), "who": 2}, {"kind": "b", "who": {1}}, {"kind": "c", "who": 3}]
    data = pm.load(rows, {"kind": pm.Label()}, key="who", cache=tmp_path)
    assert [(rejection.row, rejection.field) for rejection in data.rejected] == [(2, "kind"), (3, None)]
    assert "builtins.object" in data.rejected[0].reason
    assert "key column 'who'" in data.rejected[1].reason
    assert "builtins.set" in data.rejected[1].reason


def test_a_key_may_be_any_column(tmp_path):
    """Rows stay together by a picture in memory, or by a day."""
    pictures = [TestPictures.turned(1 + i % 4) for i in range(40)]
    rows = [{"kind": str(i), "picture": p, "day": date(2020, 1, 1 + i % 4)} for i, p in enumerate(pictures)]
    for key in ("picture", "day"):
        data = pm.load(rows, {k: FIELDS[k] for k in ("kind", "picture")}, key=key, cache=tmp_path, test=0.5)
        groups = [set(split.index % 4) for split in data.splits.values()]
        assert sum(map(len, groups)) == 4


def test_a_modality_may_name_values_of_its_own():
    class Opaque:
        def __init__(self, text: str) -> None:
            self.text = text

    class Words(pm.Text):
        @classmethod
        def identity(cls, raw: Any) -> bytes:
            return super().identity(raw.text if isinstance(raw, Opaque) else raw)

    assert Words.identity(Opaque("a")) == Words.identity("a")
    assert Words.identity([Opaque("a")]) == Words.identity([Opaque("a")]) != Words.identity([Opaque("b")])
    with pytest.raises(DataError, match="identity"):
        pm.Text.identity(Opaque("a"))
