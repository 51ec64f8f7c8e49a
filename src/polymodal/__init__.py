"""Train one model on rows of aligned data, with any cells missing, and generate any field of a row from any others."""

import logging
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from polymodal.errors import CheckpointError, ConfigError, DataError, PolymodalError, TrainingError

if TYPE_CHECKING:
    from polymodal.api import Generator, from_pretrained
    from polymodal.api import open_run as open
    from polymodal.data import Data, infer_fields, load
    from polymodal.fitting import fit
    from polymodal.modalities import Audio, Image, Label, Molecule, Points, Series, Text, Vector, Video
    from polymodal.model import Model

__version__ = "0.1.0"

# GNU's OpenMP reads this once, when PyTorch is loaded: how often its threads look for one another before they sleep.
# Its default of milliseconds wastes the slices of time that another busy process leaves (docs/adr/0024).
if "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
logging.getLogger(__name__).addHandler(logging.NullHandler())  # whoever wants to see what is logged says so

# The module of each name, and its name there; imported when first used, so that `import polymodal` is quick.
_HOMES = {
    "Audio": ("polymodal.modalities", "Audio"),
    "Data": ("polymodal.data", "Data"),
    "Generator": ("polymodal.api", "Generator"),
    "Image": ("polymodal.modalities", "Image"),
    "Label": ("polymodal.modalities", "Label"),
    "Points": ("polymodal.modalities", "Points"),
    "Model": ("polymodal.model", "Model"),
    "Molecule": ("polymodal.modalities", "Molecule"),
    "Series": ("polymodal.modalities", "Series"),
    "Text": ("polymodal.modalities", "Text"),
    "Vector": ("polymodal.modalities", "Vector"),
    "Video": ("polymodal.modalities", "Video"),
    "fit": ("polymodal.fitting", "fit"),
    "from_pretrained": ("polymodal.api", "from_pretrained"),
    "infer_fields": ("polymodal.data", "infer_fields"),
    "load": ("polymodal.data", "load"),
    "open": ("polymodal.api", "open_run"),
}

__all__ = [
    "Audio",
    "CheckpointError",
    "ConfigError",
    "Data",
    "DataError",
    "Generator",
    "Image",
    "Label",
    "Model",
    "Molecule",
    "Points",
    "PolymodalError",
    "Series",
    "Text",
    "TrainingError",
    "Vector",
    "Video",
    "fit",
    "from_pretrained",
    "infer_fields",
    "load",
    "open",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'polymodal' has no attribute '{name}'")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
