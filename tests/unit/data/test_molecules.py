"""The built-in data set of molecules: measured, of known origin, and no scaffold in two splits."""

import json
from collections import defaultdict

import pyarrow.parquet as pq
import pytest

pytest.importorskip("chemicals", reason="needs the extra 'molecules'")
pytest.importorskip("rdkit", reason="needs the extra 'molecules'")

import polymodal as pm
from polymodal.data import molecules
from polymodal.data.molecules.cells import describe
from polymodal.data.molecules.compounds import SOURCES
from polymodal.errors import DataError
from polymodal.modalities import chemistry


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return molecules.build(tmp_path_factory.mktemp("sets"), compounds=300, measured=True, workers=1)


@pytest.fixture(scope="module")
def rows(folder):
    return pq.read_table(folder / "rows.parquet").to_pylist()


def test_rows_are_measured_and_say_by_whom(rows, folder):
    assert 150 < len(rows) <= 300
    assert len({row["structure"] for row in rows}) == len(rows)
    assert all(row["melting_point"] > 0 and row["melting_source"] in SOURCES for row in rows)
    assert all((row["boiling_point"] is None) == (row["boiling_source"] is None) for row in rows)
    credits = json.loads((folder / "credits.json").read_text())
    assert {entry["package"] for entry in credits["packages"]} == set(molecules.CREDITS)


def test_what_is_computed_is_that_of_the_structure(rows):
    for row in rows[::20]:
        molecule = chemistry.parse(row["structure"])
        assert chemistry.canonical(row["structure"]) == row["structure"]
        computed = dict(zip(chemistry.PROPERTIES, chemistry.properties(molecule), strict=True))
        assert {name: row[name] for name in computed} == pytest.approx(computed)
        assert chemistry.scaffold(molecule) == row["scaffold"]


def test_no_scaffold_is_in_two_splits(rows):
    splits = defaultdict(set)
    for row in rows:
        splits[row["scaffold"]].add(row["split"])
        assert (row["split"] == "train") == (row["held_out"] is None)
    assert max(map(len, splits.values())) == 1
    assert splits[""] == {"train"}
    assert {"train", "test"} <= set.union(*splits.values())


def test_it_opens_with_its_fields(folder):
    data = pm.load(folder, molecules.FIELDS)
    assert set(data.fields) == set(molecules.FIELDS)
    assert not [cell for cell in data.bad_cells if "in no training row" not in cell.reason]
    assert data.train[0]["structure"] == chemistry.canonical(data.train[0]["structure"])


NONE = ("O", "C[Hg]C", "C" * 100, "C1CC", "CC(C)(C)(C)C", "[2H]CO", "C[O-]", "C[CH]C")


def test_what_is_no_small_organic_molecule_is_left_out():
    assert describe("CCO")["mass"] == pytest.approx(46.069, abs=0.01)
    assert [describe(smiles) for smiles in NONE] == [None] * len(NONE)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compounds": 5}, "compounds=5; at least 100"),
        ({"workers": 0}, "workers=0"),
        ({"compounds": 10**6}, "compounds=1000000; from 100"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        molecules.build(tmp_path, **options)
    assert list(tmp_path.iterdir()) == []
