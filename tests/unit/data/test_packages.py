"""The built-in data set of packages: lists of apt, packed or not, in any language; siblings are in one split."""

import gzip
from collections import defaultdict

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import polymodal as pm
from polymodal.data import packages
from polymodal.data.packages.lists import find
from polymodal.errors import DataError

INDEX = """Package: {name}
Source: {source} (1.2-3)
Version: 1
Description: {short}
Description-md5: {digest}
Section: non-free/games
Tag: a::b,
 c::d

"""
TRANSLATION = """Package: {name}
Description-md5: {digest}
Description-{language}: {short}
 A {name} that does one thing, and does that thing
 well in {language}.
 .
 It has:
  * a list
  * of items,
    one of them long
 .
 Written by nobody.

"""


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    named = [{"name": f"tool{n}", "source": f"tool{n // 3}", "digest": f"{n:x}", "short": f"tool number {n}"}
             for n in range(60)]  # fmt: skip
    index = "".join(INDEX.format(**one) for one in named)
    english = "".join(TRANSLATION.format(**one, language="en") for one in named)
    french = "".join(TRANSLATION.format(**one, language="fr") for one in named[::2])
    with pa.output_stream(str(folder / "x_main_binary-amd64_Packages.lz4"), compression="lz4") as stream:
        stream.write(index.encode())
    (folder / "x_main_i18n_Translation-en").write_text(english)
    (folder / "x_main_i18n_Translation-fr.gz").write_bytes(gzip.compress(french.encode()))
    (folder / "x_InRelease").write_text("Package: none\n")
    return folder


def rows_of(folder, cache, **options):
    return pq.read_table(packages.build(cache, folder=str(folder), **options) / "rows.parquet").to_pylist()


def test_rows_are_the_descriptions(lists, tmp_path):
    rows = rows_of(lists, tmp_path, languages=["fr"])
    assert len(rows) == 30
    row = next(row for row in rows if row["package"] == "tool4")
    assert row["short"] == "tool number 4"
    assert row["section"] == "games"
    assert row["long"] == (
        "A tool4 that does one thing, and does that thing well in en.\n"
        "It has:\n* a list\n* of items,\none of them long\nWritten by nobody."
    )
    assert row["long_fr"].startswith("A tool4 that does one thing, and does that thing well in fr.")
    assert row["group"] == "tool1"


def test_siblings_are_in_one_split_and_options_choose(lists, tmp_path):
    rows = rows_of(lists, tmp_path)
    assert len(rows) == 60
    splits = defaultdict(set)
    for row in rows:
        splits[row["group"]].add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {split for found in splits.values() for split in found} >= {"train", "test"}
    assert len(rows_of(lists, tmp_path, packages=20)) == 20
    assert packages.build(tmp_path, folder=str(lists)) == packages.build(tmp_path, folder=str(lists))


def test_a_file_of_records_with_long_descriptions_is_enough(tmp_path):
    record = (
        "Package: {n}\nSection: admin\nDescription: short {n}\n long {n} long long long long long long long long\n\n"
    )
    (tmp_path / "available").write_text("".join(record.format(n=f"p{n}") for n in range(12)))
    data = pm.load(f"packages:folder={tmp_path / 'available'}", cache=tmp_path / "cache")
    assert {row["short"] for row in data.rows} == {f"short p{n}" for n in range(12)}
    assert list(data.fields) == ["short", "long", "section"]


def test_what_is_wrong_is_said(lists, tmp_path):
    for options, words in [
        ({"folder": str(tmp_path / "nowhere")}, "holds no lists of apt"),
        ({"folder": str(lists), "most_bytes": 3}, "most_bytes=3; at least 40"),
        ({"folder": str(lists), "languages": ["de"]}, r"no long descriptions in \['de'\].*Acquire::Languages"),
        ({"folder": str(lists), "languages": ["../x"]}, "languages="),
        ({"folder": str(lists), "packages": 61}, "packages=61; from 10 to 60"),
    ]:
        with pytest.raises(DataError, match=f"data set packages: .*{words}"):
            packages.build(tmp_path, **options)
    (tmp_path / "bad_Packages.lz4").write_bytes(b"not packed")
    with pytest.raises(DataError, match=r"bad_Packages\.lz4: cannot be read"):
        packages.build(tmp_path, folder=str(tmp_path / "bad_Packages.lz4"))


def test_lists_of_regional_languages_are_found_as_apt_names_them(tmp_path):
    for name in ("x_i18n_Translation-pt%5fBR.lz4", "x_i18n_Translation-zh_CN", "x_InRelease"):
        (tmp_path / name).touch()
    assert [path.name for path in find(tmp_path)] == ["x_i18n_Translation-pt%5fBR.lz4", "x_i18n_Translation-zh_CN"]
