"""The Fréchet ChemNet distance of sets of molecules."""

import io
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import torch
from torch import Tensor, nn

from polymodal.errors import DataError
from polymodal.evaluation.metrics.distributions import frechet_distance
from polymodal.modalities.chemistry import canonical_or_none

_ROWS = 128


def chemnet_distance(real: Sequence[str], made: Sequence[str]) -> float:
    """The Fréchet distance of two sets of SMILES in the last features of ChemNet; what is invalid is left out.

    The weights are those that the package ``fcd`` ships. It falls with the number of samples: compare equal numbers.

    Source: Preuer et al., "Fréchet ChemNet distance: a metric for generative models for molecules in drug discovery",
    2018.

    Raises:
        DataError: The package is missing, or a set has fewer than two molecules.
    """
    return frechet_distance(_features(real), _features(made))


@cache
def _network() -> nn.Module:
    try:
        from fcd.utils import load_imported_model
    except ImportError as error:
        raise DataError(f"the Fréchet ChemNet distance needs the package {error.name}: pip install fcd") from error
    weights = files("fcd").joinpath("ChemNet_v0.13_pretrained.pt").read_bytes()
    return load_imported_model(torch.load(io.BytesIO(weights), weights_only=True)).eval()


@torch.inference_mode()
def _features(molecules: Sequence[str]) -> Tensor:
    network = _network()
    from fcd.utils import SmilesDataset

    valid = [text for one in molecules if (text := canonical_or_none(one)) is not None]
    if not valid:
        return torch.zeros(0, 512)
    coded = SmilesDataset(valid)
    batches = torch.arange(len(valid)).split(_ROWS)
    pieces = [torch.stack([torch.tensor(coded[int(place)]) for place in batch]) for batch in batches]
    return torch.cat([network(piece.mT.float()) for piece in pieces])
