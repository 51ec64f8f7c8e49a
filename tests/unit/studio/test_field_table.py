"""Fields as a table that is corrected by hand."""

import pytest

from polymodal.data import describe_fields
from polymodal.errors import ConfigError
from polymodal.modalities import Audio, Image, Label, Text, Vector
from polymodal.studio.field_table import from_lines, to_lines


def test_fields_survive_the_table():
    fields = {
        "picture": {"modality": Image(size=16), "column": "photo"},
        "name": Text(max_length=16),
        "tone": Audio(sample_rate_hz=4000),
        "colour": Label(names=["red, dark", "it's: blue", "绿"]),
        "place": Vector(size=2),
    }
    assert describe_fields(from_lines(to_lines(fields))) == describe_fields(fields)


def test_corrections_are_taken():
    lines = [[True, "name", "text", "title", "max_length: 9"], [False, "x", "nothing", "x", "{"], ["", "", "", "", ""]]
    assert from_lines(lines) == {"name": {"modality": "text", "column": "title", "max_length": 9}}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ([True, "name", "txt", "", ""], ["name", "txt"]),
        ([True, "name", "text", "", "max_length: [1"], ["name", "max_length"]),
        ([True, "name", "text", "", "longest: 3"], ["name", "longest"]),
        ([True, "a.b", "text", "", ""], ["a.b"]),
    ],
)
def test_mistakes_name_the_field(line, words):
    with pytest.raises(ConfigError) as raised:
        from_lines([line])
    assert all(word in str(raised.value) for word in words)


def test_two_of_one_name_and_none_at_all():
    line = [True, "name", "label", "", ""]
    with pytest.raises(ConfigError, match="two are called 'name'"):
        from_lines([line, line])
    with pytest.raises(ConfigError, match="none given"):
        from_lines([])
