"""One training step of the joint latent models, beside MultiVae's: the same networks, batches and latents.

    pip install --no-deps --target runs/multivae multivae pythae
    python benchmarks/steps.py --multivae runs/multivae [--rounds 9]

Shapes are those of MNIST, SVHN and text (1 x 28 x 28, 3 x 32 x 32, 8 of 71 letters) with random contents. Each round
takes some steps of either library, in turn, on one thread, and counts the process's CPU time; the table shows medians.
Ours is the whole step of the training loop (drawing tasks, clipping the gradient, averaging the weights); ``bare`` does
without the last two, as MultiVae's trainer does (zero_grad, forward, backward, Adam).

MoPoE: both draw one subset a row; theirs adds the divergences of all. MMVAE+: theirs decodes every field from every
other field's latent. Ours draws one field a row, which is an unbiased estimate of the same; ``all`` takes each row
three times over, once for each field, which is the same sum. Networks: MultiVae's default perceptrons for all, or
convolutions for SVHN. Packages that MultiVae imports for plots and data sets are stubbed where they are missing.
"""

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from multivae_peer import install
from polymodal.config import load_recipe
from polymodal.encoders import ENCODERS
from polymodal.encoders.base import Encoder
from polymodal.heads import HEADS
from polymodal.heads.base import Head
from polymodal.modalities import Image, Vector
from polymodal.model import MicroBatch, Model
from polymodal.nn.random import make_keys
from polymodal.training import tasks
from polymodal.training.ema import Average
from polymodal.training.loop import make_optimizer
from polymodal.types import Context, Field, Losses, Space, Task, Tokens
from record import RESULTS, about, save

FEATURES, LATENT, PRIVATE, LETTERS, PLACES = 512, 20, 10, 71, 8
SHAPES = {"mnist": (1, 28, 28), "svhn": (3, 32, 32), "text": (PLACES * LETTERS,)}
NETWORKS = ("perceptrons", "convolutions")
METHODS = ("MoPoE", "MVTCAE", "MMVAE+")


class Reshape(nn.Module):
    """(B, ...) -> (B, *shape)."""

    def __init__(self, *shape: int):
        super().__init__()
        self.shape = shape

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), *self.shape)


def trunk(shape: tuple[int, ...], convolve: bool) -> nn.Sequential:
    """A value -> its features: MultiVae's own convolutions for SVHN, else the perceptron that is its default."""
    if convolve and shape[0] == 3:
        layers: list[nn.Module] = []
        for source, target in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(source, target, 4, 2, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, FEATURES), nn.ReLU())
    size = torch.Size(shape).numel()
    return nn.Sequential(nn.Flatten(), nn.Linear(size, FEATURES), nn.ReLU(), nn.Linear(FEATURES, FEATURES), nn.ReLU())


def branch(shape: tuple[int, ...], convolve: bool) -> nn.Sequential:
    """Features -> a value's mean, or its logits."""
    if convolve and shape[0] == 3:
        layers: list[nn.Module] = [nn.ReLU(), nn.Linear(FEATURES, 128 * 16), Reshape(128, 4, 4), nn.ReLU()]
        for source, target in ((128, 64), (64, 32)):
            layers += [nn.ConvTranspose2d(source, target, 4, 2, 1), nn.ReLU()]
        return nn.Sequential(*layers, nn.ConvTranspose2d(32, 3, 4, 2, 1))
    return nn.Sequential(nn.ReLU(), nn.Linear(FEATURES, torch.Size(shape).numel()), Reshape(*shape))


class Trunk(Encoder):
    """The network as an encoder of ours: convolutions are laid out channels last, as all of ours are."""

    def __init__(self, space: Space, width: int, *, convolve: bool = True):
        super().__init__()
        self.network = trunk(space.shape, convolve)
        self.layout = torch.channels_last if len(space.shape) == 3 else torch.contiguous_format
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None

    def forward(self, field: Field, keys: Tensor | None = None) -> Tokens:
        return Tokens(self.network(field.value.contiguous(memory_format=self.layout))[:, None], field.mask)


class Branch(Head):
    """The network as a head of ours."""

    def __init__(self, space: Space, width: int, *, convolve: bool = True):
        super().__init__()
        self.space, self.network = space, branch(space.shape, convolve)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def accepts(cls, space: Space) -> str | None:
        return None

    def loss(self, context: Context, target: Field, player: str, keys: Tensor) -> Losses:
        made = self.network(context.pooled)
        if self.space.grid:
            return {"nll": (0.5 * (made - target.value).square()).flatten(1).sum(1)}
        letters = made.view(-1, PLACES, LETTERS).log_softmax(-1)
        return {"nll": -(letters * target.value.view_as(letters)).sum((1, 2))}

    def sample(self, context: Context, keys: Tensor, *, unconditional: Context | None = None, **options: Any) -> Field:
        real = torch.ones(len(keys), 1, dtype=torch.bool)
        return Field(self.network(context.pooled), real, real[:, 0])


def ours(
    method: str, data: dict[str, Tensor], convolve: bool, *, every: bool = False, bare: bool = False
) -> Callable[[], None]:
    """A step of our loop."""
    ENCODERS["trunk"], HEADS["branch"] = Trunk, Branch
    modalities = {"mnist": Image(size=28, channels=1), "svhn": Image(size=32), "text": Vector(size=PLACES * LETTERS)}
    fusion: dict[str, Any] = {"kind": "poe", "latent": LATENT, "kl_weight": 1.0}
    odds = {"MoPoE": {"some": 1.0}, "MVTCAE": {"all": 1.0}, "MMVAE+": {"one": 1.0}}[method]
    fusion |= {"MVTCAE": {"conditional": 0.9}, "MMVAE+": {"private": PRIVATE}}.get(method, {})
    parts = {"encoder": {"kind": "trunk", "convolve": convolve}, "head": {"kind": "branch", "convolve": convolve}}
    kinds = {"mnist": "image", "svhn": "image", "text": "vector"}
    recipe = load_recipe(
        {
            "width": FEATURES,
            "fields": {name: {"modality": kind, **parts} for name, kind in kinds.items()},
            "fusion": fusion,
            "tasks": {"none": 0, "one": 0, "some": 0, "reconstruct": True} | odds,
        }
    )
    torch.manual_seed(0)
    model = Model(recipe, modalities).train()
    optimizer = make_optimizer(model, "model", 1e-3, recipe.train)
    average = Average(dict(model.named_parameters()))
    count, copies = len(next(iter(data.values()))), len(data) if every else 1
    index = torch.arange(count).repeat(copies)
    there = torch.ones(count * copies, dtype=torch.bool)
    fields = {name: Field(value, there[:count, None], there[:count]) for name, value in data.items()}
    open_to = dict.fromkeys(data, True)
    turn = 1000  # as in the midst of a training

    def step() -> None:
        nonlocal turn
        keys = make_keys(turn, len(index))
        batch = {name: field.pick(index) for name, field in fields.items()} if every else fields
        if every:
            given = {name: torch.arange(len(index)) // count == place for place, name in enumerate(data)}
            task = Task(given, dict.fromkeys(data, there))
        else:
            task = tasks.draw(dict.fromkeys(data, there), open_to, open_to, recipe.tasks, keys)
        loss, _ = model(MicroBatch(batch, task, keys, dict.fromkeys(data, len(index)), len(index)), "model")
        loss.backward()
        if not bare:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if not bare:
            average.update(turn)
        turn += 1

    return step


def theirs(method: str, data: dict[str, Tensor], convolve: bool) -> Callable[[], None]:
    """A step of MultiVae's trainer."""
    base = importlib.import_module("pythae.models.nn.base_architectures")
    output = importlib.import_module("pythae.models.base.base_utils").ModelOutput
    models = importlib.import_module("multivae.models")
    dataset = importlib.import_module("multivae.data.datasets.base").MultimodalBaseDataset
    private = PRIVATE if method == "MMVAE+" else 0
    encoder_base = base.BaseEncoder
    if private:
        encoder_base = importlib.import_module("multivae.models.nn.base_architectures").BaseMultilatentEncoder

    class TheirEncoder(encoder_base):  # type: ignore[misc, valid-type]
        def __init__(self, shape: tuple[int, ...]):
            super().__init__()
            self.latent_dim, self.style_dim = LATENT, private
            self.network = trunk(shape, convolve)
            sizes = {"embedding": LATENT, "log_covariance": LATENT}
            sizes |= {"style_embedding": private, "style_log_covariance": private} if private else {}
            self.ends = nn.ModuleDict({name: nn.Linear(FEATURES, size) for name, size in sizes.items()})

        def forward(self, x: Tensor) -> Any:
            features = self.network(x)
            return output(**{name: end(features) for name, end in self.ends.items()})

    class TheirDecoder(base.BaseDecoder):  # type: ignore[misc, name-defined]
        def __init__(self, shape: tuple[int, ...]):
            super().__init__()
            self.latent_dim = LATENT + private
            shape = shape if len(shape) > 1 else (PLACES, LETTERS)
            self.network = nn.Sequential(nn.Linear(LATENT + private, FEATURES), *branch(shape, convolve))

        def forward(self, z: Tensor) -> Any:
            return output(reconstruction=self.network(z))

    shapes = SHAPES | {"text": (PLACES, LETTERS)}
    likelihoods = {"mnist": "normal", "svhn": "normal", "text": "categorical"}
    settings: dict[str, Any] = {
        "n_modalities": 3, "latent_dim": LATENT, "input_dims": shapes, "decoders_dist": likelihoods
    }  # fmt: skip
    if method == "MMVAE+":
        settings |= {"K": 1, "modalities_specific_dim": PRIVATE, "prior_and_posterior_dist": "normal"}
    name = {"MMVAE+": "MMVAEPlus"}.get(method, method)
    torch.manual_seed(0)
    model = getattr(models, name)(
        getattr(models, f"{name}Config")(**settings),
        {key: TheirEncoder(shape) for key, shape in SHAPES.items()},
        {key: TheirDecoder(shape) for key, shape in SHAPES.items()},
    ).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    inputs = dataset(data | {"text": data["text"].view(-1, PLACES, LETTERS)})

    def step() -> None:
        loss = model(inputs).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--multivae", type=Path, required=True, help="folder that multivae and pythae are installed in")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--steps", type=int, default=6, help="of a round, of each library")
    parser.add_argument("--batch-size", type=int, default=64, help="by default that of MultiVae's trainer")
    parser.add_argument("--output", type=Path, default=RESULTS / "steps.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    install(arguments.multivae)
    random = torch.Generator().manual_seed(0)
    data = {name: torch.rand(arguments.batch_size, *shape, generator=random) for name, shape in SHAPES.items()}
    letters = torch.randint(LETTERS, (arguments.batch_size, PLACES), generator=random)
    data["text"] = torch.nn.functional.one_hot(letters, LETTERS).float().flatten(1)

    result: dict[str, Any] = {
        "batch_size": arguments.batch_size, "rounds": arguments.rounds, "steps": arguments.steps,
    }  # fmt: skip
    title = f"Samples a second of CPU time, medians of {arguments.rounds} rounds"
    table = Table("networks", "method", "MultiVae", "polymodal", "x", title=title)
    for networks, method in product(arguments.networks, arguments.methods):
        convolve = networks == "convolutions"
        contenders = {
            "multivae": theirs(method, data, convolve),
            "polymodal": ours(method, data, convolve),
            "polymodal, bare": ours(method, data, convolve, bare=True),
        }
        if method == "MMVAE+":
            contenders["polymodal, all, bare"] = ours(method, data, convolve, every=True, bare=True)
        seconds = race(contenders, arguments.rounds, arguments.steps)
        rates = {name: arguments.batch_size / statistics.median(own) for name, own in seconds.items()}
        result.setdefault(networks, {})[method] = {
            name: {"samples_per_second": rate, "times_multivae": rate / rates["multivae"]}
            for name, rate in rates.items()
        }
        for name in list(rates)[1:]:
            mine, other = rates[name], rates["multivae"]
            label = method + name.removeprefix("polymodal")
            table.add_row(networks, label, f"{other:.0f}", f"{mine:.0f}", f"{mine / other:.2f}")
        save(about(time.perf_counter() - begin, seed=0, peer="multivae") | result, arguments.output)
    Console().print(table)


def race(contenders: dict[str, Callable[[], None]], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds of CPU time of a step of each, round by round, after one to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, step in contenders.items():
            begin = time.process_time()
            for _ in range(steps):
                step()
            if number:
                seconds[name].append((time.process_time() - begin) / steps)
    return seconds


if __name__ == "__main__":
    main()
