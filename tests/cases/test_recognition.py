"""Columns as people have them: what each is taken for, with which bounds, and what is left out and why."""

import base64
import decimal
import io
import json
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import soundfile
import yaml
from PIL import Image as PILImage

import polymodal as pm
from polymodal import DataError
from polymodal.cli.main import main
from polymodal.data import infer_fields
from polymodal.modalities import kind_of


@pytest.fixture
def infer(tmp_path):
    """Kinds by column, of rows in memory or of a table beside its files."""

    def infer(source):
        fields = infer_fields(source, tmp_path / "cache")
        return {
            name: kind_of(field["modality"] if isinstance(field, dict) else field) for name, field in fields.items()
        }

    return infer


def png(i: int = 0) -> bytes:
    file = io.BytesIO()
    PILImage.new("RGB", (8, 8), (i % 256, 0, 0)).save(file, "PNG")
    return file.getvalue()


def write_rows(folder, rows, name="rows.jsonl"):
    path = folder / name
    if name.endswith(".csv"):
        lines = [",".join(rows[0]), *(",".join(str(cell) for cell in row.values()) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class TestNumbers:
    def test_in_csv(self, infer, tmp_path):
        rows = [
            {
                "price": f"{3.25 + 1.1 * i:.2f}",
                "age": 20 + i,
                "gap": "NA" if i % 4 else i / 2,
                "tiny": f"{i}e-9",
                "stars": 1 + i % 5,
                "zip": f"0{1000 + 7 * i % 30}",
                "year": 1950 + i % 35,
                "flag": str(i % 2 == 0),
                "vector": f"[{i}. 2.5 -1e-3]",
            }
            for i in range(80)
        ]
        kinds = infer(write_rows(tmp_path, rows, "rows.csv"))
        numbers = ("price", "age", "gap", "tiny", "year", "vector")
        assert kinds == dict.fromkeys(rows[0], "label") | dict.fromkeys(numbers, "vector")
        data = pm.load(tmp_path / "rows.csv", cache=tmp_path / "cache", validation=0, test=0)
        assert [float(row["price"][0]) for row in data.train] == pytest.approx([float(row["price"]) for row in rows])
        assert int(data.train.present["gap"].sum()) == 20
        assert len(data.bad_cells) == 60

    def test_whole_and_broken_ones_in_one_column(self, infer):
        assert infer([{"n": [4, 3.5, 4.25, 9][i % 4]} for i in range(80)]) == {"n": "vector"}
        assert infer([{"n": decimal.Decimal(i) / 4} for i in range(80)]) == {"n": "vector"}

    def test_classes_with_gaps(self, infer, tmp_path):
        rows = [{"label": None if i % 5 == 0 else float(i % 3)} for i in range(30)]
        assert infer(rows) == {"label": "label"}
        assert pm.load(rows, cache=tmp_path).fields["label"].names == ["0", "1", "2"]

    def test_files_and_arrays(self, infer, tmp_path):
        for i in range(12):
            np.save(tmp_path / f"{i}.npy", np.arange(5.0) + i)
        rows = [{"embedding": f"{i}.npy", "list": [float(i), 1.0]} for i in range(12)]
        fields = infer_fields(write_rows(tmp_path, rows), tmp_path / "cache")
        assert {name: field.size for name, field in fields.items()} == {"embedding": 5, "list": 2}
        data = pm.load(tmp_path / "rows.jsonl", fields, cache=tmp_path / "cache")
        np.testing.assert_allclose(data.rows[3]["embedding"], np.arange(5) + 3, rtol=1e-6)
        embedded = [{"npy": (tmp_path / f"{i}.npy").read_bytes()} for i in range(12)]
        assert infer(embedded) == {"npy": "vector"}
        assert infer([{"v": np.arange(3) * i} for i in range(12)]) == {"v": "vector"}

    def test_decimal_commas(self, infer, tmp_path):
        rows = [{"price": f"{i},{i % 7}5", "thousands": f"1,{i:03}", "said": f"number {i}"} for i in range(40)]
        assert infer(rows) == {"price": "vector", "thousands": "text", "said": "text"}
        data = pm.load(rows, cache=tmp_path)
        assert data.rows[3]["price"].tolist() == pytest.approx([3.35])
        with pytest.raises(DataError):
            pm.Vector(1).read("1,234")
        assert pm.Vector(1).read("0,125").tolist() == [0.125]

    @pytest.mark.parametrize(
        ("write", "size"),
        [
            (lambda i: f"{40 + i},50,93", 3),
            (lambda i: f"{40 + i} 50 9.5", 3),
            (lambda i: f"48.{i}, -2.35", 2),
            (lambda i: f"{i},5; {i},25 ;3", 3),
            (lambda i: f"{i},5 2,25", 2),
            (lambda i: ["", "-", f"{i};2"][i % 3], 2),
            (lambda i: f"{i % 2};7", 2),
        ],
    )
    def test_several_in_one_cell_without_brackets(self, tmp_path, write, size):
        rows = [{"v": write(i), "said": f"number {i}"} for i in range(40)]
        path = tmp_path / "rows.csv"
        path.write_text("v|said\n" + "".join(f"{row['v']}|{row['said']}\n" for row in rows))
        fields = infer_fields(path, tmp_path / "cache")
        assert {name: getattr(field, "size", None) for name, field in fields.items()} == {"v": size, "said": None}
        data = pm.load(path, fields, cache=tmp_path / "cache", validation=0, test=0)
        assert len(data.rows) == 40
        first = float(rows[5]["v"].partition(";")[0].split()[0].partition(",")[0])
        assert abs(data.rows[5]["v"][0] - first) < 0.6

    @pytest.mark.parametrize(
        "write",
        [
            lambda i: f"1,{i:03},000",
            lambda i: f"{i} 000",
            lambda i: f"030 {i} 44",
            lambda i: f"{i},2,{'3' if i % 2 else '3,4'}",
            lambda i: f"{i},,2",
            lambda i: f"10.0.{i}.1",
            lambda i: f"2,{i} apples",
        ],
    )
    def test_what_may_be_something_else_is_text(self, infer, write):
        assert infer([{"v": write(i)} for i in range(40)]) == {"v": "text"}

    def test_vectors_that_numpy_has_shortened_are_left_out(self):
        fields = infer_fields([{"v": f"[{i}. 2. ... 9.]", "said": f"the {i}th"} for i in range(12)])
        assert "..." in fields.left_out["v"]


class TestFiles:
    def test_an_ending_counts_only_if_the_file_is_there(self, infer, tmp_path):
        rows = [{"image": f"{i}.png", "said": f"this is no {i}.png"} for i in range(12)]
        path = write_rows(tmp_path, rows)
        fields = infer_fields(path, tmp_path / "cache")
        assert list(fields) == ["said"]
        assert "0 of its 12 paths" in fields.left_out["image"]
        assert "root" in fields.left_out["image"]
        for i in range(8):
            (tmp_path / f"{i}.png").write_bytes(png(i))
        assert infer(path) == {"image": "image", "said": "text"}

    @pytest.mark.parametrize("ending", ["docx", "pdf", "txt"])
    def test_files_of_no_known_kind_are_no_texts(self, tmp_path, ending):
        for i in range(12):
            (tmp_path / f"{i}.{ending}").write_bytes(b"x")
        path = write_rows(tmp_path, [{"file": f"{i}.{ending}", "said": f"the {i}th file"} for i in range(12)])
        fields = infer_fields(path, tmp_path / "cache")
        assert list(fields) == ["said"]
        assert "no known kind" in fields.left_out["file"]

    def test_the_first_cell_decides_nothing(self, infer, tmp_path):
        (tmp_path / "a.png").write_bytes(png())
        rows = [
            {"text": "a.png" if i == 0 else f"a text, {i}", "image": {"bytes": png(i), "path": None}} for i in range(12)
        ]
        rows[0]["image"] = {"bytes": b"broken", "path": None}
        parquet = tmp_path / "rows.parquet"
        pa.parquet.write_table(pa.Table.from_pylist(rows), parquet)
        assert infer(parquet) == {"text": "text", "image": "image"}

    def test_what_only_the_end_of_a_table_shows(self, tmp_path):
        rows = [{"n": "5" if i < 3000 else f"a text of {i}"} for i in range(6000)]
        fields = infer_fields(write_rows(tmp_path, rows), tmp_path / "cache")
        assert kind_of(fields["n"]) == "text"

    def test_endings_of_several_kinds_of_picture(self, infer, tmp_path):
        for i in range(12):
            PILImage.new("RGB", (8, 8)).save(tmp_path / f"{i}.{('png', 'jpg', 'webp')[i % 3]}")
        assert infer(write_rows(tmp_path, [{"i": f"{i}.{('png', 'jpg', 'webp')[i % 3]}"} for i in range(12)])) == {
            "i": "image"
        }

    def test_sound_without_a_decoder_is_sound(self, infer, tmp_path):
        for i in range(12):
            (tmp_path / f"{i}.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\2\0" + bytes(200))
        assert infer(write_rows(tmp_path, [{"speech": f"{i}.m4a"} for i in range(12)])) == {"speech": "audio"}


class TestBounds:
    def test_one_long_text_among_short_ones(self, tmp_path):
        rows = [{"said": "pasted by mistake " * 4000 if i == 50 else f"caption of number {i}"} for i in range(400)]
        fields = infer_fields(rows, tmp_path)
        assert fields["said"].max_length == 24
        (note,) = fields.notes
        assert note.startswith("fields.said: max_length=24 holds all but 1 of 400 texts")
        data = pm.load(rows, fields, cache=tmp_path)
        assert len(data.rejected) == 1

    def test_texts_of_all_lengths_stay(self, tmp_path):
        lengths = [*range(1, 400)]
        fields = infer_fields([{"said": "x " * length} for length in lengths], tmp_path)
        assert fields["said"].max_length > 2 * 399
        assert fields.notes == []

    def test_seconds_of_the_longest_clip_but_for_a_few(self, tmp_path):
        for i in range(20):
            soundfile.write(tmp_path / f"{i}.flac", np.zeros(8000 * (2 + i // 4)) + 0.1, 8000)
        path = write_rows(tmp_path, [{"speech": f"{i}.flac"} for i in range(20)])
        assert infer_fields(path, tmp_path / "cache")["speech"].max_seconds == 6
        assert not pm.load(path, cache=tmp_path / "cache").rejected
        soundfile.write(tmp_path / "7.flac", np.zeros(8000 * 60) + 0.1, 8000)
        fields = infer_fields(path, tmp_path / "cache")
        assert fields["speech"].max_seconds == 6
        assert "all but 1 of 20 clips" in fields.notes[0]


def test_what_is_left_out_is_listed_with_its_reason(tmp_path):
    rows = [
        {
            "": i,
            "row": i + 1,
            "image_id": 7 * i % 30 + 100,
            "uuid": str(uuid.UUID(int=i)),
            "key": f"k{i}x",
            "digest": f"{i:032x}",
            "code": f"item_{i:04d}",
            "url": f"https://example.org/{i}.png",
            "tags": ["a", "b"],
            "meta": {"a": i},
            "nothing": None,
            "split": ("train", "test")[i % 2],
            "name": f"the name of {i}",
            "start": 20 + i,
        }
        for i in range(30)
    ]
    fields = infer_fields(rows, tmp_path)
    assert list(fields) == ["name", "start"]
    assert set(fields.left_out) == set(rows[0]) - {"name", "start"}
    for column, word in {"": "counts the rows", "url": "addresses", "tags": "no modality", "nothing": "empty"}.items():
        assert word in fields.left_out[column]
    assert any("'meta'" in note for note in pm.load(rows, cache=tmp_path).notes)
    with pytest.raises(DataError, match=r"'meta': no modality is known"):
        infer_fields([{"meta": row["meta"]} for row in rows], tmp_path)


def test_a_refusal_says_what_is_wrong_with_the_first_row(tmp_path):
    for rows, reason in (
        ([], "there are no rows"),
        ([{}], "it has no columns"),
        ([("a", 1)], "row 1: a row is a mapping"),
    ):
        with pytest.raises(DataError, match=reason):
            infer_fields(rows, tmp_path)
    with pytest.raises(DataError, match=r"'c9': no modality is known .*; and 20 more columns$"):
        infer_fields([{f"c{place}": {"a": 1} for place in range(30)}], tmp_path)


def test_whole_numbers_that_floats_confuse_are_no_classes(infer):
    rows = [{"n": 10**25 + i, "m": 2**63 + 7 * i, "far": 10**15 + 10 * i * i, "said": f"the {i}th"} for i in range(30)]
    assert infer(rows) == {"far": "vector", "said": "text"}


def test_splits_beside_other_names_are_no_field(infer):
    rows = [{"split": ["train", "unsupervised", "test"][i % 3], "said": f"the {i}th"} for i in range(30)]
    assert infer(rows) == {"said": "text"}
    assert infer([row | {"split": "ab"[i % 2]} for i, row in enumerate(rows)]) == {"split": "label", "said": "text"}


def test_an_index_with_gaps_and_no_name(infer, tmp_path):
    rows = [{"Unnamed: 0": 3 * i + 1, "said": f"the {i}th"} for i in range(12)]
    assert infer(write_rows(tmp_path, rows, "rows.csv")) == {"said": "text"}


def test_pictures_in_base_64(infer):
    rows = [
        {
            "image": base64.b64encode(png(i)).decode(),
            "uri": "data:image/png;base64," + base64.b64encode(png(i)).decode(),
        }
        for i in range(12)
    ]
    assert infer(rows) == {"image": "image", "uri": "image"}
    data = pm.load(rows)
    assert not data.bad_cells
    assert infer([{"said": "x" * 80 + "abcdefghijkl"[i]} for i in range(12)]) == {"said": "text"}


def test_the_fields_are_written_to_be_corrected(tmp_path, capsys):
    for i in range(12):
        (tmp_path / f"{i}.png").write_bytes(png(i))
    rows = [{"photo": f"{i}.png", "type": "ab"[i % 2], "meta": {"a": i}} for i in range(12)]
    path, fields = str(write_rows(tmp_path, rows)), tmp_path / "fields.yaml"
    assert main(["data", "inspect", path, "-o", str(fields)]) == 0
    assert "'meta'" in capsys.readouterr().out
    text = fields.read_text()
    assert "# column 'meta' is no field" in text
    tree = yaml.safe_load(text)
    assert tree["photo"]["size"] == 64
    assert tree["type_"] == {"modality": "label", "column": "type"}
    fields.write_text(text.replace("size: 64", "size: 16"))
    assert main(["data", "inspect", path, "--fields", str(fields)]) == 0
    assert "3x16x16" in capsys.readouterr().out
    assert main(["data", "inspect", path, "-o", str(fields)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_names_with_brackets_are_printed_as_they_are(tmp_path, capsys):
    rows = [{"said [ok]": f"text number {i}", "[red]kind": "ab"[i % 2]} for i in range(20)]
    assert main(["data", "inspect", str(write_rows(tmp_path, rows))]) == 0
    shown = capsys.readouterr().out
    assert "[red]kind" in shown
    assert "said [ok]" in shown


def test_a_field_of_which_no_training_row_has_a_value_is_named(tmp_path):
    rows = [
        {"said": f"the {i}th", "v": [1.0, 2.0] if i > 9 else None, "split": ("test" if i > 9 else "train")}
        for i in range(20)
    ]
    data = pm.load(rows, cache=tmp_path, validation=0)
    assert "fields.v: none of the 10 training rows has a value" in data.notes
