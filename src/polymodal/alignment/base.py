"""What every alignment is: encodings of the fields of rows -> a loss per row."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor, nn

from polymodal.types import Losses


class Alignment(nn.Module, ABC):
    """Pulls together what the encoders make of the fields of one row.

    A constructor takes ``(fields, width)`` by position and its configuration as keyword-only arguments.
    """

    @abstractmethod
    def forward(self, encodings: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Losses:
        """Loss terms (B,), zero for rows that lack the fields.

        Args:
            encodings: By field, (B, D): the mean of its tokens.
            present: By field, (B,) on the same device.
        """
