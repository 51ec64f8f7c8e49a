"""Tables as people have them: every cell that is there stays as it is, and every other is written like its column."""

import base64
import datetime
import decimal
import json
import logging
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from filelock import FileLock
from PIL import Image

import polymodal as pm
from polymodal.guess import guess_rows
from polymodal.nn.random import make_keys
from polymodal.tables import open_frame, open_table

GAPS = (0, 5, 8)
N = 20


def gap(i: int) -> bool:
    return i % 20 in GAPS


@pytest.fixture(scope="module")
def run(tmp_path_factory, recipe) -> pm.Generator:
    """Learns a class and a price from a text, in a few steps."""
    folder = tmp_path_factory.mktemp("prices")
    rows = [{"note": f"{'ab'[i % 2]} {i}", "kind": i % 3, "good": bool(i % 2), "price": 10 + i} for i in range(60)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"note": pm.Text(16), "kind": pm.Label(), "good": pm.Label(), "price": pm.Vector(1)}
    data = pm.load(folder / "rows.jsonl", fields, validation=0.2)
    return pm.fit({**recipe, "fields": {}}, data, steps=3, run=folder / "run")


def as_text(cells: list, ending: str) -> str:
    return ending.join(cells) + ending


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_delimited_text_keeps_every_other_byte(run, tmp_path, ending, separator):
    head = separator.join(["note", "kind", "comment", "price"])
    lines = [
        separator.join(
            [f"ö {i}", "" if gap(i) else str(i % 3), f'"said ""so""{separator} {i}"', '""' if gap(i) else f'"{i}"']
        )
        for i in range(N)
    ]
    suffix = ".tsv" if separator == "\t" else ".csv"
    table, out = tmp_path / f"t{suffix}", tmp_path / f"out{suffix}"
    table.write_bytes(b"\xef\xbb\xbf" + as_text([head, *lines], ending).encode())
    done = run.fill(table, out)
    assert done.filled == {"note": 0, "kind": 3, "price": 3}
    old, new = (path.read_bytes().split(ending.encode()) for path in (table, out))
    assert len(old) == len(new)
    for number, (before, after) in enumerate(zip(old, new, strict=True), -1):
        if not (0 <= number < N and gap(number)):
            assert before == after
        else:
            note, kind, *comment, price = after.decode().split(separator)
            assert note == f"ö {number}"
            assert kind in ("0", "1", "2")
            assert separator.join(comment) == f'"said ""so""{separator} {number}"'
            assert price[0] == price[-1] == '"'
            assert 0 <= int(price[1:-1]) < 79  # whole, as the others are, and in their range


def test_columns_are_added_behind_the_others(run, tmp_path):
    (tmp_path / "t.csv").write_bytes(b'note;x\r\n\r\na 1;1\r\na 2;1;;\r\n"b"3;4\r\nb 4;5;6\r\nb 5;"6"')
    run.fill(tmp_path / "t.csv", tmp_path / "out.csv", columns=["kind", "good"], mark=True)
    lines = (tmp_path / "out.csv").read_bytes().split(b"\r\n")
    assert lines[0] == b"note;x;kind;good;kind_filled;good_filled"
    assert lines[1] == b""
    assert lines[4:6] == [b'"b"3;4', b"b 4;5;6"]  # rows that cannot be read
    for line, start in ((lines[2], b"a 1;1;"), (lines[3], b"a 2;1;"), (lines[6], b'b 5;"6";')):
        assert line.startswith(start)
        assert line.endswith(b";true;true")
        assert line.count(b";") == 5


def test_json_keeps_types_keys_and_format(run, tmp_path):
    lines = [
        b'\xef\xbb\xbf{"note": "a 1", "kind": 2, "good": true, "price": 10}\r\n',
        b'{"good":null,"x":1.50,"note":"\\u00f6 1","kind":null,"y":[1, {"a":1e3}]}\r\n',
        b'{ "price" : null , "note" : "b" }\n',
        '{"note": "é", "kind": 1, "good": false, "price": 11}\n'.encode(),
        b'{"kind": 0, "note": "a 3", "kind": null}',
    ]
    (tmp_path / "t.ndjson").write_bytes(b"".join(lines))
    run.fill(tmp_path / "t.ndjson", tmp_path / "out.ndjson", mark=True)
    out = (tmp_path / "out.ndjson").read_bytes().splitlines(keepends=True)
    assert [out[0], out[3]] == [lines[0], lines[3]]
    rows = [json.loads(line.removeprefix(b"\xef\xbb\xbf")) for line in out]
    assert [type(rows[i]["kind"]) for i in (1, 2, 4)] == [int] * 3
    assert [type(rows[i]["good"]) for i in (1, 2, 4)] == [bool] * 3
    assert [type(rows[i]["price"]) for i in (1, 2, 4)] == [int] * 3
    assert list(rows[1])[:5] == ["good", "x", "note", "kind", "y"]
    assert b'"x":1.50,"note":"\\u00f6 1","kind":' in out[1]
    assert b'"y":[1, {"a":1e3}],"price":' in out[1]
    assert out[1].endswith(b'"price_filled":true}\r\n')
    assert json.loads(out[2])["price"] in range(10, 70)
    assert b' , "note" : "b" , "kind" : ' in out[2] or b' , "note" : "b" , "good" : ' in out[2]
    assert rows[4]["kind_filled"] is True
    assert out[4].startswith(b'{"kind": 0, "note": "a 3", "kind": ')
    assert not out[4].endswith(b"\n")


COLUMNS = {
    "int8": ("kind", pa.int8(), lambda i: i % 3),
    "uint64": ("price", pa.uint64(), lambda i: i),
    "bool": ("good", pa.bool_(), lambda i: bool(i % 2)),
    "category": ("kind", pa.dictionary(pa.int8(), pa.string(), ordered=True), lambda i: str(i % 3)),
    "large_string": ("note", pa.large_string(), lambda i: f"a {i}"),
    "string_view": ("note", pa.string_view(), lambda i: f"a {i}"),
    "decimal": ("price", pa.decimal128(8, 2), lambda i: decimal.Decimal(i) / 4),
    "half": ("price", pa.float16(), lambda i: np.float16(i + 0.5)),
    "int_list": ("price", pa.list_(pa.int32()), lambda i: [i]),
    "fixed": ("price", pa.list_(pa.float32(), 1), lambda i: [i + 0.5]),
    "float": ("price", pa.float64(), lambda i: i / 8),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_parquet_columns_keep_their_type(run, tmp_path, name):
    field, kind, value = COLUMNS[name]
    instants = pa.array([1_700_000_000_000_000_001 + i for i in range(N)], pa.timestamp("ns", "UTC"))
    table = pa.table({
        field: pa.array([None if gap(i) else value(i) for i in range(N)], None if name == "category" else kind),
        "instant": instants,
        "nested": [{"a": [i], "b": None} for i in range(N)],
        "other": [f"b {i}" for i in range(N)],
        "price" if field != "price" else "kind": [i % 3 for i in range(N)],
    })  # fmt: skip
    if name == "category":
        table = table.set_column(0, field, table[field].dictionary_encode().cast(kind))
    table = table.replace_schema_metadata({"kept": "yes"})
    pq.write_table(table, tmp_path / "t.parquet", compression="zstd")
    table = pq.read_table(tmp_path / "t.parquet")
    done = run.fill(tmp_path / "t.parquet", tmp_path / "out.parquet", columns=[field])
    out = pq.read_table(done.path)
    assert out.schema.equals(table.schema, check_metadata=True)
    assert out[field].null_count == 0
    if name == "string_view":  # which Arrow cannot filter
        out, table = (t.set_column(0, field, t[field].cast(pa.string())) for t in (out, table))
    for column in table.column_names:
        keep = pa.array([column != field or not gap(i) for i in range(N)])
        assert out[column].filter(keep).equals(table[column].filter(keep)), column
    assert pq.ParquetFile(done.path).metadata.row_group(0).column(0).compression == "ZSTD"
    assert pq.ParquetFile(done.path).num_row_groups == 1


def test_labels_that_say_a_day_fill_a_column_of_days(tmp_path):
    days = [None if gap(i) else datetime.date(2024, 1, 1 + i % 3) for i in range(N)]
    pq.write_table(pa.table({"day": days, "at": pa.array([None] * N, pa.timestamp("us"))}), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    (shard,) = table.shards()
    changes = {"day": {0: table.cell("day", "2024-05-06")}, "at": {1: table.cell("at", "2024-05-06 07:08:09")}}
    table.write(tmp_path / "part.parquet", shard, changes)
    table.join([tmp_path / "part.parquet"], tmp_path / "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out["day"].to_pylist() == [datetime.date(2024, 5, 6), *days[1:]]
    assert out["at"][1].as_py() == datetime.datetime(2024, 5, 6, 7, 8, 9)
    with pytest.raises(pm.DataError, match=r"t\.parquet: column 'day' holds date32.*'soon'"):
        table.cell("day", "soon")


def test_classes_with_names_are_filled_by_number(run, tmp_path):
    feature = {"names": ["9", "2", "0", "1"], "_type": "ClassLabel"}
    told = json.dumps({"info": {"features": {"kind": feature, "note": {"dtype": "string", "_type": "Value"}}}})
    numbers = [None if gap(i) else i % 4 for i in range(N)]
    numbers[1] = -1
    table = pa.table({"kind": numbers, "note": [f"a {i}" for i in range(N)]}, metadata={"huggingface": told})
    pq.write_table(table, tmp_path / "t.parquet")
    done = run.fill(tmp_path / "t.parquet", tmp_path / "out.parquet", columns=["kind"])
    out = pq.read_table(done.path)
    assert out.schema.equals(table.schema, check_metadata=True)
    made = [cell for i, cell in enumerate(out["kind"].to_pylist()) if gap(i) or i == 1]
    assert len(made) == 4
    assert all(cell in (1, 2, 3) for cell in made)


def test_latin_letters_stay(run, tmp_path):
    (tmp_path / "t.csv").write_bytes("note;kind\nö 1;\nö 2;1\n".encode("cp1252"))
    with pytest.raises(pm.DataError, match=r"line 2: .*encoding='cp1252'"):
        run.fill(tmp_path / "t.csv", tmp_path / "out.csv")
    run.fill(tmp_path / "t.csv", tmp_path / "out.csv", encoding="cp1252")
    first, second, third = (tmp_path / "out.csv").read_bytes().split(b"\n")[:3]
    assert (first, third) == (b"note;kind", b"\xf6 2;1")
    assert second.startswith(b"\xf6 1;")


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_pictures_as_text_stay_text(trained, world, tmp_path, head, ending):
    model, table = pm.open(trained), tmp_path / f"t{ending}"
    text = head + base64.b64encode((world / "0.png").read_bytes()).decode()
    frame = pd.DataFrame({"name": ["red disc", "blue disc"], "picture": [text, None]})
    if ending == ".parquet":
        frame.to_parquet(table)
    elif ending == ".csv":
        frame.to_csv(table, index=False)
    else:
        frame.to_json(table, orient="records", lines=True)
    model.fill(table, tmp_path / f"out{ending}", columns=["picture"], options={"picture": {"steps": 1}}, compare=False)
    rows = list(pm.load(tmp_path / f"out{ending}", {"picture": pm.Image(16)}, validation=0, test=0).rows)
    assert [row["picture"].size for row in rows] == [(16, 16)] * 2
    if ending == ".parquet":
        first, second = pq.read_table(tmp_path / "out.parquet")["picture"].to_pylist()
        assert first == text
        assert second.startswith(head + "iVBOR")
    assert not (tmp_path / f"out{ending}.files").exists()


def test_a_column_that_holds_no_files_is_refused(trained, tmp_path):
    pq.write_table(pa.table({"name": ["red disc"], "picture": pa.array([None], pa.int64())}), tmp_path / "t.parquet")
    with pytest.raises(pm.DataError, match=r"t\.parquet: column 'picture' holds int64"):
        pm.open(trained).fill(tmp_path / "t.parquet", tmp_path / "out.parquet", columns=["picture"])


def test_a_frame_of_pandas_comes_back_filled(run):
    index = pd.Index([f"r{i}" for i in range(N)], name="key")
    frame = pd.DataFrame(
        {
            "note": [f"a {i}" for i in range(N)],
            "kind": pd.Categorical([None if gap(i) else i % 3 for i in range(N)], categories=[0, 1, 2, 9]),
            "good": pd.array([None if gap(i) else bool(i % 2) for i in range(N)], dtype="boolean"),
            "price": [None if gap(i) else float(i) for i in range(N)],
            "thing": [object() if i % 2 else None for i in range(N)],
            7: pd.date_range("2024-01-01", periods=N),
        },
        index=index,
    )
    before = frame.copy()
    out = run.fill(frame, mark=True)
    pd.testing.assert_frame_equal(frame, before)
    assert type(out) is pd.DataFrame
    assert out.index.equals(index)
    assert list(out.columns) == [*frame.columns, "note_filled", "kind_filled", "good_filled", "price_filled"]
    assert not out[["kind", "good", "price"]].isna().any().any()
    assert (out["price"] == out["price"].round()).all()
    assert out["kind_filled"].tolist() == [gap(i) for i in range(N)]
    kept = [not gap(i) for i in range(N)]
    for column in frame.columns:
        assert out[column].dtype == frame[column].dtype, column
        pd.testing.assert_series_equal(out[column][kept], frame[column][kept])
    assert all(a is b for a, b in zip(out["thing"], frame["thing"], strict=True))
    integers = frame[["note"]].assign(price=pd.array([None if gap(i) else i for i in range(N)], dtype="Int16"))
    assert run.fill(integers)["price"].dtype == "Int16"
    assert run.fill(frame[["note"]], columns=["kind", "price"])["price"].dtype == int


def test_an_arrow_table_comes_back_filled(run, tmp_path):
    columns = {"note": [f"a {i}" for i in range(N)], "price": [None if gap(i) else i for i in range(N)]}
    table = pa.table(columns, metadata={"kept": "yes"})
    out = run.fill(table)
    assert out.schema.equals(table.schema, check_metadata=True)
    assert out["price"].null_count == 0
    pq.write_table(table, tmp_path / "t.parquet")
    run.fill(tmp_path / "t.parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(out)
    with pytest.raises(pm.ConfigError, match="output"):
        run.fill(table, tmp_path / "out.parquet")
    with pytest.raises(pm.ConfigError, match="table: a list cannot be filled"):
        run.fill([{"note": "a"}])


def test_a_frame_of_polars_comes_back_filled(run):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {
            "note": [f"a {i}" for i in range(N)],
            "kind": pl.Series([None if gap(i) else str(i % 3) for i in range(N)], dtype=pl.Categorical),
            "price": pl.Series([None if gap(i) else i for i in range(N)], dtype=pl.Int32),
        }
    )
    out = run.fill(frame)
    assert out.schema == frame.schema
    assert out.null_count().sum_horizontal().item() == 0
    assert out.filter([not gap(i) for i in range(N)]).equals(frame.filter([not gap(i) for i in range(N)]))


def test_pictures_of_a_frame_are_objects(trained):
    picture = Image.new("RGB", (16, 16), "red")
    frame = pd.DataFrame({"name": ["red disc", "blue disc"], "picture": [picture, None]})
    out = pm.open(trained).fill(frame, options={"picture": {"steps": 1}})
    assert out["picture"][0] is picture
    assert out["picture"][1].size == (16, 16)


def test_files_of_cells_go_along_to_another_folder(trained, world, tmp_path):
    source, out = tmp_path / "data", tmp_path / "elsewhere" / "out.jsonl"
    shutil.copytree(world, source)
    lines = (source / "rows.jsonl").read_bytes().splitlines(keepends=True)[:12]
    (source / "rows.jsonl").write_bytes(b"".join(lines))
    model = pm.open(trained)
    done = model.fill(source / "rows.jsonl", out, columns=["picture"], options={"picture": {"steps": 1}})
    named = [json.loads(line) for line in lines]
    paths = {row[name] for row in named for name in ("picture", "tone") if row.get(name)}
    assert done.copied == len(paths)
    for path in paths:
        assert (out.parent / path).read_bytes() == (source / path).read_bytes()
    data = pm.load(out, {"picture": pm.Image(16), "tone": {"modality": "audio", "sample_rate_hz": 4000}})
    assert not data.rejected
    assert all(row["picture"] for row in data.rows)

    made = out.with_name("out.jsonl.files")
    (made / "picture-99999999.png").write_bytes(b"of the user")
    with pytest.raises(pm.CheckpointError, match="is there already"):
        model.fill(source / "rows.jsonl", out, columns=["picture"])
    first = sorted(path.name for path in made.iterdir())
    model.fill(source / "rows.jsonl", out, columns=["colour"], overwrite=True)
    left = [path.name for path in made.iterdir() if not path.name.startswith(".")]
    assert left == ["picture-99999999.png"]
    assert len(first) > 2
    (out.parent / next(iter(paths))).write_bytes(b"another")
    with pytest.raises(pm.ConfigError, match="is there already, and not the file that cells"):
        model.fill(source / "rows.jsonl", out, columns=["colour"], overwrite=True)


def test_what_a_killed_call_left_anywhere_is_gone_after_the_next(trained, world, tmp_path):
    """A process that is killed leaves what it was writing, wherever that is, and has listed files it did not make."""
    source, out = tmp_path / "data", tmp_path / "elsewhere" / "out.jsonl"
    shutil.copytree(world, source)
    rows = [json.loads(line) for line in (source / "rows.jsonl").read_text().splitlines()[:8]]
    (source / "deep").mkdir()
    for row in rows:
        for name in ("picture", "tone"):
            if row.get(name):
                (source / row[name]).rename(source / "deep" / Path(row[name]).name)
                row[name] = f"deep/{Path(row[name]).name}"
    (source / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    model, filling = pm.open(trained), {"columns": ["picture"], "options": {"picture": {"steps": 1}}}
    model.fill(source / "rows.jsonl", out, **filling)

    def state():
        return {path.relative_to(out.parent): path.read_bytes() for path in out.parent.rglob("*") if path.is_file()}

    whole, made = state(), out.with_name("out.jsonl.files")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    out.unlink()
    (out.parent / "out.jsonl.partial").mkdir()
    for folder in (out.parent, made, out.parent / "deep", out.parent / "out.jsonl.partial"):
        (folder / f".partial-{dead.pid}@{socket.gethostname()}--half.png").write_bytes(b"half")
    with (made / ".made").open("a") as listed:
        listed.write("picture-00000001.png\npictu")
    model.fill(source / "rows.jsonl", out, **filling)
    assert state() == whole


def test_a_folder_that_fill_did_not_make_is_left_alone(trained, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"name": "red disc", "picture": null}\n')
    folder = tmp_path / "out.jsonl.files"
    folder.mkdir()
    (folder / "mine.txt").write_text("of the user")
    with pytest.raises(pm.CheckpointError, match=r"out\.jsonl\.files"):
        pm.open(trained).fill(tmp_path / "t.jsonl", tmp_path / "out.jsonl", overwrite=True)
    assert (folder / "mine.txt").exists()


def test_the_best_guess_does_not_vary_and_the_mean_of_draws_is_taken(run):
    model = run.model
    rows, keys = 5, make_keys(0, 5)
    to = {name: torch.ones(rows, dtype=torch.bool) for name in ("kind", "price")}
    first, second = (guess_rows(model, {}, {}, to, keys if i == 0 else make_keys(7, rows)) for i in range(2))
    assert torch.equal(first["kind"].value, second["kind"].value)
    many = torch.stack([guess_rows(model, {}, {}, to, make_keys(i, rows), draws=1)["price"].value for i in range(40)])
    assert first["price"].value.std() < many.std() / 2
    assert abs(float(first["price"].value.mean() - many.mean())) < float(many.std())
    alone = guess_rows(model, {}, {}, {name: mask[:1] for name, mask in to.items()}, keys[3:4])
    torch.testing.assert_close(alone["price"].value[0], first["price"].value[3], atol=1e-5, rtol=1e-4)


def test_draws_stay_within_what_was_seen(run, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"note": "a", "price": null}\n' * 300)
    for how in ("best", "draw"):
        run.fill(tmp_path / "t.jsonl", tmp_path / f"{how}.jsonl", how=how)
    drawn, best = (
        [json.loads(line)["price"] for line in (tmp_path / f"{how}.jsonl").read_text().splitlines()]
        for how in ("draw", "best")
    )
    assert all(type(price) is int and 10 <= price < 70 for price in [*drawn, *best])  # as the training rows
    assert len(set(drawn)) > len(set(best))


def test_confidence_is_that_of_the_best_guess(run, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"note": "a", "price": null, "kind": null}\n')
    best, drawn = (run.calibrate(cells=30, judge_steps=0, draws=draws) for draws in (16, 0))
    run.fill(tmp_path / "t.jsonl", tmp_path / "best.jsonl", calibration=best)
    run.fill(tmp_path / "t.jsonl", tmp_path / "drawn.jsonl", calibration=drawn, how="draw")
    assert 0 <= json.loads((tmp_path / "best.jsonl").read_text())["price_confidence"] <= 1
    with pytest.raises(pm.ConfigError, match="calibration: is of another model, other options"):
        run.fill(tmp_path / "t.jsonl", tmp_path / "other.jsonl", calibration=drawn)


def test_numbers_as_text_keep_their_form(recipe, tmp_path):
    columns = {
        "comma": (1, lambda i: f"{10 + i},{i % 10}5", r"\d\d,\d{1,2}"),
        "bracket": (1, lambda i: f"[{10 + i}.5]", r"\[\d\d\.\d\]"),
        "pair": (2, lambda i: f"{10 + i},{i}", r"\d\d,\d+"),
        "semicolon": (2, lambda i: f"{10 + i},5; {i},25", r"\d\d,\d+; \d+,\d+"),
        "space": (2, lambda i: f"{i} {i + 1}", r"\d+ \d+"),
    }
    rows = [[write(i) for _, write, _ in columns.values()] for i in range(40)]
    table = "|".join(columns) + "\n" + "".join("|".join(row) + "\n" for row in rows)
    (tmp_path / "t.csv").write_text(table)
    fields = {name: pm.Vector(size) for name, (size, *_) in columns.items()}
    data = pm.load(tmp_path / "t.csv", fields, validation=0.2, cache=tmp_path / "cache")
    assert not data.bad_cells
    run = pm.fit({**recipe, "fields": {}}, data, steps=2, run=tmp_path / "run")
    (tmp_path / "gaps.csv").write_text(table + "12,5||||3 4\n|[19.5]|11,2|11,5; 2,5|\n")
    run.fill(tmp_path / "gaps.csv", tmp_path / "out.csv")
    *same, first, second = (tmp_path / "out.csv").read_text().splitlines()
    assert same == table.splitlines()
    for line in (first, second):
        assert re.fullmatch(r"\|".join(form for *_, form in columns.values()), line)


def test_how_far_it_is_is_told(run, tmp_path, caplog):
    table = tmp_path / "t.jsonl"
    table.write_text('{"note": "a", "kind": null}\n' * 300)
    with caplog.at_level("INFO", "polymodal"):
        run.fill(table, tmp_path / "silent.jsonl", compare=False, print_progress=False)
        run.fill(table, tmp_path / "out.jsonl", compare=False)
        run.fill(pd.DataFrame({"note": ["a"], "kind": [None]}), compare=False)
    files, frame = [record.getMessage() for record in caplog.records]
    assert (files, frame) == (
        "filling 100%  0:00 left  300 of 300 rows",
        "filling 100%  0:00 left  1 of 1 rows",
    )


def test_one_at_a_time_fills_an_output(run, tmp_path):
    (tmp_path / "t.jsonl").write_text('{"note": "a", "kind": null}\n')
    partial = tmp_path / "out.jsonl.partial"
    partial.mkdir()
    with FileLock(partial / "lock"), pytest.raises(pm.CheckpointError, match=r"out\.jsonl: another process"):
        run.fill(tmp_path / "t.jsonl", tmp_path / "out.jsonl", compare=False)


def test_a_guess_that_is_worse_than_trivial_is_told_once(run, tmp_path, caplog, monkeypatch):
    (tmp_path / "t.jsonl").write_text('{"note": "a", "price": null, "kind": null}\n')
    model = pm.open(run.run)
    known = json.loads((run.run / "baseline.json").read_text())
    known["comparisons"]["price"] |= {"score": 2.0, "trivial": 1.0}
    known["comparisons"]["kind"] |= {"score": 0.5, "trivial": 0.4}
    (run.run / "baseline.json").write_text(json.dumps(known))
    monkeypatch.setattr(pm.Generator, "data", lambda *_: pytest.fail("measured again"))
    with caplog.at_level(logging.WARNING):
        model.fill(tmp_path / "t.jsonl", tmp_path / "out.jsonl")
    (record,) = caplog.records
    assert record.getMessage().startswith("fill: 'price' is guessed worse than trivially: error 2, the mean's 1")
    caplog.clear()
    model.fill(tmp_path / "t.jsonl", tmp_path / "kind.jsonl", columns=["kind"])
    model.fill(tmp_path / "t.jsonl", tmp_path / "quiet.jsonl", compare=False)
    assert not caplog.records


def test_a_damaged_file_of_a_part_is_made_again(trained, tmp_path, monkeypatch):
    from polymodal.fill import _Job

    (tmp_path / "t.jsonl").write_text('{"name": "red disc", "picture": null}\n')
    model, options = pm.open(trained), {"picture": {"steps": 1}}
    with monkeypatch.context() as patch:
        patch.setattr(_Job, "_clear", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            model.fill(tmp_path / "t.jsonl", tmp_path / "out.jsonl", options=options)
    picture = Path(tmp_path / "out.jsonl.files" / "picture-00000001.png")
    whole = picture.read_bytes()
    (tmp_path / "out.jsonl").unlink()
    picture.write_bytes(whole[:50])
    model.fill(tmp_path / "t.jsonl", tmp_path / "out.jsonl", options=options)
    assert picture.read_bytes() == whole


def test_a_column_that_is_there_twice_is_refused():
    frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
    for table in (frame, pa.table([[1], [2]], names=["a", "a"])):
        with pytest.raises(pm.DataError, match="column 'a' is there twice"):
            open_frame(table)
