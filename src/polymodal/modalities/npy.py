"""Arrays in ``.npy`` files, whose memory is not taken before their header is found right."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np

from polymodal.errors import DataError
from polymodal.modalities.base import read_file

NPY = b"\x93NUMPY"
"""How the files begin."""


def load_npy(file: Path | bytes, check: Callable[[tuple[int, ...]], None] = lambda shape: None) -> np.ndarray:
    """The array of a file or of its bytes.

    Args:
        file: The file.
        check: Refuses the shape that the header claims.

    Raises:
        DataError: It is no such file.
    """
    content = BytesIO(file if isinstance(file, bytes) else read_file(file))
    try:
        version = np.lib.format.read_magic(content)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        claimed, _, dtype = read_header(content)
        check(claimed)
        if len(content.getvalue()) - content.tell() < int(np.prod(claimed, dtype=object)) * dtype.itemsize:
            raise ValueError("the file ends too early")
        content.seek(0)
        return np.load(content, allow_pickle=False)
    except DataError:
        raise
    except Exception as error:  # a header is parsed as Python is, which raises nearly every kind of error
        raise DataError(f"not a .npy file: {' '.join(str(error).split())}") from error
