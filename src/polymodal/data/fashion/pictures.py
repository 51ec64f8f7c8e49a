"""The pictures of Fashion-MNIST: from a folder of IDX files, Debian's package, or the hub.

Source: Xiao, Rasul and Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms",
2017; the files' format: LeCun, Cortes and Burges, "The MNIST database of handwritten digits".
"""

import gzip
import io
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from polymodal.errors import DataError

SIZE = 28
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
HUB_NAME = "zalando-datasets/fashion_mnist"

_STEMS = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
_CLASSES = 10


class Split(NamedTuple):
    """Pictures (n, 28, 28) of bytes, light on black, and their labels (n,) from 0 to 9."""

    pictures: np.ndarray
    labels: np.ndarray


def find(folder: Path | None, cache: Path) -> dict[str, Split]:
    """The splits ``train`` and ``test``.

    Args:
        folder: Folder of the IDX files; None for Debian's, else those of the hub, kept in ``cache``.
        cache: Folder.

    Raises:
        DataError: They are nowhere, or broken.
    """
    if folder is not None:
        return read_folder(folder)
    if DEBIAN_FOLDER.is_dir():
        return read_folder(DEBIAN_FOLDER)
    try:
        return _read_hub(cache)
    except (OSError, ValueError, ConnectionError) as error:
        raise DataError(
            "data set fashion: Fashion-MNIST is not on this machine; either give the folder of its four IDX files, "
            "gzipped or not, as fashion:folder=FOLDER; or install Debian's package: apt-get install "
            "dataset-fashion-mnist; or go online, so that it comes from the hub "
            f"({HUB_NAME}: {' '.join(str(error).split())})"
        ) from error


def read_folder(folder: Path) -> dict[str, Split]:
    """The splits from a folder with the four IDX files.

    Raises:
        DataError: A file is missing or broken, or pictures and labels do not match.
    """
    splits = {}
    for name, stem in _STEMS.items():
        pictures = _read_idx(folder, f"{stem}-{_IMAGES}", 3)
        labels = _read_idx(folder, f"{stem}-{_LABELS}", 1)
        if pictures.shape[1:] != (SIZE, SIZE):
            raise DataError(f"{folder}: {stem}-{_IMAGES} has pictures of {pictures.shape[1:]} pixels, not {SIZE, SIZE}")
        if len(pictures) != len(labels):
            raise DataError(f"{folder}: {stem} has {len(pictures)} pictures and {len(labels)} labels")
        splits[name] = Split(pictures, labels)
        lacking = set(range(_CLASSES)) ^ set(labels.tolist())
        if lacking:
            raise DataError(f"{folder}: {stem}-{_LABELS} must hold every label from 0 to 9 and no other ({lacking})")
    return splits


def content(splits: Mapping[str, Split]) -> list[bytes]:
    """All there is in the pictures and labels, to name them by."""
    return [array.tobytes() for split in splits.values() for array in split]


def _read_idx(folder: Path, name: str, dimensions: int) -> np.ndarray:
    """An IDX file of bytes: two zeros, the type 8, the number of dimensions, each as 32 bits, then the values."""
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise DataError(f"{folder}: neither {name} nor {name}.gz is there")
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    start = 4 + 4 * dimensions
    shape = np.frombuffer(data, ">u4", dimensions, 4).tolist() if len(data) >= start else []
    if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) - start != int(np.prod(shape, dtype=np.int64)):
        raise DataError(f"{path}: is no whole IDX file of bytes in {dimensions} dimensions")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _read_hub(cache: Path) -> dict[str, Split]:
    import datasets

    data = datasets.load_dataset(HUB_NAME, cache_dir=str(cache / "hub"))
    return {
        name: Split(
            np.stack([np.asarray(picture.convert("L")) for picture in data[name]["image"]]),
            np.asarray(data[name]["label"], np.uint8),
        )
        for name in _STEMS
    }


def png(pixels: np.ndarray) -> bytes:
    """Pixels (height, width) of grey as the file of a picture."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", compress_level=6)
    return file.getvalue()
