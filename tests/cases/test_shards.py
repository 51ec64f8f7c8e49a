"""Shards as other programs write them."""

import gzip
import io
import json
import tarfile

import pytest

import polymodal as pm
from polymodal import DataError
from polymodal.data import Rejection, infer_fields, open_source
from polymodal.data.sources import shards

from .conftest import colour, png, wav

FIELDS = {"image": {"modality": "image", "size": 4}, "txt": pm.Text()}


def tar(path, members, mode="w"):
    """A shard of names and contents."""
    with tarfile.open(path, mode) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def pair(key, paint, ending="png"):
    return [(f"{key}.{ending}", png(paint)), (f"{key}.txt", paint.encode())]


def found(data):
    return [(row["txt"], None if row["image"] is None else colour(row)) for row in data.train]


RED, BLUE, LIME = ("red", (255, 0, 0)), ("blue", (0, 0, 255)), ("lime", (0, 255, 0))


class TestKeys:
    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("img.1", "img.2"),
            ("2024.01.05", "2024.01.06"),
            ("Dr. Who", "Mr. X"),
            ("a/v1.0/x", "a/v1.0/y"),
            ("é", "日本"),
        ],
    )
    def test_with_dots(self, load, folder, first, second):
        data = load(tar(folder / "s.tar", pair(first, "red") + pair(second, "blue")), FIELDS)
        assert found(data) == [RED, BLUE]
        assert data.train.column("__key__") == [first, second]

    def test_endings_with_dots(self, load, folder):
        members = [
            (f"{n}.{part}.png", png(paint)) for n in range(3) for part, paint in (("left", "red"), ("right", "blue"))
        ]
        fields = {side: {"modality": "image", "size": 4, "column": f"{side}.png"} for side in ("left", "right")}
        data = load(tar(folder / "s.tar", members), fields)
        assert [(colour(row, "left"), colour(row, "right")) for row in data.train] == [(RED[1], BLUE[1])] * 3
        assert set(infer_fields(folder / "s.tar")) == {"left_png", "right_png"}


class TestOrder:
    MEMBERS = (
        *[(f"{n}.png", png(paint)) for n, paint in enumerate(("red", "blue"))],
        ("0.txt", b"red"),
        ("1.txt", b"blue"),
    )

    def test_members_apart(self, load, folder):
        assert found(load(tar(folder / "s.tar", self.MEMBERS), FIELDS)) == [RED, BLUE]

    def test_members_apart_in_a_packed_shard_are_set_aside(self, load, folder):
        path = tar(folder / "s.tar.gz", self.MEMBERS, "w:gz")
        data = load(path, {"png": pm.Image(4)})
        assert [colour(row, "png") for row in data.train] == [RED[1], BLUE[1]]
        assert [(one.row, "comes again" in one.reason) for one in data.rejected] == [(3, True), (4, True)]
        with pytest.raises(DataError, match=r"'txt' is unknown.* row 3: its key comes again"):
            load(path, FIELDS)

    def test_a_packed_shard(self, load, folder):
        members = [member for n in range(50) for member in pair(f"{n:03d}", ("red", "blue")[n % 2])]
        for name in ("s.tar.gz", "s.tgz"):
            assert found(load(tar(folder / name, members, "w:gz"), FIELDS)) == [RED, BLUE] * 25

    def test_a_packed_shard_under_a_plain_name(self, load, folder):
        tar(folder / "s.tar", pair("a", "red"))
        (folder / "s.tar").write_bytes(gzip.compress((folder / "s.tar").read_bytes()))
        assert found(load(folder / "s.tar", FIELDS)) == [RED]

    def test_the_same_key_of_other_rows_is_a_row_of_its_own(self, load, folder):
        members = pair("a", "red") + pair("b", "blue") + pair("a", "lime")
        assert found(load(tar(folder / "s.tar", members), FIELDS)) == [RED, BLUE, LIME]


class TestEndings:
    def test_one_picture_of_several_endings(self, load, folder):
        members = pair("0", "red", "png") + pair("1", "blue", "webp") + pair("2", "lime", "JPG")
        path = tar(folder / "s.tar", [*members, ("0.wav", wav(440)), ("1.flac", wav(880))])
        assert list(infer_fields(path)) == ["image", "txt", "audio"]
        data = load(path, {**FIELDS, "audio": pm.Audio()})
        assert found(data) == [RED, BLUE, LIME]
        assert data.train.columns["audio"].lengths.tolist() == [7, 7, 0]

    def test_pictures_that_a_row_has_several_of_stay_apart(self, folder):
        path = tar(folder / "s.tar", [("0.png", png("red")), ("0.jpg", png("blue")), ("1.png", png("red"))])
        assert set(infer_fields(path)) == {"png", "jpg"}

    def test_notes_and_texts(self, load, folder):
        notes = json.dumps({"caption": "from json", "__key__": "no", "n": 3}).encode()
        path = tar(folder / "s.tar", [("a.png", png("red")), ("a.json", notes), ("b.caption", b"from a file\n")])
        data = load(path, {"png": pm.Image(4), "caption": pm.Text()})
        assert [row["caption"] for row in data.train] == ["from json", "from a file"]
        assert data.train.column("__key__") == ["a", "b"]


class TestHostile:
    def header(self, name, size, kind=tarfile.REGTYPE):
        info = tarfile.TarInfo(name)
        info.size, info.type = size, kind
        return info.tobuf(tarfile.GNU_FORMAT)

    def broken(self, path):
        found = open_source(path, path.parent).records(["txt"])
        return [one if isinstance(one, Rejection) else one.cells["txt"] for one in found]

    def test_members_that_claim_more_than_there_is(self, load, folder):
        tar(folder / "s.tar", [("a.txt", b"good")])
        good = (folder / "s.tar").read_bytes()[:1024]
        (folder / "s.tar").write_bytes(good + self.header("b.txt", 1 << 40) + b"x")
        data = load(folder / "s.tar", {"txt": pm.Text()})
        assert data.train.column("txt") == ["good"]
        assert "broken from here on" in data.rejected[0].reason

    def test_large_members(self, folder):
        header = self.header("a.txt", 1 << 29)
        (folder / "s.tar.gz").write_bytes(gzip.compress(header) + 512 * gzip.compress(bytes(1 << 20)))
        assert "unfold" in str(self.broken(folder / "s.tar.gz")[0])

    @pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
    def test_large_headers(self, folder, kind):
        header = self.header("x", 1 << 27, kind)
        (folder / "s.tar.gz").write_bytes(gzip.compress(header) + 128 * gzip.compress(bytes(1 << 20)))
        assert "header of" in str(self.broken(folder / "s.tar.gz")[0])

    def test_sizes_below_nothing(self, folder):
        header = bytearray(self.header("a.txt", 0))
        header[124:136] = b"\xff" * 10 + b"\xf0\x00"  # -4096 to the base of 256
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        (folder / "s.tar").write_bytes(bytes(header) * 3 + bytes(1024))
        assert self.broken(folder / "s.tar")

    @pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
    def test_what_is_no_file(self, folder, kind):
        info = tarfile.TarInfo("a.txt")
        info.type, info.linkname = kind, "/etc/passwd"
        with tarfile.open(folder / "s.tar", "w") as file:
            file.addfile(info)
        assert "'a.txt' is no regular file" in str(self.broken(folder / "s.tar")[0])

    def test_another_packing_is_refused(self, folder):
        tar(folder / "s.tar", pair("a", "red"), "w:xz")
        assert "broken" in str(self.broken(folder / "s.tar")[0])


class TestBraces:
    @pytest.mark.parametrize("pattern", ["s-{0..99999999999}.tar", "{a,b}" * 40, "s-{5..1}.tar", "{0..9}" * 7])
    def test_too_many_or_none(self, load, pattern):
        with pytest.raises(DataError, match=r"means .* names; from 1 to 100,000"):
            load(pattern, FIELDS)

    def test_what_is_no_pattern(self):
        assert shards.expand("{{{") == ["{{{"]
        assert shards.expand("a{b") == ["a{b"]
