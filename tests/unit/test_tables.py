"""Tables: the types that columns are given, and what is made of a cell."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from polymodal import DataError
from polymodal.tables import ColumnStyle, open_table

FILE = pa.struct({"bytes": pa.binary(), "path": pa.string()})


@pytest.mark.parametrize(
    ("old", "example", "new"),
    [
        (None, "a", pa.string()),
        (None, 0.5, pa.float64()),
        (None, 3, pa.int64()),
        (None, [0.5], pa.list_(pa.float32())),
        (None, [[0.5]], pa.list_(pa.list_(pa.float32()))),
        (None, b"", FILE),
        (pa.null(), 0.5, pa.float64()),
        (pa.null(), b"", FILE),
        (pa.string(), b"", FILE),
        (pa.binary(), b"", pa.binary()),
        (FILE, b"", FILE),
        (pa.int16(), "a", pa.int16()),
        (pa.list_(pa.float64()), [0.5], pa.list_(pa.float64())),
    ],
)
def test_a_parquet_column_gets_the_type_of_its_cells(tmp_path, old, example, new):
    columns = {"id": pa.array([1, 2])} | ({} if old is None else {"new": pa.array([None, None], old)})
    pa.parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
    table = open_table(tmp_path / "t.parquet")
    table.added = ["new"] if old is None else []
    table.prepare("new", example)
    (shard,) = table.shards()
    cell = table.cell("new", "7" if new == pa.int16() else example)
    table.write(tmp_path / "part.parquet", shard, {"new": {1: cell}})
    table.join([tmp_path / "part.parquet"], tmp_path / "out.parquet")
    out = pa.parquet.read_table(tmp_path / "out.parquet")
    assert out.schema.field("new").type == new
    assert out["new"].null_count == 1


def test_cells_fit_the_column_that_is_there(tmp_path):
    table = pa.table({"n": pa.array([1.5]), "i": pa.array([1]), "b": pa.array([b"x"])})
    pa.parquet.write_table(table, tmp_path / "t.parquet")
    parquet = open_table(tmp_path / "t.parquet")
    assert parquet.cell("n", [2.5]) == 2.5
    assert parquet.cell("i", "12") == 12
    assert parquet.cell("b", b"y") == b"y"
    with pytest.raises(DataError, match=r"t\.parquet: column 'i' .* 'twelve'"):
        parquet.cell("i", "twelve")
    (tmp_path / "t.csv").write_text("a\n")
    csv = open_table(tmp_path / "t.csv")
    assert [csv.cell("a", cell) for cell in ("x", 1.5, [1.0, 2.0], [[1], [2]])] == ["x", "1.5", "1.0 2.0", "[[1], [2]]"]


@pytest.mark.parametrize(
    ("cells", "content", "written"),
    [
        (["1.0", "2.0", "3"], "2", "2.0"),
        (["NA", "b"], "NA", "NA"),
        (["80, 60", "81, 61"], [80.4, 61.2], "80, 61"),
        (["[1,2]", "[3,4]"], [-1.2, 9.0], "[0,9]"),
        (["[1.5 2.5]"], [1.25, 2.0], "[1.25 2.0]"),
        (["1 2"], [0.0, 2.0], "0 2"),
        ([f"{i}.50" for i in range(12)], [3.456], "3.46"),
        ([f"{i}.50" for i in range(12)], [3.0], "3.00"),
        ([str(i) for i in range(3, 15)], [-3.7], "3"),
        ([str(i) for i in range(3, 15)], [22.0], "14"),
        (["-1", "-2"], [3.0], "0"),
        ([f"{1.7e9 + i:.0f}" for i in range(12)], [1.7e9 + 3.6], "1700000004"),
        (["1e-3", "2e-3"], [0.0015000000123], "0.0015"),
        ([], [0.30000000001], "0.3"),
        ([], [1.0, 2.5], "1.0 2.5"),
        (["a", "b"], True, "true"),
    ],
)
def test_text_is_written_as_the_other_cells(cells, content, written):
    style = ColumnStyle()
    for cell in cells:
        style.add(cell)
    assert style.text(content) == written


@pytest.mark.parametrize(
    ("cells", "content", "like"),
    [
        ([1, 2, 3], "3", 3),
        ([1, 2, 3], [2.6], 3),
        ([4, 3.5], [3.75], 3.75),
        ([1.0, 2.0], "2", 2.0),
        ([True, False], "True", True),
        ([True, False], "false", False),
        ([True, False], [0.7], True),
        (["1", "2"], "2", "2"),
        ([[1, 2], [3, 4]], [2.2, -9.0], [2, 0]),
        ([0.25, 1.25, *range(10)], [0.123456], 0.12),
        ([], "red", "red"),
        ([], [0.5], [0.5]),
    ],
)
def test_a_cell_is_like_the_others(cells, content, like):
    style = ColumnStyle()
    for cell in cells:
        style.add(cell)
    made = style.like(content)
    assert made == like
    assert type(made) is type(like)


def test_what_is_unlike_the_others_is_refused():
    style = ColumnStyle()
    style.add(1)
    for content in ("red", "1.5"):
        with pytest.raises(ValueError, match=content):
            style.like(content)
