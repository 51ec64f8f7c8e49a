"""What every modality is: raw objects <-> tensors."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from inspect import signature
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor

from polymodal.types import Space


class Modality(ABC):
    """What a field is made of.

    A value has three forms: *raw* (a path, bytes, or an object such as a PIL image), *stored* (a compact array, as
    the cache keeps it: bytes of pixels, ids of text) and *model* (a tensor in ``space``). Constructors take plain
    keyword arguments, all of them configuration, and keep each as an attribute of the same name.

    Attributes:
        space: Of the model's form.
        dtype: Of the stored form. The axis that varies, if any, comes first in it: (length, *space.rest); otherwise
            its shape is ``space.shape``.
        suffixes: File endings that ``read`` understands, lower case with the dot.
        inline: A string in a table is the value itself; otherwise it is the path of a file.
        prepares_on: The rows that ``prepare`` sees. Only what is no statistic, such as class names, may see ``all``.
    """

    space: Space
    dtype: ClassVar[Any]
    suffixes: ClassVar[tuple[str, ...]] = ()
    inline: ClassVar[bool] = False
    prepares_on: ClassVar[Literal["train", "all"]] = "train"

    @abstractmethod
    def read(self, raw: Any) -> np.ndarray:
        """Raw -> stored.

        Args:
            raw: A ``pathlib.Path`` to a file, ``bytes`` of a file, or an in-memory object of this modality.

        Raises:
            DataError: The value cannot be decoded or is not of this modality; says why in a few words.
        """

    @abstractmethod
    def to_model(self, stored: Tensor) -> Tensor:
        """Stored batch, (B, L, *rest) where an axis varies, -> values in ``space`` (B, *shape), on the same device."""

    @abstractmethod
    def write(self, value: Tensor) -> Any:
        """One value in ``space``, trimmed to its real length -> the object that a user expects, with ``save(path)``."""

    def prepare(self, raws: Iterable[Any]) -> None:
        """Learn from the rows what ``read`` needs (a vocabulary, class names), into arguments left unset."""

    def state(self) -> dict[str, Any]:
        """The arguments, as JSON, that build this modality again, what ``prepare`` learned included."""
        return {name: getattr(self, name) for name in signature(type(self).__init__).parameters if name != "self"}
