"""What an error must say: the field, the value and the remedy, in whatever sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from polymodal.errors import PolymodalError


@contextmanager
def refused(*parts: str, by: type[PolymodalError] = PolymodalError) -> Iterator[None]:
    """What is done within raises an error of ours whose message holds all parts, the first at its beginning."""
    with pytest.raises(by) as error:
        yield
    check_message(str(error.value), *parts)


def check_message(message: str, *parts: str) -> None:
    """A message holds all parts, the first at its beginning."""
    assert message.startswith(parts[:1]), message
    for part in parts:
        assert part in message, message
