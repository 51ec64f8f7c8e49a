"""The contrastive judge: trained on real rows, apart from any generator, it says what a picture or a sound is of.

One encoder for each field maps values to unit vectors of one space, where values of one concept lie near one another.

Source: Radford et al., "Learning transferable visual models from natural language supervision" (CLIP), 2021.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import log_softmax, normalize

from polymodal.data import Rows
from polymodal.errors import CheckpointError, ConfigError, DataError, unknown
from polymodal.evaluation.judges.embedder import Embedder, names_of, naming_field
from polymodal.evaluation.kinds import find_kind
from polymodal.files import read_json, short_digest, write_file
from polymodal.modalities import Modality, kind_of
from polymodal.modalities import build as build_modality
from polymodal.nn.random import fold, make_keys
from polymodal.types import Batch, Field

FORMAT = 1
CHUNK = 128
"""Number of values that are embedded together."""


class Judge(Embedder):
    """Embeds values of any of its fields in one space, and names them.

    Args:
        modalities: The modality of each field that it reads.
        naming: The field whose values name concepts, or None if the data has no such field.
        names: The distinct names in the training rows.
        settings: What the judge is made of, as ``train`` gives it.
        held_out: Its score on rows that it did not learn from, if it is known.
    """

    def __init__(
        self,
        modalities: Mapping[str, Modality],
        naming: str | None,
        names: Sequence[str],
        settings: Mapping[str, Any],
        held_out: Mapping[str, Any] | None = None,
    ):
        self.modalities, self.naming, self.names = dict(modalities), naming, list(names)
        self.settings, self.held_out = dict(settings), dict(held_out or {})
        self.network = _Network(self.modalities, settings["width"])

    @classmethod
    def train(
        cls,
        rows: Rows,
        *,
        fields: Sequence[str] | None = None,
        naming: str | None = None,
        held_out: Rows | None = None,
        steps: int = 500,
        batch_size: int = 64,
        width: int = 128,
        learning_rate: float = 2e-3,
        seed: int = 0,
        folder: str | Path | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Judge:
        """Learns from real rows which values belong together.

        Rows of the same name are of one concept; without names, each row is a concept. A batch holds one value of each
        field for each of ``batch_size`` concepts, and every value must find its concept among the values of every other
        field in the batch.

        Args:
            rows: Training rows.
            fields: The fields to embed; by default all but labels.
            naming: The field that names concepts; by default the first text field, else the first label.
            held_out: Rows by which the judge is scored; values that are among ``rows`` too are left out.
            steps: Number of training steps. The same steps and seed give the same judge.
            batch_size: Number of concepts in a batch.
            width: Dimensions of the space.
            learning_rate: Its peak.
            seed: Seed of everything that is random.
            folder: Where the judge is kept. If it holds one of the same data and settings, that one is returned.
            progress: Called after each step with its number and that of all steps.

        Raises:
            DataError: Fewer than two fields have values.
            ConfigError: A field is unknown or holds no names, or there are no steps.
        """
        if steps < 1:
            raise ConfigError(f"judge: steps: {steps} is not at least 1")
        naming = naming_field(rows, naming)
        if fields is None:
            fields = [name for name, modality in rows.fields.items() if not find_kind(modality).classes]
        for name in fields:
            if name not in rows.fields:
                raise ConfigError(unknown("judge: field", name, rows.fields))
        chosen = [name for name in rows.fields if (name in fields or name == naming) and rows.present[name].any()]
        if len(chosen) < 2:
            raise DataError(f"judge: it learns from rows with two or more fields; these have {', '.join(chosen)}")
        modalities = {name: rows.fields[name] for name in chosen}
        settings: dict[str, Any] = {
            "steps": steps,
            "batch_size": batch_size,
            "width": width,
            "learning_rate": learning_rate,
            "seed": seed,
            "data": rows.only(*chosen).fingerprint,
        }
        names = sorted(set(names_of(rows, naming))) if naming else []
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            judge = cls(modalities, naming, names, settings)
            # Weights mean nothing to another network, so what it is made of is one of the settings.
            settings = judge.settings = settings | {"network": short_digest(repr(judge.network).encode())}
            if folder is not None and (kept := cls._kept(Path(folder), settings, naming)):
                return kept
            judge._learn(rows, progress)
        if held_out is not None:
            judge.held_out = judge.score(held_out, rows)
        if folder is not None:
            judge.save(folder)
        return judge

    @classmethod
    def _kept(cls, folder: Path, settings: Mapping[str, Any], naming: str | None) -> Judge | None:
        """The judge in a folder, if it is complete and was trained in the same way."""
        try:
            judge = cls.load(folder)
        except CheckpointError:
            return None
        return judge if (judge.settings, judge.naming) == (settings, naming) else None

    def _learn(self, rows: Rows, tell: Callable[[int, int], None] | None) -> None:
        settings, network = self.settings, self.network
        sampler = _ConceptSampler(rows, list(self.modalities), self.naming, settings["seed"])
        groups = [
            {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=settings["learning_rate"], betas=(0.9, 0.98), fused=True)
        network.train()
        for step in range(settings["steps"]):
            progress = step / settings["steps"]
            rate = min(1.0, progress / 0.1 + 1e-3) * 0.5 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = settings["learning_rate"] * rate
            batch, concepts, keys = sampler.draw(step, settings["batch_size"])
            loss = network.loss(rows.decode(batch), concepts, keys)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            if tell:
                tell(step + 1, settings["steps"])
        network.eval()

    @torch.inference_mode()
    def embed(self, name: str, field: Field) -> Tensor:
        if name not in self.modalities:
            raise ConfigError(unknown("judge: field", name, self.modalities))
        index = torch.arange(len(field)).split(CHUNK)
        return torch.cat([self.network.embed(name, field.pick(part).to("cpu")) for part in index])

    @property
    def hash(self) -> str:
        return short_digest(self._bytes() + self._document().encode())

    def _bytes(self) -> bytes:
        return save({name: value.contiguous() for name, value in self.network.state_dict().items()})

    def _document(self, **more: Any) -> str:
        fields = {
            name: {"modality": kind_of(modality), "arguments": modality.state()}
            for name, modality in self.modalities.items()
        }
        document = {
            "format": FORMAT,
            "fields": fields,
            "naming": self.naming,
            "names": self.names,
            "settings": self.settings,
            **more,
        }
        return json.dumps(document, indent=1, ensure_ascii=False) + "\n"

    def save(self, folder: str | Path) -> None:
        """Writes ``judge.safetensors`` and ``judge.json``."""
        folder = Path(folder)
        write_file(folder / "judge.safetensors", self._bytes())
        write_file(folder / "judge.json", self._document(hash=self.hash, held_out=self.held_out))

    @classmethod
    def load(cls, folder: str | Path) -> Judge:
        """The judge that ``save`` wrote.

        Raises:
            CheckpointError: There is none, or it is broken.
        """
        folder = Path(folder)
        try:
            document = read_json(folder / "judge.json")
            weights = load((folder / "judge.safetensors").read_bytes())
            form = document.get("format")
        except (OSError, ValueError, AttributeError, SafetensorError) as error:
            raise CheckpointError(f"{folder}: holds no judge that can be read: {error}") from error
        if form != FORMAT:
            raise CheckpointError(f"{folder}: the judge's format is {form}; this version's is {FORMAT}")
        try:
            modalities = {
                name: build_modality(entry["modality"], **entry["arguments"])
                for name, entry in document["fields"].items()
            }
            settings = document["settings"]
            judge = cls(modalities, document["naming"], document["names"], settings, document.get("held_out"))
        except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise CheckpointError(f"{folder}: judge.json does not describe a judge: {error!r}") from error
        try:
            judge.network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(f"{folder}: the judge's weights are not those of its judge.json") from error
        judge.network.eval()
        if judge.hash != document.get("hash"):
            raise CheckpointError(f"{folder}: the judge's weights are not those of its judge.json")
        return judge


class _Network(nn.Module):
    """An encoder, pooling and projection for each field; one temperature."""

    def __init__(self, modalities: Mapping[str, Modality], width: int):
        super().__init__()
        self.encoders = nn.ModuleDict(
            {name: find_kind(modality).encoder(width) for name, modality in modalities.items()}
        )
        self.projections = nn.ModuleDict(
            {name: nn.Sequential(nn.BatchNorm1d(width), nn.Linear(width, width)) for name in modalities}
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed(self, name: str, field: Field, keys: Tensor | None = None) -> Tensor:
        return normalize(self.projections[name](self.encoders[name](field, keys).mean), dim=1)

    def loss(self, batch: Batch, concepts: Tensor, keys: Tensor) -> Tensor:
        """InfoNCE between every two fields in both directions; all values of one concept are right answers."""
        embedded = {}
        for place, name in enumerate(self.encoders):
            present = batch[name].present.nonzero()[:, 0]
            if len(present) > 1:
                x = self.embed(name, batch[name].pick(present), fold(keys[present], place))
                embedded[name] = (x, concepts[present])
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        terms = []
        for (x, x_concepts), (y, y_concepts) in combinations(embedded.values(), 2):
            logits = scale * x @ y.T
            same = (x_concepts[:, None] == y_concepts).to(logits.dtype)
            for similarity, right in ((logits, same), (logits.T, same.T)):
                found = right.sum(1) > 0
                if found.any():
                    share = right[found] / right[found].sum(1, keepdim=True)
                    terms.append(-(share * log_softmax(similarity[found], 1)).sum(1).mean())
        return torch.stack(terms).mean() if terms else 0 * self.log_scale  # a batch may lack all fields but one


class _ConceptSampler:
    """Draws batches of concepts, each with one value of every field that it has."""

    def __init__(self, rows: Rows, fields: Sequence[str], naming: str | None, seed: int):
        self.columns, self.seed = {name: rows.columns[name] for name in fields}, seed
        concepts = np.arange(len(rows))
        if naming:
            slots = rows.columns[naming].slots
            concepts = np.where(slots >= 0, slots, slots.max(initial=0) + 1 + concepts)
        _, concepts = np.unique(concepts, return_inverse=True)
        self.count = int(concepts.max()) + 1
        self.tables: dict[str, list[np.ndarray]] = {}
        for name, column in self.columns.items():
            _, first = np.unique(np.stack([concepts, column.slots]), axis=1, return_index=True)
            first = first[column.slots[first] >= 0]  # one row of each distinct value of each concept
            order = first[np.argsort(concepts[first], kind="stable")]
            bounds = np.searchsorted(concepts[order], np.arange(self.count + 1))
            self.tables[name] = [order[a:b] for a, b in zip(bounds, bounds[1:], strict=False)]

    def draw(self, step: int, size: int) -> tuple[Batch, Tensor, Tensor]:
        """Stored values, concepts (size,) and keys (size,) of a step."""
        random = np.random.default_rng([self.seed, step])
        size = max(size, 2)
        chosen = np.concatenate([random.permutation(self.count) for _ in range(-(-size // self.count))])[:size]
        batch = {}
        for name, column in self.columns.items():
            rows_of = (self.tables[name][concept] for concept in chosen)
            slots = [column.slots[random.choice(rows)] if len(rows) else -1 for rows in rows_of]
            batch[name] = replace(column, slots=np.array(slots)).batch(np.arange(size))
        keys = fold(make_keys(self.seed, 1, start=step + 1), torch.arange(size))
        return batch, torch.from_numpy(chosen), keys
