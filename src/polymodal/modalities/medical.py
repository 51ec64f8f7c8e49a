"""Medical pictures: a slice of DICOM or NIfTI -> an array, by the optional packages pydicom and nibabel."""

import gzip
from collections.abc import Callable
from io import BytesIO

import numpy as np

from polymodal.errors import DataError

_MOST_BYTES = 1 << 30
"""Of an unpacked volume."""

_MOST_UNPACKED_BYTES = 1 << 28
"""Of one of which few bytes are packed."""

Limits = tuple[float, float] | None


def is_medical(content: bytes) -> bool:
    """Whether a file is DICOM, NIfTI, or may be NIfTI that gzip has packed."""
    return content[128:132] == b"DICM" or content[:2] == b"\x1f\x8b" or _is_nifti(content)


def read_medical(content: bytes, check: Callable[[int, int], None]) -> tuple[np.ndarray, Limits]:
    """The middle slice of a volume, or the picture, and the values that its file shows as black and white.

    Args:
        content: Content of the file.
        check: Refuses a (width, height) that is too large.

    Raises:
        DataError: It cannot be read, or the package is missing.
    """
    try:
        return (_dicom if content[128:132] == b"DICM" else _nifti)(content, check)
    except ImportError as error:
        raise DataError(f"DICOM and NIfTI need the package {error.name}: pip install 'polymodal[medical]'") from error
    except DataError:
        raise
    except Exception as error:  # these libraries raise nearly every kind of error on broken files
        raise DataError(f"cannot decode the picture: {error}") from error


def _is_nifti(content: bytes) -> bool:
    return content[344:348] in (b"n+1\0", b"ni1\0") or content[4:8] == b"n+2\0"


def _dicom(content: bytes, check: Callable[[int, int], None]) -> tuple[np.ndarray, Limits]:
    import pydicom
    from pydicom.pixels import apply_modality_lut, pixel_array

    header = pydicom.dcmread(BytesIO(content))
    check(int(header.Columns), int(header.Rows))
    frames = int(header.get("NumberOfFrames") or 1)
    pixels = pixel_array(BytesIO(content), index=frames // 2)
    if header.get("SamplesPerPixel", 1) == 3:
        return pixels, None
    values = np.asarray(apply_modality_lut(pixels, header), np.float64)
    first = lambda value: float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)  # noqa: E731
    if "WindowCenter" in header and "WindowWidth" in header:
        centre, width = first(header.WindowCenter), max(1.0, first(header.WindowWidth))
        low, high = centre - width / 2, centre + width / 2
    else:
        bits, signed = int(header.BitsStored), int(header.PixelRepresentation)
        ends = np.array([-(1 << bits) // 2, (1 << bits) // 2 - 1] if signed else [0, (1 << bits) - 1])
        low, high = map(float, apply_modality_lut(ends.astype(pixels.dtype), header))
    return values, (high, low) if header.PhotometricInterpretation == "MONOCHROME1" else (low, high)


def _nifti(content: bytes, check: Callable[[int, int], None]) -> tuple[np.ndarray, Limits]:
    import nibabel

    if content[:2] == b"\x1f\x8b":
        with gzip.open(BytesIO(content)) as file:
            most = min(_MOST_BYTES, max(_MOST_UNPACKED_BYTES, 100 * len(content)))
            content = file.read(most + 1)
        if len(content) > most or not _is_nifti(content):
            raise DataError(f"what gzip has packed is no NIfTI of at most {most:,} bytes; write it unpacked")
    kind = nibabel.Nifti2Image if content[4:8] == b"n+2\0" else nibabel.Nifti1Image
    volume = kind.from_bytes(content)
    shape = volume.shape
    if len(shape) < 2:
        raise DataError(f"a volume of shape {shape} has no slices")
    check(*shape[:2])
    values = np.asarray(volume.dataobj[(slice(None), slice(None), *(side // 2 for side in shape[2:]))], np.float32)
    low, high = float(volume.header["cal_min"]), float(volume.header["cal_max"])
    return np.rot90(values), (low, high) if high > low else None
