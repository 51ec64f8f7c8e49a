"""What the cases share: small files, and a load that splits by what is named alone."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image as PILImage

import polymodal as pm

RATE = 16_000


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., Any]:
    """``pm.load`` without validation and test rows, but for those that are named."""

    def load(source: Any, fields: Any, **options: Any) -> Any:
        return pm.load(source, fields, **{"cache": tmp_path / "cache", "validation": 0, "test": 0, **options})

    return load


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder, apart from the cache."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def png(colour: str) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    PILImage.new("RGB", (4, 4), colour).save(file, "PNG")
    return file.getvalue()


def put(path: Path, content: str | bytes) -> Path:
    """Write a file, and the folders that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sine(hertz: float, seconds: float = 0.1) -> np.ndarray:
    """(T,) float32."""
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(RATE * seconds)) / RATE)).astype(np.float32)


def wav(hertz: float) -> bytes:
    """A tone."""
    file = io.BytesIO()
    soundfile.write(file, sine(hertz), RATE, format="WAV")
    return file.getvalue()


def colour(row: dict[str, Any], name: str = "image") -> tuple[int, ...]:
    """Of the first pixel of a row's picture."""
    return row[name].getpixel((0, 0))
