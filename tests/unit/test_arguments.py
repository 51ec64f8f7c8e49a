"""Arguments checked against a signature, given by name or built in Python."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import Field, PositiveInt

from polymodal.arguments import Probability, Share, Sizes, check_arguments, check_constructor
from polymodal.errors import ConfigError
from refusals import refused


class Base:
    def __init_subclass__(cls) -> None:
        check_constructor(cls)


class Part(Base):
    """Has one of each."""

    def __init__(
        self, place: str, *, depth: PositiveInt, share: Share = 0.5, sizes: Sizes = (1,), odds: Probability = 1.0
    ):
        self.place, self.depth, self.share, self.sizes, self.odds = place, depth, share, sizes, odds


def test_values_become_what_the_annotations_say():
    part = Part("here", depth=2, share=0, sizes=[3, 4])
    assert (part.depth, part.share, part.sizes, part.odds) == (2, 0.0, (3, 4), 1.0)
    assert isinstance(part.share, float)
    assert Part(place="here", depth=1).place == "here"
    assert check_arguments(Part, {"depth": 3}) == {"depth": 3}  # defaults are the constructor's


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({}, ("depth", "required")),
        ({"depth": 0}, ("depth", "not 0", "greater than 0")),
        ({"depth": 1, "share": 1.0}, ("share", "not 1.0", "less than 1")),
        ({"depth": 1, "share": float("nan")}, ("share", "not nan", "finite")),
        ({"depth": 1, "odds": 1.5}, ("odds", "not 1.5", "less than or equal to 1")),
        ({"depth": 1, "sizes": ()}, ("sizes", "at least 1 item")),
        ({"depth": 1, "sizes": (2, -1)}, ("sizes.1", "not -1", "greater than 0")),
        ({"dept": 1}, ("", "depth", "Part", "'dept'")),
    ],
)
def test_python_and_recipes_get_the_same_answer(given, parts):
    with refused(*parts, by=ConfigError):
        Part("here", **given)
    with refused("there", *(part for part in parts if part != "Part"), by=ConfigError):
        check_arguments(Part, given, "there")


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        Part("here", depth=-1, share=2, odds=-1)
    assert len(str(error.value).splitlines()) == 3


def test_a_dataclass_of_options_is_a_schema_too():
    @dataclass(frozen=True)
    class Options:
        scale: Annotated[float, Field(gt=0)] = 1.0
        interval: tuple[float, float] = (0.0, 1.0)

    assert check_arguments(Options, {"interval": [0, 2]}) == {"interval": (0.0, 2.0)}
    with refused("options.scale", "not 0", "greater than 0", by=ConfigError):
        check_arguments(Options, {"scale": 0}, "options")


def test_a_part_without_arguments_of_its_own_takes_those_of_the_base():
    class Named:
        def __init_subclass__(cls) -> None:
            check_constructor(cls)

        def __init__(self, fields: Sequence[str]):
            self.fields = fields

    class Plain(Named):
        pass

    assert Plain(["a"]).fields == ["a"]
    with refused("Plain", "'rate'", by=ConfigError):
        Plain(["a"], rate=1)
