"""A vocoder for speech that comes trained with the package."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import as_file, files
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from polymodal.modalities import Audio, Modality
from polymodal.types import Field, Losses
from polymodal.vocoders.base import Vocoder
from polymodal.vocoders.istft import IstftVocoder

SHAPE: dict[str, Any] = {"width": 256, "depth": 6, "intermediate_size": 448, "refinements": 8}
"""Of the network whose weights come along; with more refinements frames are nearer, and what is shorter is less so."""
REVISION = "speech-16k-1"
HEARD = {
    "sample_rate_hz": 16_000, "mels": 80, "hop_length": 256, "n_fft": 1024, "f_min_hz": 0.0, "f_max_hz": 8000.0,
}  # fmt: skip
"""Settings of ``Audio``, all of them its defaults, of the spectrograms that the weights know."""


@cache
def _weights() -> dict[str, Tensor]:
    """Of the network, in single precision."""
    with as_file(files("polymodal.vocoders") / "weights" / f"{REVISION}.safetensors") as path:
        return {name: tensor.float() for name, tensor in load_file(path, device="cpu").items()}


class TrainedVocoder(Vocoder):
    """Makes speech of spectrograms that have the settings which ``Audio`` has by default, by weights that come along.

    An ``IstftVocoder`` that has learned from recordings and from voices of speech synthesis, in many languages;
    ``vocoders/weights/README.md`` says which, and what it is not good for.

    Args:
        audio: Whose spectrograms it reads; clips may be of any length.
        tune: Whether it goes on learning from the training rows, for ``train.vocoder_share`` of the minutes.
    """

    trains = False

    def __init__(self, audio: Audio, *, tune: bool = False) -> None:
        super().__init__(audio)
        self.trains = tune
        self.network = IstftVocoder(audio, **SHAPE)
        self.reference = {} if tune else {"place": "the package itself", "revision": REVISION}
        if not self.network.proj_in.weight.is_meta:
            self.network.load_state_dict(_weights())

    @classmethod
    def accepts(cls, modality: Modality) -> str | None:
        if reason := super().accepts(modality):
            return reason
        given = modality.portable()
        wrong = [name for name, known in HEARD.items() if given[name] != known]
        right = ", ".join(f"{name} {HEARD[name]:g}" for name in wrong)
        return f"makes sound of spectrograms with {right}, as they are by default" if wrong else None

    def forward(self, mel: Tensor) -> Tensor:
        return self.network(mel)

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        yield from self.network.parameters_of(player) if self.trains else ()

    def loss(self, mel: Field, samples: Field, player: str, keys: Tensor) -> Losses:
        """Those of ``IstftVocoder``."""
        return self.network.loss(mel, samples, player, keys)
