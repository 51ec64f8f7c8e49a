"""What evaluation adds to pictures: SSIM and PSNR of reconstructions, and heat maps."""

from __future__ import annotations

from markupsafe import Markup
from torch import Tensor

from polymodal.encoders import Encoder, PictureEncoder
from polymodal.evaluation.kinds.base import Kind
from polymodal.evaluation.kinds.drawing import coloured_picture
from polymodal.evaluation.metrics import psnr, ssim
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.types import Field


class ImageKind(Kind):
    """Pictures, of which only a judge can say whether they are right."""

    fine_detail, tower = True, "image"

    def reconstruction(self, real: Field, copy: Field, other: Field) -> list[MetricResult]:
        return [
            MetricResult(
                name, metric(real.value, copy.value).numpy(), ceiling=best,
                chance=float(metric(real.value, other.value).mean()), aspect="reconstruction",
            )
            for name, metric, best in (("SSIM", ssim, 1.0), ("PSNR, dB", psnr, 100.0))
        ]  # fmt: skip

    def encoder(self, width: int) -> Encoder:
        return PictureEncoder(self.space, width, channels=16)

    def draw(self, field: Field, part: Tensor) -> Markup:
        return coloured_picture(self.modality.write(field.value[0]), part.sum(0))
