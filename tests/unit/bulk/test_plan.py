"""Plans of row groups: the same wherever they are made, from footers alone."""

import tracemalloc

import fsspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from polymodal import ConfigError, DataError
from polymodal.bulk import make_plan
from polymodal.bulk.plan import SAMPLE_PIECES
from polymodal.tables import SHARD_ROWS, read_rows


def write(path, rows, group_rows=100, **columns):
    path.parent.mkdir(exist_ok=True)
    table = pa.table({"n": pa.array(range(rows), pa.int64()), **columns})
    pa.parquet.write_table(table, path, row_group_size=group_rows)


def test_every_row_is_in_one_group(tmp_path):
    for name, rows in {"b": 700, "a": 1000, "c": 0, "d": 1}.items():
        write(tmp_path / "t" / f"{name}.parquet", rows)
    (tmp_path / "t" / ".hidden.parquet").write_bytes(b"")
    plan = make_plan(tmp_path / "t", group_rows=300)
    assert [(file.name, file.first) for file in plan.files] == [
        ("a.parquet", 0),
        ("b.parquet", 1000),
        ("c.parquet", 1700),
        ("d.parquet", 1700),
    ]
    groups = [(group.file.name[0], group.start, group.rows) for group in map(plan.__getitem__, range(len(plan)))]
    assert groups == [
        ("a", 0, 300), ("a", 300, 300), ("a", 600, 300), ("a", 900, 100), ("b", 0, 300), ("b", 300, 300),
        ("b", 600, 100), ("d", 0, 1),
    ]  # fmt: skip
    assert plan.rows == 1701
    assert make_plan(str(tmp_path / "t" / "*.parquet"), 300).note() == plan.note()
    fsspec.filesystem("memory").put(str(tmp_path / "t"), "/plan", recursive=True)
    assert make_plan("memory://plan/*.parquet", 300).note() == plan.note()


@pytest.mark.parametrize(("first", "count"), [(0, 1000), (0, 256), (250, 512), (999, 1), (300, 700), (1, 999)])
@pytest.mark.parametrize("group_rows", [7, 100, 5000])
def test_rows_are_cut_in_the_same_places_whatever_the_files_row_groups_are(tmp_path, first, count, group_rows):
    write(tmp_path / "a.parquet", 1000, group_rows)
    file = tmp_path / "a.parquet"
    pieces = list(read_rows("a", file.stat().st_size, lambda: file.open("rb"), first, count))
    assert [row for piece in pieces for row in piece["n"].to_pylist()] == list(range(first, first + count))
    assert {len(piece) for piece in pieces[:-1]} <= {SHARD_ROWS}


def test_the_sample_is_all_of_few_rows_and_spread_over_many(tmp_path):
    write(tmp_path / "few.parquet", 1000)
    assert [rows for _, _, rows in make_plan(tmp_path / "few.parquet").sample()] == [1000]
    write(tmp_path / "many.parquet", 100_000)
    pieces = list(make_plan(tmp_path / "many.parquet").sample())
    assert len(pieces) == SAMPLE_PIECES
    assert [start for _, start, _ in pieces][:: SAMPLE_PIECES - 1] == [0, 100_000 - SHARD_ROWS]


def test_a_plan_takes_no_more_memory_for_more_rows(tmp_path):
    """Of rows that the files do not hold in any bytes to speak of."""
    peaks = []
    for rows in (10_000, 1_000_000):
        nothing = pa.table({"n": pa.nulls(rows, pa.int8())})
        pa.parquet.write_table(nothing, tmp_path / f"{rows}.parquet")
        tracemalloc.start()
        assert make_plan(tmp_path / f"{rows}.parquet").rows == rows
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_what_cannot_be_planned_is_said(tmp_path):
    with pytest.raises(DataError, match=r"there is no \.parquet file"):
        make_plan(tmp_path)
    with pytest.raises(DataError, match=r"none\.parquet: no such file"):
        make_plan(tmp_path / "none.parquet")
    with pytest.raises(ConfigError, match="name at least one file"):
        make_plan([])
    with pytest.raises(ConfigError, match="nosuch"):
        make_plan("nosuch://a.parquet")
    (tmp_path / "a.csv").write_text("n\n1\n")
    with pytest.raises(ConfigError, match=r"as \.parquet files only"):
        make_plan([tmp_path / "a.csv"])
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=r"b\.parquet: cannot be read"):
        make_plan([tmp_path / "b.parquet"])
    write(tmp_path / "c.parquet", 1)
    write(tmp_path / "d.parquet", 1, m=pa.array(["x"]))
    with pytest.raises(DataError, match=r"d\.parquet: column 'm' is string, and missing in c\.parquet"):
        make_plan([tmp_path / "c.parquet", tmp_path / "d.parquet"])
    with pytest.raises(ConfigError, match="group_rows: 0"):
        make_plan(tmp_path / "c.parquet", group_rows=0)
