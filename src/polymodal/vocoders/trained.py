"""A vocoder for speech that comes trained with the package."""

from functools import cache
from importlib.resources import as_file, files
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from polymodal.modalities import Audio, Modality
from polymodal.types import Field, Losses
from polymodal.vocoders.base import Vocoder
from polymodal.vocoders.istft import IstftVocoder

SHAPE: dict[str, Any] = {"width": 256, "depth": 6, "intermediate_size": 448}
"""Of the network whose weights ``trained_weights`` holds."""
REVISION = "speech-16k-1"


@cache
def _weights() -> dict[str, Tensor]:
    """Of the network, in single precision."""
    with as_file(files("polymodal.vocoders") / "weights" / f"{REVISION}.safetensors") as path:
        return {name: tensor.float() for name, tensor in load_file(path, device="cpu").items()}


class TrainedVocoder(Vocoder):
    """Makes speech of spectrograms with the settings that ``Audio`` has by default, by weights that come along.

    An ``IstftVocoder``, made of recordings and of voices of speech synthesis in many languages;
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
        ours, known = (audio.portable() for audio in (modality, Audio()))
        wrong = [name for name in known if name != "most_samples" and ours[name] != known[name]]
        return f"is made for spectrograms with {', '.join(f'{n} {known[n]:g}' for n in wrong)}" if wrong else None

    def forward(self, mel: Tensor) -> Tensor:
        return self.network(mel)

    def loss(self, mel: Field, samples: Field, player: str, keys: Tensor) -> Losses:
        """Those of ``IstftVocoder``."""
        return self.network.loss(mel, samples, player, keys)
