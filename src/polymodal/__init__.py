"""Generate any modality from any others, on your own aligned data."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from polymodal.errors import CheckpointError, ConfigError, DataError, PolymodalError

if TYPE_CHECKING:
    from polymodal.data import Data, load
    from polymodal.modalities import Audio, Image, Label, Text, Vector
    from polymodal.model import Model
    from polymodal.training import fit

__version__ = "0.1.0"

# Imported when first used, so that `import polymodal` and `polymodal --help` are quick.
_HOMES = {
    "Audio": "polymodal.modalities",
    "Data": "polymodal.data",
    "Image": "polymodal.modalities",
    "Label": "polymodal.modalities",
    "Model": "polymodal.model",
    "Text": "polymodal.modalities",
    "Vector": "polymodal.modalities",
    "fit": "polymodal.training",
    "load": "polymodal.data",
}

__all__ = [
    "Audio",
    "CheckpointError",
    "ConfigError",
    "Data",
    "DataError",
    "Image",
    "Label",
    "Model",
    "PolymodalError",
    "Text",
    "Vector",
    "fit",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'polymodal' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
