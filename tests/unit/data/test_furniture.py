"""The built-in data set ``furniture``, from small catalogues of Sweet Home 3D: the real ones are not needed."""

import io
import json
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import polymodal as pm
from polymodal.data import furniture
from polymodal.data.furniture import catalogues
from polymodal.data.furniture.catalogues import Piece, parse_properties, read_pieces
from polymodal.data.furniture.meshes import to_ply
from polymodal.data.furniture.rows import groups, price, splits
from polymodal.data.sources import builtin
from polymodal.errors import DataError

trimesh = pytest.importorskip("trimesh", reason="needs the extra 'shapes'")

BOX = b"v 0 0 0\nv 2 0 0\nv 0 1 0\nv 0 0 5\nv 9 9 9\nf 1 2 3\nf 1 2 4\nf 1 3 4\nf 2 3 4\n"  # one vertex of no face
NAMES = ["Chair", "Chair 2", "Big sofa", "Lamp", "Table", "Bed", "Oven", "Bath"]


def entry(number, name, *, model="box.obj", **other):
    given = {"id": f"Maker#{name}", "name": name, "tags": "a\\, b", "category": "Kitchen", "icon": "/icon.png",
             "model": f"/{model}", "width": "20", "depth": "50.5", "height": 10, "creator": "Ada"} | other  # fmt: skip
    return "\n".join(f"{key}#{number}={value}" for key, value in given.items() if value is not None)


def write_catalogue(folder, entries, *, name="One", licence="Public domain", **languages):
    icon = io.BytesIO()
    Image.new("RGBA", (40, 40), (255, 0, 0, 128)).save(icon, "PNG")
    with zipfile.ZipFile(folder / f"{name}.sh3f", "w") as archive:
        text = "\n\n".join(["# notes", f"license={licence}", *entries])
        archive.writestr("PluginFurnitureCatalog.properties", text.encode("latin-1"))
        for language, lines in languages.items():
            archive.writestr(f"PluginFurnitureCatalog_{language}.properties", lines)
        archive.writestr("icon.png", icon.getvalue())
        for model in ("box.obj", "chair1.obj", "chair2.obj"):
            archive.writestr(model, BOX)
        archive.writestr("broken.obj", b"f 7 8 9\n")
    return folder / f"{name}.sh3f"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogues")
    entries = [entry(i, name, model=f"{name.split()[0].lower()}.obj".replace("chair", "chair1")) for i, name in
               enumerate(NAMES) if "hair" in name] + [entry(i + 10, name, model="box.obj") for i, name in
               enumerate(NAMES) if "hair" not in name]  # fmt: skip
    write_catalogue(folder, [*entries, entry(40, "Ghost", model="broken.obj")],
                    fr=b"name#0=Caf\\u00e9 \\\n   chaise\n")  # fmt: skip
    write_catalogue(folder, [entry(1, "Stool")], name="Two", licence="Creative Commons Attribution 3.0 United States")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory, originals):
    return furniture.build(tmp_path_factory.mktemp("cache") / "builtin", folder=str(originals), languages=["fr"])


@pytest.fixture(scope="module")
def rows(folder):
    return {row["name"]: row for row in pq.read_table(folder / "rows.parquet").to_pylist()}


class TestRows:
    def test_every_piece_has_its_cells(self, rows):
        assert {*rows} == {*NAMES, "Ghost", "Stool"}
        chair = rows["Chair"]
        assert (chair["width"], chair["height"], chair["depth"]) == (20, 10, 50.5)
        assert (chair["category"], chair["tags"], chair["author"]) == ("Kitchen", "a, b", "Ada")
        assert Image.open(io.BytesIO(chair["icon"])).size == (40, 40)

    def test_other_languages_fall_back_to_english(self, rows):
        assert rows["Chair"]["name_fr"] == "Café chaise"
        assert rows["Lamp"]["name_fr"] == "Lamp"

    def test_licence_and_author_are_kept(self, rows, folder):
        assert (rows["Chair"]["licence"], rows["Stool"]["licence"]) == ("CC0-1.0", "CC-BY-3.0-US")
        models = json.loads((folder / "credits.json").read_text())["models"]
        assert {"catalogue": "Two.sh3f", "author": "Ada", "licence": "CC-BY-3.0-US", "pieces": 1} in models

    def test_a_mesh_fills_its_box_in_centimetres(self, rows):
        mesh = trimesh.load_mesh(io.BytesIO(rows["Chair"]["shape"]), file_type="ply", process=False)
        assert mesh.extents.tolist() == pytest.approx([20, 10, 50.5])
        assert mesh.bounds.mean(0).tolist() == pytest.approx([0, 0, 0], abs=1e-5)

    def test_a_mesh_that_cannot_be_read_is_a_missing_cell(self, rows):
        assert rows["Ghost"]["shape"] is None

    def test_groups_share_a_split(self, rows):
        assert rows["Chair"]["group"] == rows["Chair 2"]["group"] != rows["Lamp"]["group"]
        assert rows["Chair"]["split"] == rows["Chair 2"]["split"]

    def test_it_loads_with_its_own_fields_and_without_prices(self, folder, originals):
        cache = folder.parent.parent
        data = pm.load(f"furniture:folder={originals},languages=[fr]", cache=cache)
        assert [*data.fields] == [*furniture.FIELDS]
        assert data.rows.present["shape"].sum() == len(NAMES) + 1  # one is broken
        shape = next(row["shape"] for row in data.rows if row["name"] == "Chair")
        assert np.ptp(shape, axis=0) == pytest.approx([20, 10, 50.5], rel=0.05)
        data = pm.load(f"furniture:folder={originals},meshes=false,prices=false", cache=cache)
        assert "price" not in data.fields
        assert len(data.rows) == len(NAMES) + 2

    def test_a_finished_set_is_reused(self, folder, originals):
        assert furniture.build(folder.parent, folder=str(originals), languages=["fr"]) == folder


def test_rotation_turns_before_the_box_is_filled():
    quarter = (0, 0, 1, 0, 1, 0, -1, 0, 0)  # x becomes -z
    mesh = trimesh.load_mesh(io.BytesIO(to_ply(BOX, quarter, (5, 1, 2))), file_type="ply", process=False)
    assert mesh.extents.tolist() == pytest.approx([5, 1, 2])
    longest = mesh.vertices[np.argmax(mesh.vertices[:, 0])]
    assert longest[2] == pytest.approx(1)  # the tip along z is now along x, at the end of the others' z


def piece(name, mesh="a.obj", size=(10, 10, 10), category="Kitchen"):
    place = catalogues.Path("One.sh3f")
    return Piece(name, place, {"en": name}, {"en": ""}, category, size, (), "i.png", mesh, "Ada", "CC0-1.0")


def test_groups_join_names_and_files():
    found = groups(
        [piece("Sofa", "red1.obj"), piece("Couch", "red2.obj"), piece("Couch 3", "b.obj"), piece("Bed", "c")]
    )
    assert found == ["sofa", "sofa", "sofa", "bed"]


def test_splits_hold_out_a_part_of_the_groups():
    found = [splits(f"group {number}") for number in range(2000)]
    assert found.count("test") / 2000 == pytest.approx(0.15, abs=0.03)
    assert found.count("validation") / 2000 == pytest.approx(0.1, abs=0.03)


def test_prices_follow_size_and_category():
    plain, large = piece("a"), piece("a", size=(20, 10, 20))
    assert price(large, 0) == pytest.approx(2 * price(plain, 0))
    assert price(plain, 0) != price(piece("a", category="Bathroom"), 0)
    logs = np.log([price(piece(f"p{number}"), 0.15) for number in range(500)])
    assert logs.std() == pytest.approx(0.15, abs=0.02)
    assert price(plain, 0.15) == price(plain, 0.15)


def test_properties_of_java():
    assert parse_properties(b"! no\na\\=b : x\\\n  y\nc=\\u4e2d\ne\n") == {"a=b": "xy", "c": "中", "e": ""}


@pytest.mark.parametrize(
    "wrong", [{"width": "wide"}, {"height": "0"}, {"category": None}, {"icon": "/none.png"}, {"model": "../x.obj"}]
)
def test_pieces_without_what_they_need_are_left_out(tmp_path, wrong):
    given = {key: value for key, value in wrong.items() if key != "model"}
    path = write_catalogue(tmp_path, [entry(1, "Good"), entry(2, "Bad", model=wrong.get("model", "box.obj"), **given)])
    assert [found.names["en"] for found in read_pieces(path, [])] == ["Good"]


class TestRefusals:
    def test_where_nothing_is_installed_both_ways_are_told(self, tmp_path, monkeypatch):
        monkeypatch.setattr(catalogues, "DEBIAN_FOLDER", tmp_path)
        with pytest.raises(DataError, match=r"apt-get install sweethome3d-furniture.*furniture:folder=FOLDER"):
            furniture.build(tmp_path)

    def test_a_folder_of_something_else(self, tmp_path):
        with pytest.raises(DataError, match=r"holds no catalogue of Sweet Home 3D \(\*.sh3f\)"):
            furniture.build(tmp_path, folder=str(tmp_path))

    def test_what_is_no_catalogue(self, tmp_path):
        (tmp_path / "a.sh3f").write_bytes(b"no zip")
        with pytest.raises(DataError, match=r"a\.sh3f: is no catalogue"):
            furniture.build(tmp_path / "cache", folder=str(tmp_path))

    @pytest.mark.parametrize(
        ("option", "message"), [("noise=3", "noise=3"), ("languages=[xx]", "languages=xx; known:")]
    )
    def test_options(self, tmp_path, originals, option, message):
        with pytest.raises(DataError, match=message):
            builtin.build(f"furniture:folder={originals},{option}", tmp_path)
