"""What a field is made of: raw objects <-> tensors."""

from inspect import signature
from typing import Any

from polymodal.errors import ConfigError, unknown
from polymodal.modalities.audio import Audio
from polymodal.modalities.base import ColumnSample, Modality
from polymodal.modalities.image import Image
from polymodal.modalities.label import Label
from polymodal.modalities.molecule import Molecule
from polymodal.modalities.points import Points
from polymodal.modalities.series import Series
from polymodal.modalities.text import Text
from polymodal.modalities.vector import Vector
from polymodal.modalities.video import Video

MODALITIES: dict[str, type[Modality]] = {
    "text": Text,
    "vector": Vector,
    "series": Series,
    "label": Label,
    "molecule": Molecule,
    "image": Image,
    "audio": Audio,
    "points": Points,
    "video": Video,
}
"""By name, the most general first: a column that several recognise is the last one's."""

__all__ = [
    "MODALITIES",
    "Audio",
    "ColumnSample",
    "Image",
    "Label",
    "Modality",
    "Molecule",
    "Points",
    "Series",
    "Text",
    "Vector",
    "Video",
    "build",
    "kind_of",
]


def build(kind: str, /, *, where: str = "field", **arguments: Any) -> Modality:
    """A modality by name.

    Args:
        kind: A name of ``MODALITIES``.
        where: The field in error messages, such as ``fields.picture``.
        arguments: Of its constructor.

    Raises:
        ConfigError: The kind or an argument is unknown, missing or out of range.
    """
    if kind not in MODALITIES:
        raise ConfigError(unknown(f"{where}.modality", str(kind), MODALITIES))
    modality = MODALITIES[kind]
    known = signature(modality).parameters
    for name, value in arguments.items():
        if name not in known:
            raise ConfigError(unknown(where, str(name), known))
        if isinstance(value, bool) and "bool" not in str(known[name].annotation):
            raise ConfigError(f"{where}.{name}: {value} is no {known[name].annotation}")
    try:
        signature(modality).bind(**arguments)
        return modality(**arguments)
    except ConfigError as error:
        raise ConfigError(f"{where}.{error}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise ConfigError(f"{where}: {error}") from error


def kind_of(modality: Modality) -> str:
    """Its name in ``MODALITIES``.

    Raises:
        ConfigError: It has none, as a class of somebody's own that is not registered.
    """
    for kind, known in MODALITIES.items():
        if type(modality) is known:
            return kind
    raise ConfigError(
        f"modality: {type(modality).__name__} is not registered; add it to polymodal.modalities.MODALITIES"
    )
