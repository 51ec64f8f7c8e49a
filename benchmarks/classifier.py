"""The classifier: trained on real pictures, apart from any generator, it tells what a generated one shows.

Source: Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition" (VGG), 2015, made
small, with the smoothed labels of Szegedy et al., "Rethinking the inception architecture for computer vision", 2016.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from polymodal.data import Rows
from polymodal.errors import CheckpointError, ConfigError, DataError, unknown
from polymodal.files import short_digest, write_file
from polymodal.modalities import Label, Modality, kind_of
from polymodal.modalities import build as build_modality
from polymodal.types import Field

FORMAT = 1
CHUNK = 250
"""Pictures that are looked at together."""

_SMALLEST_GRID = 7


class Classifier:
    """Names the class of pictures, and gives the features in which they can be compared.

    Args:
        modality: Of the pictures.
        classes: Names, in the order of their ids.
        settings: Of ``train``: what the classifier is made of.
        accuracy: Share of held-out real pictures that it names right; None if it was never asked.
    """

    def __init__(
        self, modality: Modality, classes: Sequence[str], settings: dict[str, Any], accuracy: float | None = None
    ):
        self.modality, self.classes, self.settings, self.accuracy = modality, list(classes), settings, accuracy
        self.network = _Network(modality.space.shape, len(self.classes), settings["width"])

    @classmethod
    def train(
        cls,
        rows: Rows,
        held_out: Rows | None = None,
        *,
        picture: str = "picture",
        label: str = "label",
        epochs: int = 8,
        batch_size: int = 128,
        width: int = 32,
        learning_rate: float = 4e-3,
        flip: bool = True,
        seed: int = 0,
        folder: str | Path | None = None,
    ) -> Classifier:
        """Learns the classes of real pictures.

        Args:
            rows: Training rows; those that lack the picture or the label are left out.
            held_out: Rows to be scored by.
            picture: Field of the pictures.
            label: Field of the classes.
            epochs: Times that every picture is seen.
            batch_size: Pictures of a step.
            width: Channels of the first layers.
            learning_rate: Peak.
            flip: Whether a picture's mirror image is of the same class.
            seed: Of everything that is random. The same settings give the same classifier.
            folder: Where the classifier is kept; if one of the same data and settings is there, it is taken.

        Raises:
            ConfigError: A field is unknown or of another kind.
            DataError: No row has both fields.
        """
        modality, classes = _check(rows, picture, label)
        learned = _labelled(rows, picture, label, "train on")
        settings: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "width": width,
            "learning_rate": learning_rate,
            "flip": flip,
            "seed": seed,
            "data": learned.fingerprint,
            "held_out": None if held_out is None else held_out.only(picture, label).fingerprint,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            classifier = cls(modality, classes, settings)
            # weights mean nothing to another network, so what it is made of is one of the settings
            settings["network"] = short_digest(repr(classifier.network).encode())
            if folder is not None and (Path(folder) / "classifier.json").is_file():
                kept = json.loads((Path(folder) / "classifier.json").read_text(encoding="utf-8"))
                if (kept.get("settings"), kept.get("classes")) == (settings, classes):
                    return cls.load(folder)
            classifier._learn(learned, picture, label)
        if held_out is not None:
            classifier.accuracy = classifier.score(held_out, picture=picture, label=label)
        if folder is not None:
            classifier.save(folder)
        return classifier

    def _learn(self, rows: Rows, picture: str, label: str) -> None:
        settings, network = self.settings, self.network.train()
        random = np.random.default_rng(settings["seed"])
        groups = [
            {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": 0.05},
            {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], fused=True)
        size = min(settings["batch_size"], len(rows))
        steps = len(rows) // size  # the rest of an epoch is too small a batch for its norms
        for epoch in range(settings["epochs"]):
            order = random.permutation(len(rows))
            for step in range(steps):
                progress = (epoch + step / steps) / settings["epochs"]
                rate = min(1.0, progress / 0.15 + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))
                for group in optimizer.param_groups:
                    group["lr"] = settings["learning_rate"] * rate
                batch = rows.decode(rows.batch(order[step * size : (step + 1) * size]))
                pictures, labels = batch[picture].value, batch[label].value[:, 0]
                if settings["flip"]:
                    mirrored = torch.from_numpy(random.random(size) < 0.5)[:, None, None, None]
                    pictures = torch.where(mirrored, pictures.flip(-1), pictures)
                loss = F.cross_entropy(network(pictures)[1], labels, label_smoothing=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        network.eval()

    def features(self, pictures: Field | Tensor) -> Tensor:
        """Pictures (B, C, H, W) in the modality's space -> what the last layer sees of them (B, D), at least 0."""
        return self._look(pictures)[0]

    def logits(self, pictures: Field | Tensor) -> Tensor:
        """Pictures (B, C, H, W) in the modality's space -> logarithms (B, classes) of odds, not normalised."""
        return self._look(pictures)[1]

    def predict(self, pictures: Field | Tensor) -> list[str]:
        """Pictures (B, C, H, W) in the modality's space -> the names of their likeliest classes."""
        return [self.classes[i] for i in self.logits(pictures).argmax(1).tolist()]

    def score(self, rows: Rows, *, picture: str = "picture", label: str = "label") -> float:
        """Share of the rows' pictures that it names right.

        Raises:
            ConfigError: A field is unknown or of another kind.
            DataError: No row has both fields.
        """
        _, names = _check(rows, picture, label)
        rows = _labelled(rows, picture, label, "score")
        right = 0
        for part in np.split(np.arange(len(rows)), range(CHUNK, len(rows), CHUNK)):
            batch = rows.decode(rows.batch(part))
            truth = [names[i] for i in batch[label].value[:, 0].tolist()]
            right += sum(a == b for a, b in zip(self.predict(batch[picture]), truth, strict=True))
        return right / len(rows)

    @torch.no_grad()
    def _look(self, pictures: Field | Tensor) -> tuple[Tensor, Tensor]:
        value = pictures.value if isinstance(pictures, Field) else pictures
        if value.shape[1:] != self.modality.space.shape:
            raise DataError(
                f"classifier: pictures of shape {tuple(value.shape[1:])}; it learned from {self.modality.space.shape}"
            )
        features, logits = zip(*(self.network(part) for part in value.to("cpu").split(CHUNK)), strict=True)
        return torch.cat(features), torch.cat(logits)

    @property
    def hash(self) -> str:
        """Names the weights and settings: equal where classifiers are equal."""
        return short_digest(self._bytes() + self._document().encode())

    def _bytes(self) -> bytes:
        return save({name: value.contiguous() for name, value in self.network.state_dict().items()})

    def _document(self) -> str:
        document = {
            "format": FORMAT,
            "accuracy": self.accuracy,
            "picture": {"modality": kind_of(self.modality), "arguments": self.modality.state()},
            "classes": self.classes,
            "settings": self.settings,
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def save(self, folder: str | Path) -> None:
        """Writes ``classifier.safetensors`` and ``classifier.json``, which holds its held-out accuracy."""
        folder = Path(folder)
        write_file(folder / "classifier.safetensors", self._bytes())
        write_file(folder / "classifier.json", self._document())

    @classmethod
    def load(cls, folder: str | Path) -> Classifier:
        """The classifier that ``save`` wrote.

        Raises:
            CheckpointError: There is none, or it is broken.
        """
        folder = Path(folder)
        try:
            document = json.loads((folder / "classifier.json").read_text(encoding="utf-8"))
            weights = load((folder / "classifier.safetensors").read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder}: holds no classifier that can be read: {error}") from error
        if document.get("format") != FORMAT:
            raise CheckpointError(
                f"{folder}: the classifier's format is {document.get('format')}; this version's is {FORMAT}"
            )
        picture = document["picture"]
        modality = build_modality(picture["modality"], **picture["arguments"])
        classifier = cls(modality, document["classes"], document["settings"], document["accuracy"])
        classifier.network.load_state_dict(weights)
        classifier.network.eval()
        return classifier


class _Network(nn.Module):
    """Convolutions, each on half the grid of the one before, down to about 7 x 7; mean over places; one layer."""

    def __init__(self, shape: Sequence[int], classes: int, width: int):
        super().__init__()
        channels, *grid = shape
        halvings = max(1, math.ceil(math.log2(max(grid) / _SMALLEST_GRID)))
        widths = [width * 2 ** min(i, 2) for i in range(halvings + 1)]
        layers: list[nn.Module] = []
        for place, (inputs, outputs) in enumerate(zip([channels, *widths], [*widths, widths[-1]], strict=True)):
            layers.append(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
            if place < halvings:
                layers.append(nn.MaxPool2d(2))  # before the norm, which then has a quarter of the work
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
        self.look = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Linear(widths[-1], classes)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> features (B, D), logits (B, classes)."""
        features = self.look(pictures.to(memory_format=torch.channels_last)).mean((2, 3))
        return features, self.classify(self.dropout(features))


def _check(rows: Rows, picture: str, label: str) -> tuple[Modality, list[str]]:
    """The pictures' modality and the names of the classes."""
    for name in (picture, label):
        if name not in rows.fields:
            raise ConfigError(unknown("classifier: field", name, rows.fields))
    modality, classes = rows.fields[picture], rows.fields[label]
    if modality.space.kind != "continuous" or len(modality.space.grid) != 2:
        raise ConfigError(f"classifier: field '{picture}' is no picture but {kind_of(modality)}")
    if not isinstance(classes, Label):
        raise ConfigError(f"classifier: field '{label}' is no label but {kind_of(classes)}")
    return modality, list(classes.names or ())


def set_apart(rows: Rows, share: float = 1 / 6, seed: int = 0) -> tuple[Rows, Rows]:
    """Rows for a classifier to learn from, and others that it never sees, which show how far real pictures lie apart.

    Those that a classifier has learned from look to it less like new ones than any others do.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    count = round(share * len(rows))
    return rows.select(np.sort(order[count:])), rows.select(np.sort(order[:count]))


def _labelled(rows: Rows, picture: str, label: str, purpose: str) -> Rows:
    """The rows with both fields, and nothing else of them."""
    own = rows.select(rows.present[picture] & rows.present[label]).only(picture, label)
    if not len(own):
        raise DataError(f"classifier: no row has both '{picture}' and '{label}' to {purpose}")
    return own
