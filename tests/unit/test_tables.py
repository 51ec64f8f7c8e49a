"""Tables: the types that columns are given, and what is made of a cell."""

import pyarrow as pa
import pyarrow.parquet
import pytest

from polymodal import DataError
from polymodal.tables import open_table

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
