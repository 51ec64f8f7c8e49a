"""What ``generate`` gives: a dictionary of lists, which a notebook shows as pictures, sounds and texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice, zip_longest
from typing import Any

from markupsafe import Markup

from polymodal.modalities import Modality
from polymodal.modalities.html import table_html

MOST_SHOWN = 24
"""Samples that a notebook shows."""


class SampleList(list[Any]):
    """Objects of one field.

    Args:
        things: The objects.
        name: Name of the field.
        modality: Its modality.
    """

    def __init__(self, things: Iterable[Any], name: str, modality: Modality):
        super().__init__(things)
        self.name, self.modality = name, modality

    def previews(self) -> list[Markup]:
        """The first objects as HTML."""
        return [self.modality.preview(thing) for thing in islice(self, MOST_SHOWN)]

    def _repr_html_(self) -> str:
        return table_html([self.name], ([preview] for preview in self.previews()), len(self) - MOST_SHOWN)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


class Samples(dict[str, SampleList]):
    """Lists of objects by field: sample k is the k-th of each list.

    Args:
        made: By field, one object for each sample.
        modalities: By field.
    """

    def __init__(self, made: Mapping[str, Iterable[Any]], modalities: Mapping[str, Modality]):
        super().__init__({name: SampleList(things, name, modalities[name]) for name, things in made.items()})

    def _repr_html_(self) -> str:
        count = max(map(len, self.values()), default=0)
        return table_html(list(self), zip_longest(*(own.previews() for own in self.values())), count - MOST_SHOWN)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, ({name: list(own) for name, own in self.items()},)
