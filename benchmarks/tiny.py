"""What tests and benchmarks share of a tiny world of coloured shapes: how they are drawn, and parts that learn them."""

from typing import Any

from PIL import Image, ImageDraw

SHAPES = ("disc", "square")
DEFAULTS: dict[str, Any] = {
    "image": {
        "encoder": {"kind": "picture", "channels": 8, "stages": 2, "depth": 1, "heads": 2},
        "codec": {"kind": "kl", "latent": 4, "channels": [8, 8], "patch": 2},
        "head": {"kind": "flow", "depth": 1, "heads": 2, "repeats": 1, "steps": 3},
    },
    "text": {
        "encoder": {"kind": "sequence", "depth": 1, "heads": 2},
        "head": {"kind": "autoregressive", "depth": 1, "heads": 2},
    },
    "label": {
        "encoder": {"kind": "sequence", "depth": 0},
        "head": {"kind": "autoregressive", "depth": 1, "heads": 2},
    },
    "vector": {"encoder": {"kind": "vector"}, "head": {"kind": "flow", "depth": 1, "heads": 2, "steps": 3}},
}
"""Parts by modality, of a recipe of width 16."""
FUSION = {"kind": "attention", "depth": 1, "heads": 2}


def draw_shape(colour: str, shape: str, x: float, y: float) -> Image.Image:
    """A 16 x 16 picture."""
    picture = Image.new("RGB", (16, 16), "white")
    draw = ImageDraw.Draw(picture)
    (draw.ellipse if shape == "disc" else draw.rectangle)((x - 4, y - 4, x + 4, y + 4), fill=colour)
    return picture
