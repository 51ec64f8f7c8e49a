"""Encoders of Hugging Face as judges: CLIP, CLAP, DINO and others of their kind, from a folder or the hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor
from torch.nn.functional import normalize

from polymodal.data import Rows
from polymodal.errors import CheckpointError, ConfigError, unknown
from polymodal.evaluation.judges.embedder import Embedder, names_of, naming_field
from polymodal.evaluation.kinds import find_kind
from polymodal.files import short_digest
from polymodal.generation import write
from polymodal.modalities import Modality, kind_of
from polymodal.pretrained import PretrainedSource
from polymodal.types import Field

CHUNK = 32
"""Values that are embedded together."""


class HuggingFaceJudge(Embedder):
    """Reads the fields that the encoder has a tower for: pictures, sound, and texts or class names.

    Args:
        place: A folder, or a name on the hub.
        rows: Training rows, whose fields are read and whose names it chooses among.
        naming: The field that names concepts; by default the first text field, else the first label.

    Raises:
        ConfigError: ``transformers`` is missing, there is no such encoder, or no field suits it.
        CheckpointError: Its folder must not be read.
    """

    def __init__(self, place: str, rows: Rows, *, naming: str | None = None):
        try:
            self._source = PretrainedSource(place, pinned=False)
            from transformers import AutoModel

            self.network: Any = self._source.load(AutoModel)
        except (ConfigError, CheckpointError) as error:
            raise type(error)(f"judge: {error}") from None
        self._towers: dict[str, Callable[[list[Any]], Tensor]] = {}
        self._prepare()
        self.modalities = {
            name: modality
            for name, modality in rows.fields.items()
            if name in rows.columns and self._tower(modality) is not None
        }
        if not self.modalities:
            kinds = ", ".join(
                f"{name} ({kind_of(modality)})" for name, modality in rows.fields.items() if name in rows.columns
            )
            raise ConfigError(f"judge: {place} reads none of the fields {kinds}")
        naming = naming_field(rows, naming)
        self.naming = naming if naming in self.modalities else None
        self.names = sorted(set(names_of(rows, self.naming))) if self.naming else []
        self.held_out = {}
        self._weights = short_digest(self._source.digest)
        kind = type(self.network).__name__
        # The path of a folder says nothing on another machine; the hash names what was in it.
        source = Path(place).name if Path(place).is_dir() else place
        self.settings = {"encoder": kind, "source": source, "weights": self._weights, "fields": list(self.modalities)}

    def _prepare(self) -> None:
        """Finds the encoder's towers, and loads the processor of each."""
        from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

        network, source = self.network, self._source
        if hasattr(network, "get_image_features") or network.main_input_name == "pixel_values":
            self._processor = source.processor(AutoImageProcessor, backend="pil")
            self._towers["image"] = self._embed_pictures
        if hasattr(network, "get_audio_features"):
            self._extractor = source.processor(AutoFeatureExtractor)
            self._towers["audio"] = self._embed_sounds
        if hasattr(network, "get_text_features"):
            self._tokenizer = source.processor(AutoTokenizer)
            self._towers["text"] = self._embed_texts

    def _embed_pictures(self, values: list[Any]) -> Tensor:
        look = getattr(self.network, "get_image_features", self.network)
        inputs = self._processor(images=[value.convert("RGB") for value in values], return_tensors="pt")
        return _vector(look(pixel_values=inputs["pixel_values"]))

    def _embed_sounds(self, values: list[Any]) -> Tensor:
        rate = self._extractor.sampling_rate
        clips = [soxr.resample(np.clip(value.samples, -1, 1), value.sample_rate_hz, rate) for value in values]
        return _vector(
            self.network.get_audio_features(**self._extractor(clips, sampling_rate=rate, return_tensors="pt"))
        )

    def _embed_texts(self, values: list[Any]) -> Tensor:
        inputs = self._tokenizer(values, padding=True, truncation=True, return_tensors="pt")
        return _vector(self.network.get_text_features(inputs["input_ids"], inputs["attention_mask"]))

    def _tower(self, modality: Modality) -> Callable[[list[Any]], Tensor] | None:
        return self._towers.get(find_kind(modality).tower or "")

    @torch.inference_mode()
    def embed(self, name: str, field: Field) -> Tensor:
        if name not in self.modalities:
            raise ConfigError(unknown("judge: field", name, self.modalities))
        modality = self.modalities[name]
        tower = self._tower(modality)
        assert tower is not None
        values = write(modality, field)
        vectors = [tower(values[start : start + CHUNK]) for start in range(0, len(values), CHUNK)]
        return normalize(torch.cat(vectors).float(), dim=1)

    @property
    def hash(self) -> str:
        content = repr([self._weights, self.naming, self.names, list(self.modalities)])
        return short_digest(content)


def _vector(output: Tensor | Mapping[str, Tensor]) -> Tensor:
    """What a tower gives -> (B, D): its pooled output, else the first token."""
    if isinstance(output, Tensor):
        return output
    pooled = output.get("pooler_output")
    return output["last_hidden_state"][:, 0] if pooled is None else pooled
