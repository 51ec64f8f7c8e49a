"""MultiVae's joint latent models on `fashion`, for the benchmarks that compare with them.

    pip install --no-deps --target runs/multivae multivae pythae

Packages that MultiVae imports for plots and data sets are stubbed where they are missing. Encoders and decoders are its
default perceptrons (two hidden layers, one hidden layer) of any width; captions are letters in one-hot form, whose
decoder ends without the sigmoid that would keep a letter's odds within a factor of e. What is absent is masked as in
its ``IncompleteDataset``. A step is its trainer's: zero_grad, forward, backward, Adam; rows are batched from memory,
which is faster than its loader.
"""

import importlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fashion_scores import DIRECTIONS, Fashion, everything, first, mean, run_folder
from polymodal.data import Data, Rows
from polymodal.types import Batch, Field

LATENT = 20
BATCH_SIZE = 64
"""By default that of MultiVae's trainer."""
LEARNING_RATES = (1e-4, 1e-3)
"""MultiVae's default, and ten times that."""
SPEECH_RANGE = (-4.0, 4.0)
"""Of standardised log-mels, brought to [0, 1] for a decoder that ends in a sigmoid."""


class Stubs(MetaPathFinder, Loader):
    """Modules of which nothing is used here, for packages that are not installed."""

    PACKAGES = ("torchvision", "matplotlib", "nltk", "torchmetrics", "imageio", "cloudpickle")

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self, is_package=True) if fullname.split(".")[0] in self.PACKAGES else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Stub(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is in it."""


class Stub(ModuleType):
    """Any name of it is an empty class."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def install(folder: Path) -> None:
    """Makes the packages in ``folder`` importable."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
        sys.meta_path.append(Stubs())  # the last to be asked


class Letters:
    """Captions (B, 40) of ids <-> one-hot letters, the first of which stands for the end.

    Args:
        rows: Whose captions tell which ids there are.
    """

    def __init__(self, rows: Rows):
        column = rows.columns["caption"]
        self.ids = torch.from_numpy(np.unique(column.values).astype(np.int64))
        self.places = rows.fields["caption"].space.max_length
        self.shape = (self.places, len(self.ids) + 1)

    def encode(self, field: Field) -> Tensor:
        letters = (torch.searchsorted(self.ids, field.value.long()) + 1) * field.mask
        letters = nn.functional.pad(letters, (0, self.places - letters.shape[1]))
        return nn.functional.one_hot(letters, self.shape[1]).float()

    def decode(self, made: Tensor) -> Field:
        letters = made.argmax(-1)
        mask = (letters > 0).cumprod(1).bool()
        return Field(self.ids[(letters - 1).clamp(min=0)] * mask, mask, mask.any(1), 0)


class Peer:
    """A model of MultiVae: a ``Maker``.

    Args:
        method: ``MoPoE`` or ``MVTCAE``.
        data: Rows; the training rows tell which letters there are.
        parameters: That it is to have at least.
        seed: Of weights, noise and order.
    """

    def __init__(self, method: str, data: Data, parameters: int, seed: int):
        self.method, self.seed, self.letters = method, seed, Letters(data.train)
        self.spaces = {name: modality.space.shape for name, modality in data.fields.items()}
        shapes = self.spaces | {"caption": self.letters.shape}
        models = importlib.import_module("multivae.models")
        config = getattr(models, f"{method}Config")(
            n_modalities=len(shapes),
            latent_dim=LATENT,
            input_dims=shapes,
            decoders_dist={name: "categorical" if name == "caption" else "normal" for name in shapes},
        )

        def build(width: int) -> Any:
            encoders, decoders = networks(shapes, width)
            return getattr(models, method)(config, encoders, decoders)

        with torch.device("meta"):
            self.width = next(w for w in count(64, 16) if size(build(w)) >= parameters)
        torch.manual_seed(seed)
        self.model = build(self.width)
        self.parameters = size(self.model)

    def train(self, rows: Rows, runs: Path, missing: float, *, minutes: float, learning_rate: float) -> None:
        """Learns from rows of which a share of the cells is ``missing``, unless its folder in ``runs`` is there."""
        name = f"{self.method.lower()}-{learning_rate:g}-width-{self.width}"
        folder = run_folder(runs, name, missing, self.seed)
        settings = {"minutes": minutes, "learning_rate": learning_rate, "seed": self.seed, "width": self.width,
                    "data": rows.fingerprint}  # fmt: skip
        notes = folder / "settings.json"
        if notes.exists() and settings.items() <= json.loads(notes.read_text()).items():
            self.model.load_state_dict(load_file(folder / "model.safetensors"))
            return
        dataset = importlib.import_module("pythae.data.datasets").DatasetOutput
        complete = all(present.all() for present in rows.present.values())
        optimizer = torch.optim.Adam(self.model.parameters(), lr=learning_rate)
        torch.manual_seed(self.seed)
        order, steps, begin = torch.randperm(len(rows)), 0, time.process_time()
        self.model.train()
        while time.process_time() - begin < 60 * minutes:
            if len(order) < BATCH_SIZE:
                order = torch.randperm(len(rows))
            index, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
            batch = rows.decode(rows.batch(index))
            masks = {} if complete else {"masks": {name: field.present for name, field in batch.items()}}
            loss = self.model(dataset(data=self._encoded(batch), **masks)).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.model.state_dict(), folder / "model.safetensors")
        notes.write_text(json.dumps(settings | {"steps": steps, "parameters": self.parameters}, indent=2) + "\n")

    def _encoded(self, batch: Batch) -> dict[str, Tensor]:
        """Values in [0, 1], of one length."""
        low, high = SPEECH_RANGE
        encoded = {}
        for name, field in batch.items():
            if name == "caption":
                encoded[name] = self.letters.encode(field)
            elif name == "speech":  # what is not there is silent
                value = ((field.value - low) / (high - low)).clamp(0, 1) * field.mask[:, None]
                encoded[name] = nn.functional.pad(value, (0, self.spaces[name][-1] - value.shape[-1]))
            else:
                encoded[name] = (field.value + 1) / 2
        return encoded

    def _decoded(self, name: str, made: Tensor) -> Field:
        everywhere = torch.ones(len(made), 1, dtype=torch.bool)
        if name == "caption":
            return self.letters.decode(made)
        if name == "speech":
            low, high = SPEECH_RANGE
            return Field(made * (high - low) + low, everywhere.expand(-1, made.shape[-1]), everywhere[:, 0], 1)
        return Field(made * 2 - 1, everywhere, everywhere[:, 0])

    @torch.no_grad()
    def __call__(self, given: Batch, to: Sequence[str], rows: int) -> Batch:
        torch.manual_seed(self.seed)
        self.model.eval()
        if not given:
            return self._made(self.model.generate_from_prior(rows), to)
        dataset = importlib.import_module("multivae.data.datasets.base").MultimodalBaseDataset
        shapes = self.spaces | {"caption": self.letters.shape}
        # MoPoE encodes all fields, and then uses those that it is told to.
        blank = {name: torch.zeros(rows, *shape) for name, shape in shapes.items()}
        return self._made(self.model.encode(dataset(blank | self._encoded(given)), list(given)), to)

    def from_mixture(self, rows: Rows, count: int) -> Batch:
        """All fields from MultiVae's own Gaussian mixture, fitted to the latents of complete rows."""
        samplers = importlib.import_module("multivae.samplers")
        dataset = importlib.import_module("multivae.data.datasets.base").MultimodalBaseDataset
        torch.manual_seed(self.seed)
        np.random.seed(self.seed)  # of scikit-learn's mixture
        self.model.eval()
        sampler = samplers.GaussianMixtureSampler(self.model)
        sampler.fit(dataset(self._encoded(everything(rows))))
        return self._made(sampler.sample(count), list(self.spaces))

    @torch.no_grad()
    def _made(self, latent: Any, to: Sequence[str]) -> Batch:
        made = self.model.decode(latent, list(to))
        return {name: self._decoded(name, made[name]) for name in to}


def best_rate(method: str, fashion: Fashion, parameters: int, runs: Path, *, minutes: float, seed: int) -> float:
    """The learning rate that gives the greater coherence on complete validation rows; each run is in ``runs``."""
    rows, found = first(fashion.data.validation, 500), {}
    quick = [direction for direction in DIRECTIONS if not direction.endswith("speech")]
    for rate in LEARNING_RATES:
        peer = Peer(method, fashion.data, parameters, seed)
        peer.train(fashion.data.train, runs, 0, minutes=minutes, learning_rate=rate)
        found[rate] = mean(fashion.coherence(peer, rows, quick))
    return max(found, key=lambda rate: found[rate])


def networks(shapes: Mapping[str, tuple[int, ...]], width: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Encoders and decoders by name."""
    base = importlib.import_module("pythae.models.nn.base_architectures")
    output = importlib.import_module("pythae.models.base.base_utils").ModelOutput

    class Encoder(base.BaseEncoder):  # type: ignore[misc, name-defined]
        def __init__(self, shape: tuple[int, ...]):
            super().__init__()
            self.latent_dim = LATENT
            self.network = nn.Sequential(
                nn.Flatten(), nn.Linear(torch.Size(shape).numel(), width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
            )
            self.embedding, self.log_covariance = nn.Linear(width, LATENT), nn.Linear(width, LATENT)

        def forward(self, x: Tensor) -> Any:
            features = self.network(x)
            return output(embedding=self.embedding(features), log_covariance=self.log_covariance(features))

    class Decoder(base.BaseDecoder):  # type: ignore[misc, name-defined]
        def __init__(self, shape: tuple[int, ...], end: nn.Module):
            super().__init__()
            self.latent_dim, self.shape = LATENT, shape
            numbers = torch.Size(shape).numel()
            self.network = nn.Sequential(nn.Linear(LATENT, width), nn.ReLU(), nn.Linear(width, numbers), end)

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.network(z).reshape(*z.shape[:-1], *self.shape))

    ends = {name: nn.Identity() if name == "caption" else nn.Sigmoid() for name in shapes}
    return (
        {name: Encoder(shape) for name, shape in shapes.items()},
        {name: Decoder(shape, ends[name]) for name, shape in shapes.items()},
    )


def size(model: nn.Module) -> int:
    """Number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())
