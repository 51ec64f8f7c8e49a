"""Molecules: notations, canonical forms, refusals with RDKit's reason and nothing on the screen, columns."""

import json

import pytest
import torch

pytest.importorskip("rdkit", reason="needs the extra 'molecules'")

import polymodal as pm
from polymodal import ConfigError, DataError
from polymodal.data import infer_fields
from polymodal.evaluation.kinds import find_kind
from polymodal.evaluation.metrics import novelty, uniqueness, validity
from polymodal.generation import read
from polymodal.modalities import chemistry, kind_of
from polymodal.modalities.molecule import Structure

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
SMILES = [ASPIRIN, "CCO", "c1ccccc1", "N[C@@H](C)C(=O)O", "F/C=C/F", "C[N+](C)(C)C", "[Na+].[Cl-]", "[2H]C", "C#N"]


@pytest.fixture(params=["selfies", "smiles"])
def molecule(request):
    """Knows the symbols of ``SMILES``."""
    modality = pm.Molecule(request.param, 40)
    modality.prepare([*SMILES, "no molecule", None])
    return modality


@pytest.mark.parametrize("smiles", SMILES)
def test_a_molecule_is_read_and_written(molecule, smiles):
    ids = molecule.read(smiles)
    assert molecule.write(torch.from_numpy(ids)) == chemistry.canonical(smiles)
    assert pm.Molecule(**json.loads(json.dumps(molecule.state()))).read(smiles).tolist() == ids.tolist()


def test_every_notation_is_the_same_molecule(molecule, tmp_path):
    import selfies
    from rdkit import Chem

    known = Chem.MolFromSmiles(ASPIRIN)
    other_order = Chem.MolToSmiles(known, rootedAtAtom=7, canonical=False)
    assert other_order != ASPIRIN
    Structure(ASPIRIN).save(tmp_path / "a.sdf")
    (tmp_path / "b.mol").write_text(Chem.MolToMolBlock(known))
    (tmp_path / "c.smi").write_text(f"{ASPIRIN}\taspirin\n")
    forms = [other_order, selfies.encoder(ASPIRIN), Chem.MolToInchi(known), known, f"{ASPIRIN}\n".encode(),
             Chem.MolToMolBlock(known), *sorted(tmp_path.iterdir())]  # fmt: skip
    for raw in forms:
        assert molecule.read(raw).tolist() == molecule.read(ASPIRIN).tolist(), raw
    assert molecule.identity(known) == molecule.identity(Chem.MolFromSmiles(ASPIRIN))
    assert chemistry.canonical("[Na+].[Cl-]") == "[Cl-].[Na+]"  # brackets that are SMILES


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("CC(C)(C)(C)C", "valence for atom # 1 C, 5, is greater than permitted"),
        ("c1cccc1", "kekulize"),
        ("C1CC", "no SMILES that RDKit can parse"),
        ("hello", "no SMILES"),
        ("", "no SMILES"),
        ("InChI=1S/nothing", "no InChI"),
        ("\n\n\n  1  0  0 V2000\nM  END", "no mol block"),
        ("[C][Wrong][C]", "no SMILES"),
        ("S(=O)(=O)(C)C" + "C" * 60, "63 symbols|max_length 40 holds 39"),
        ("[Pt]", r"symbol '\[Pt\]' is in no training row"),
        ("C" * 70_000, "70,000 characters"),
        (3.5, "3.5 .*is not a molecule"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_what_is_refused_says_why_and_prints_nothing(molecule, raw, reason, capfd):
    with pytest.raises(DataError, match=reason):
        molecule.read(raw)
    assert capfd.readouterr() == ("", "")


def test_bad_molecules_lose_no_other_row(tmp_path, capfd):
    rows = [{"m": smiles, "split": "train"} for smiles in [*SMILES, "CC(C)(C)(C)C", "junk("]]
    rows.append({"m": "C[Se]C", "split": "test"})
    data = pm.load(rows, {"m": pm.Molecule(max_length=40)}, cache=tmp_path, validation=0)
    assert len(data.train) == len(SMILES)
    assert [row.row for row in data.rejected] == [10, 11, 12]
    assert "'[Se]' is in no training row" in data.rejected[2].reason
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"notation": "iupac"}, "notation"),
        ({"max_length": 1}, "max_length"),
        ({"symbols": ["[C]", "[C]"]}, "symbols"),
    ],
)
def test_wrong_arguments(arguments, word):
    with pytest.raises(ConfigError, match=f"^{word}: "):
        pm.Molecule(**arguments)


def test_only_strong_evidence_makes_a_column_molecules(tmp_path):
    import selfies

    words = ["CO", "COIN", "IN", "SON", "COCOON", "NO", "BOO", "OFF", "SNOB"]
    rows = [
        {"smiles": s, "selfies": selfies.encoder(s), "words": w, "codes": f"C{i}-{i}", "said": f"a molecule {i}"}
        for i, (s, w) in enumerate(zip(SMILES, words, strict=True))
    ]
    kinds = {name: kind_of(field) for name, field in infer_fields(rows, tmp_path).items()}
    assert (kinds["smiles"], kinds["selfies"]) == ("molecule", "molecule")
    assert {kinds["words"], kinds["said"]} == {"text"}
    assert "molecule" not in {kinds.get("codes")}


def test_drawings_and_files(tmp_path):
    thing = Structure(ASPIRIN)
    for name in ("a.smi", "a.sdf", "a.mol", "a.png"):
        thing.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10
    assert (tmp_path / "a.sdf").read_text().endswith("M  END\n$$$$\n")
    with pytest.raises(DataError, match=r"write \.smi, \.sdf, \.mol or \.png"):
        thing.save(tmp_path / "a.doc")
    modality = pm.Molecule()
    assert modality.thumbnail(thing, 40).getextrema() != ((255, 255),) * 3
    assert modality.thumbnail(Structure("C1CC"), 40) is None
    assert "nothing" in modality.preview(Structure(""))


def test_sets_and_pairs_of_molecules_are_compared(molecule):
    made = ["OCC", "CCO", "C1CC", "c1ccccc1"]
    assert validity(made).tolist() == [1, 1, 0, 1]
    assert uniqueness(made) == pytest.approx(2 / 3)
    assert novelty(made, {"CCO"}) == pytest.approx(1 / 2)
    assert (uniqueness([]), novelty(["C1CC"], set())) == (0, 0)
    kind, field = find_kind(molecule), read("m", molecule, ASPIRIN)
    other = read("m", molecule, "CCO")
    assert kind.likeness(field, field) == kind.same(field, field) == 1
    assert 0 < kind.likeness(field, other) < 0.5
    found = {result.metric: result.values for result in kind.compare(field, other, ceiling=1.0, chance=0.0)}
    assert found["error of mass"] == pytest.approx([180.159 - 46.069], abs=0.01)
    assert found["Tanimoto similarity"] == kind.likeness(field, other)
    symbols = [text for text, _ in kind.pieces(other)]
    assert symbols == (["[C]", "[C]", "[O]", ""] if molecule.notation == "selfies" else ["C", "C", "O", ""])
    assert kind.features(field).shape == (1, 5)
    assert {result.metric for result in kind.compare_sets(field, other)} == {"validity", "uniqueness"}


def test_chemnet_tells_real_molecules_from_chains():
    pytest.importorskip("fcd", reason="needs the extra 'bench'")
    from polymodal.evaluation.metrics import chemnet_distance

    rings, chains = (["c1ccccc1" + "C" * n for n in range(8)], ["C" * n for n in range(1, 9)])
    assert chemnet_distance(rings, rings) == pytest.approx(0, abs=1e-2)
    assert chemnet_distance(rings, chains) > 5
