"""Delimited text and JSON as programs and people write them."""

import csv
import gzip
import io
import json

import pytest

import polymodal as pm
from polymodal import DataError
from polymodal.data import open_source
from polymodal.data.sources.delimited import DelimitedFile

from .conftest import put

TEXT = {"text": pm.Text(max_length=100)}
PAIR = {**TEXT, "kind": pm.Label()}


def rows(count=6):
    return [{"text": f"a row, number {i}", "kind": "ab"[i % 2]} for i in range(count)]


def written(separator=",", **options):
    file = io.StringIO()
    writer = csv.DictWriter(file, ["text", "kind"], delimiter=separator, **options)
    writer.writeheader()
    writer.writerows(rows())
    return file.getvalue()


def read(load, path, content, fields=PAIR, **options):
    return load(put(path, content), fields, **options)


def found(data):
    return [{"text": row["text"], "kind": row["kind"]} for row in data.train]


class TestSeparators:
    @pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
    def test_recognised_and_reported(self, load, folder, separator, word):
        data = read(load, folder / "rows.csv", written(separator))
        assert found(data) == rows()
        assert any("rows.csv" in note and word in note for note in data.notes)

    def test_what_the_ending_says_is_not_reported(self, load, folder):
        assert read(load, folder / "rows.csv", written()).notes == []
        assert read(load, folder / "rows.tsv", written("\t")).notes == []

    def test_commas_in_a_header_of_tabs(self, load, folder):
        data = read(load, folder / "rows.tsv", "text\tkind\nwell, yes, no\ta\n1,2\tb\n")
        assert found(data) == [{"text": "well, yes, no", "kind": "a"}, {"text": "1,2", "kind": "b"}]

    def test_one_column(self, load, folder):
        assert read(load, folder / "rows.csv", 'text\n"a; b"\nc|d\n', TEXT).train.column("text") == ["a; b", "c|d"]

    def test_a_first_line_that_says_it(self, load, folder):
        data = read(load, folder / "rows.csv", "sep=;\r\n" + written(";"))
        assert found(data) == rows()

    def test_a_blank_behind_each(self, load, folder):
        data = read(load, folder / "rows.csv", 'text, kind\nsome, a\n"some, more", b\nx, "c"\n')
        assert found(data) == [
            {"text": "some", "kind": "a"},
            {"text": "some, more", "kind": "b"},
            {"text": "x", "kind": "c"},
        ]


class TestEncodings:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
    def test_recognised(self, load, folder, encoding):
        data = read(load, folder / "rows.csv", "text,kind\nnaïve – 5 €,ä\r\n日本語,ö\r\n".encode(encoding))
        assert found(data) == [{"text": "naïve – 5 €", "kind": "ä"}, {"text": "日本語", "kind": "ö"}]

    @pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "utf-16-le", "shift-jis"])
    def test_others_are_refused_and_can_be_named(self, load, folder, encoding):
        letters = "ソ表" if encoding == "shift-jis" else "café"
        content = f"text,kind\nplain,a\n{letters},b\n".encode(encoding)
        with pytest.raises(DataError) as error:
            read(load, folder / "rows.csv", content)
        for part in ("rows.csv", "UTF-8", "encoding="):
            assert part in str(error.value)
        if encoding == "cp1252":
            assert "line 3: byte 0xe9" in str(error.value)
        data = read(load, folder / "rows.csv", content, encoding=encoding)
        assert data.train.column("text") == ["plain", letters]
        assert data.settings["encoding"] == encoding

    def test_one_bad_byte_far_down_costs_a_row(self, load, folder):
        lines = [b"text,kind\n"] + [b"a row of some length %d,a\n" % i for i in range(5000)]
        lines[4001] = b"caf\xe9,a\n"
        data = read(load, folder / "rows.csv", b"".join(lines))
        assert len(data.train) == 4999
        assert [(one.row, "0xe9" in one.reason, "UTF-8" in one.reason) for one in data.rejected] == [(4001, True, True)]

    def test_unknown_to_python(self, load, folder):
        for name in ("klingon", "base64"):
            with pytest.raises(DataError, match=f"encoding: '{name}'"):
                read(load, folder / "rows.csv", "text,kind\na,b\n", encoding=name)


class TestRows:
    def test_long_cells(self, load, folder):
        long = "x" * 300_000
        data = read(load, folder / "rows.csv", f'text,kind,note\na,b,{long}\nc,d,"{long}"\n')
        assert data.train.column("note") == [long, long]

    @pytest.mark.parametrize("above", ["# made by hand\n# in 2024\n", "The list of kinds\n", "text\n"])
    def test_a_first_line_that_is_no_header(self, load, folder, above):
        with pytest.raises(DataError, match=r"the first line has 1 cell, and most of the others 2; delete what stands"):
            read(load, folder / "rows.csv", above + written())

    def test_columns_without_a_name(self, load, folder):
        data = read(load, folder / "rows.csv", "text,kind,,\na,b,,\nc,d,,\ne,f\ng,h,,,,,\n")
        assert data.train.column("text") == ["a", "c", "g"]
        assert [one.reason for one in data.rejected] == ["2 cells under a header of 4"]
        assert data.notes == []
        data = read(load, folder / "index.csv", ",text,kind\n0,a,b\n1,c,d\n")
        assert found(data) == [{"text": "a", "kind": "b"}, {"text": "c", "kind": "d"}]
        assert data.notes == ["index.csv: column 1 has no name and is left out"]

    def test_a_name_twice(self, load, folder):
        with pytest.raises(DataError, match=r"rows\.csv: .*'text' twice"):
            read(load, folder / "rows.csv", "text,text\na,b\n")

    @pytest.mark.parametrize(
        "bad",
        ['"open,a', '"closed" early,a', '"open, and closed in the next', '"a""b,a', '"'],
    )
    def test_a_stray_quote_costs_its_row(self, load, folder, bad):
        good = 'text,kind\nfirst,a\n"second, with\nlines",b\n'
        more = 'a 5" pipe,c\n"quoted, well",d\n"and ""again""",e\n'
        data = read(load, folder / "rows.csv", good + bad + "\n" + more)
        assert data.train.column("text") == [
            "first",
            "second, with\nlines",
            'a 5" pipe',
            "quoted, well",
            'and "again"',
        ]
        assert [one.row for one in data.rejected] == [3]
        assert "quote" in data.rejected[0].reason

    def test_quotes_between_tabs_are_letters(self, load, folder):
        data = read(load, folder / "rows.tsv", 'text\tkind\n"Hello" he said\ta\n"open\tb\n"a\tb"\tc\nplain\td\n')
        assert data.train.column("text") == ['"Hello" he said', '"open', "a\tb", "plain"]

    def test_line_ends_and_empty_lines(self, load, folder):
        for end in ("\n", "\r\n", "\r"):
            data = read(load, folder / "rows.csv", end + f"text,kind{end}{end}a,b{end}c,d")
            assert found(data) == [{"text": "a", "kind": "b"}, {"text": "c", "kind": "d"}]

    def test_no_rows(self, load, folder):
        for content in ("", "text,kind\n"):
            with pytest.raises(DataError, match=r"rows\.csv: .*(no rows|unknown)"):
                read(load, folder / "rows.csv", content)


class TestPacked:
    @pytest.mark.parametrize("name", ["rows.csv.gz", "rows.jsonl.gz", "rows.json.gz"])
    def test_by_gzip(self, load, folder, name):
        lines = "".join(json.dumps(row) + "\n" for row in rows())
        content = {"csv": written(), "jsonl": lines, "json": json.dumps(rows())}[name.split(".")[1]]
        assert found(read(load, folder / name, gzip.compress(content.encode()))) == rows()
        assert found(load(folder, PAIR)) == rows()

    def test_cut_short(self, load, folder):
        path = put(folder / "rows.csv.gz", gzip.compress(written().encode())[:-20])
        with pytest.raises(DataError, match=r"rows\.csv\.gz: cannot be read"):
            load(path, PAIR)

    def test_bombs(self, folder):
        for filler, message in ((b"\n", "rows in"), (b"x", "unfold to over 100 times")):
            packed = gzip.compress(filler * (1 << 20) + b"\n")
            put(folder / "rows.csv.gz", gzip.compress(b"text,kind\n") + 300 * packed)
            with pytest.raises(DataError, match=rf"rows\.csv\.gz: .* {message}"):
                list(open_source(folder / "rows.csv.gz", folder).records(["text"]))

    def test_a_line_without_end(self, load, folder):
        put(folder / "rows.jsonl", b'{"text": "' + b"a" * (1 << 25 | 1) + b'"}\n{"text": "b"}\n')
        data = load(folder / "rows.jsonl", TEXT)
        assert data.train.column("text") == ["b"]
        assert [(one.row, "longer than" in one.reason) for one in data.rejected] == [(1, True)]
        put(folder / "rows.csv", b"text\n" + b"a" * (1 << 25 | 1))
        with pytest.raises(DataError, match=r"rows\.csv: .*longer than"):
            load(folder / "rows.csv", TEXT)


class TestJson:
    @pytest.mark.parametrize("indent", [None, 2])
    @pytest.mark.parametrize(
        "wrap",
        [
            lambda rows: rows,
            lambda rows: {"data": rows},
            lambda rows: {"version": "1", "n": 5, "data": rows, "more": [1]},
        ],
    )
    def test_lists(self, load, folder, wrap, indent):
        many = [{"text": f'row {i} {{"}}]', "kind": "ab"[i % 2], "other": [1, {"a": None}]} for i in range(3000)]
        data = read(load, folder / "rows.json", json.dumps(wrap(many), indent=indent))
        assert data.train.column("text") == [row["text"] for row in many]

    def test_lines_under_another_ending(self, load, folder):
        lines = "".join(json.dumps(row) + "\n" for row in rows())
        for name in ("rows.json", "rows.ndjson", "rows.JSONL"):
            assert found(read(load, folder / name, lines)) == rows()

    @pytest.mark.parametrize("indent", [None, 2])
    def test_columns(self, load, folder, indent):
        columns = {"text": [row["text"] for row in rows()], "kind": [row["kind"] for row in rows()]}
        numbered = {name: {str(place): cell for place, cell in enumerate(column)} for name, column in columns.items()}
        for document in (columns, numbered):
            assert found(read(load, folder / "rows.json", json.dumps(document, indent=indent))) == rows()

    @pytest.mark.parametrize("document", [{"text": [{"a": 1}, {"a": 2}]}, {"text": ["a", "b"], "kind": ["x"]}])
    def test_lists_that_are_no_columns(self, load, folder, document):
        with pytest.raises(DataError):
            read(load, folder / "rows.json", json.dumps(document, indent=2))

    @pytest.mark.parametrize("content", [json.dumps(rows(), indent=1), json.dumps(rows())])
    def test_a_list_that_is_called_lines(self, load, folder, content):
        assert found(read(load, folder / "rows.jsonl", content)) == rows()

    def test_a_list_per_line_is_no_list_of_rows(self, load, folder):
        line = json.dumps([{"text": "a", "kind": "x"}, {"text": "b", "kind": "x"}]) + "\n"
        with pytest.raises(DataError, match="row 1: not a JSON object but list"):
            read(load, folder / "rows.jsonl", 3 * line)
        (rejected,) = read(load, folder / "rows.json", 3 * line).rejected
        assert "more text behind the list" in rejected.reason

    def test_a_key_twice_costs_the_row(self, load, folder):
        lines = [json.dumps(row) + "\n" for row in rows()]
        data = read(load, folder / "rows.jsonl", "".join([*lines[:3], '{"text": "a", "text": "b"}\n', *lines[3:]]))
        assert found(data) == rows()
        assert [(one.row, "the key 'text' is there twice" in one.reason) for one in data.rejected] == [(4, True)]

    def test_what_is_not_an_object(self, load, folder):
        data = read(load, folder / "rows.json", '[{"text": "a", "kind": "x"}, 5, {"text": "b", "kind": "x"}]')
        assert data.train.column("text") == ["a", "b"]
        assert [(one.row, one.reason) for one in data.rejected] == [(2, "not a JSON object but int")]

    def test_broken_further_on(self, load, folder):
        data = read(load, folder / "rows.json", '[{"text": "a", "kind": "x"}, {"text": "b", ]')
        assert data.train.column("text") == ["a"]
        assert str(data.rejected[0]).startswith("rows.json, row 2: not JSON from here on: ")

    @pytest.mark.parametrize("content", ['{"a": 1', '{"images": [],\n "annotations": []}', "[1, 2]", "5", '"text"'])
    def test_no_rows(self, load, folder, content):
        with pytest.raises(DataError, match=r"rows\.json: .*list of objects"):
            read(load, folder / "rows.json", content)

    def test_nested_without_end(self, load, folder):
        for content in (b'[{"text": ' + b"[" * 200_000, b'[{"text": "a", "kind": "x"}, {"b": ' + b"[" * 100_000 + b"]"):
            put(folder / "rows.json", content)
            with pytest.raises(DataError):
                load(folder / "rows.json", PAIR, strict=True)


class TestRawBytes:
    """What a table that is written again keeps."""

    CONTENTS = (
        written(),
        written(";", quoting=csv.QUOTE_ALL),
        '\ufefftext,kind\r\n\r\n"a\nb",c\r\nbad,row,here\r\n"x","y"',
        'sep=|\ntext|kind\n"a|b"|c\n',
        'text, kind\n"a, b", c\n x, d\n',
    )

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
    @pytest.mark.parametrize("content", CONTENTS)
    def test_head_and_rows_are_the_file(self, folder, content, encoding):
        mark = b"" if encoding == "utf-8" else b"\xff\xfe"
        raw = mark + content.encode(encoding)
        table = DelimitedFile(put(folder / "rows.csv", raw))
        assert table.head + b"".join(row.raw for row in table.rows()) == raw

    @pytest.mark.parametrize("content", CONTENTS)
    def test_a_changed_cell_changes_its_own_bytes(self, folder, content):
        table = DelimitedFile(put(folder / "rows.csv", content))
        assert list(table.columns) == ["text", "kind"]
        head = table.head.decode().rstrip("\r\n") + table.separator + " " * content.startswith("text, ") + "more\n"
        for row in filter(lambda row: row.cells, table.rows()):
            assert table.changed(row, {}) == row.raw
            changed = table.changed(row, {1: 'new, "one"'}, ["added; yes|"])
            assert changed.startswith(row.raw[: row.raw.rindex(table.separator.encode())])
            (again,) = DelimitedFile(put(folder / "again.csv", head + changed.decode())).rows()
            assert again.cells == [row.cells[0], 'new, "one"', "added; yes|"]

    def test_a_letter_that_the_encoding_lacks(self, folder):
        table = DelimitedFile(put(folder / "rows.csv", "text,kind\ncafé,a\n".encode("cp1252")), "cp1252")
        (row,) = table.rows()
        with pytest.raises(DataError, match="'日' is no letter of cp1252"):
            table.changed(row, {0: "日本"})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("rows.csv", b"PK\x03\x04\x14\0\0\0\x08\0", "is a ZIP archive or a spreadsheet, and no text"),
        ("rows.jsonl", b"PAR1\x15\x04\x15", "is Parquet, and no text"),
        ("rows.tsv", b"SQLite format 3\0\x10", "is a data base of SQLite"),
        ("rows.zip", b"PK\x03\x04", "unpack it, and give what is in it"),
        ("rows.xlsx", b"PK\x03\x04", "pandas.read_excel"),
        ("rows.txt", b"text\na\n", r"name it \.csv or \.tsv"),
    ],
)
def test_what_is_no_text_says_what_it_is(load, folder, name, content, message):
    with pytest.raises(DataError, match=message):
        read(load, folder / name, content)


def test_names_that_begin_as_other_files_do(load, folder):
    assert len(read(load, folder / "rows.csv", "PAR1,text\nx,a row\ny,another\n", TEXT).train) == 2


def test_addresses_are_no_paths(load):
    with pytest.raises(DataError, match="addresses are not fetched; download it"):
        load("https://example.com/rows.csv", TEXT)


def test_several_tables_by_braces(load, folder):
    for name in "ab":
        put(folder / name / "rows.csv", f"text\nof {name}\n")
    assert load(str(folder / "{a,b}" / "rows.csv"), TEXT).train.column("text") == ["of a", "of b"]
    with pytest.raises(DataError, match="no such file"):
        open_source(str(folder / "{a,c}" / "rows.csv"), folder)
