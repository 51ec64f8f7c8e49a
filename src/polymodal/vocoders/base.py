"""What every vocoder is: the spectrogram of a sound -> its samples."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

from torch import Tensor, nn

from polymodal.arguments import check_constructor
from polymodal.modalities import Audio, Modality
from polymodal.types import Field, Losses


class Vocoder(nn.Module, ABC):
    """Turns spectrograms into sound. Trained before the model, by the same loop, then frozen; or it does not learn.

    A constructor takes ``(audio,)`` by position, and its configuration as keyword-only arguments.

    Args:
        audio: Whose spectrograms it reads.

    Attributes:
        audio: The same, which itself makes sound without a vocoder.
        players: The players who move in one training step, in order; with an adversary ``("critic", "model")``.
        trains: Whether it learns. One that does not needs no ``loss``, and brings its weights with it.
        reference: Of a vocoder that does not learn: where its weights come from, such as a ``place`` and a
            ``revision``. A checkpoint holds this and a digest of the weights in place of them.
    """

    trains: bool = True
    reference: Mapping[str, str] = {}
    players: tuple[str, ...] = ("model",)

    __init_subclass__ = check_constructor

    def __init__(self, audio: Audio):
        super().__init__()
        self.audio = audio

    @classmethod
    def accepts(cls, modality: Modality) -> str | None:
        """None if it can make this modality heard, else the reason why not."""
        if modality.waveform_hz:
            return "makes sound of spectrograms, and with form: samples there is nothing to be made"
        return None if modality.transform else "makes sound of spectrograms"

    def release(self) -> None:
        """Gives back memory that is not needed while the model trains."""

    @abstractmethod
    def forward(self, mel: Tensor) -> Tensor:
        """Spectrograms as ``Audio`` standardises them (B, mels, L) -> samples (B, L * hop_length)."""

    def loss(self, mel: Field, samples: Field, player: str, keys: Tensor) -> Losses:
        """The terms of one player's move, (B,) each.

        Args:
            mel: Spectrograms (B, mels, L).
            samples: The sound they are of, frame by frame (B, hop_length, L), with the same mask.
            player: One of ``players``.
            keys: (B,) random keys.
        """
        raise NotImplementedError

    def parameters_of(self, player: str) -> Iterator[nn.Parameter]:
        """The parameters that ``player`` moves. Players partition the parameters."""
        yield from self.parameters() if player == "model" else ()
