"""Endings of the files that hold pictures and sound, as the installed Pillow and libsndfile know them."""

from functools import cache

import soundfile
from PIL import Image as PILImage

from polymodal.modalities import Audio, Image

# Formats of pixels alone. Others start programs (EPS, PDF), draw (WMF), or hold what is no picture (HDF5, MPEG).
_RASTERS = {
    *("AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FTEX", "GIF", "ICNS", "ICO", "IM", "JPEG", "JPEG2000", "MPO"),
    *("MSP", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM"),
}
_NOT_SOUND = {"RAW", "MAT4", "MAT5"}  # anything at all, and matrices
_OTHER_NAMES = {"AIFF": "aif aifc", "AU": "snd", "OGG": "oga opus", "NIST": "sph", "SVX": "iff 8svx", "IRCAM": "sf"}


@cache
def pictures() -> frozenset[str]:
    """Lower case, without the dot."""
    known = PILImage.registered_extensions()
    found = {ending[1:] for ending, kind in known.items() if kind in _RASTERS and kind in PILImage.OPEN}
    return frozenset({ending[1:] for ending in Image.suffixes} | found)


@cache
def sounds() -> frozenset[str]:
    """Lower case, without the dot."""
    known = soundfile.available_formats().keys() - _NOT_SOUND
    found = {ending for kind in known for ending in (kind.lower(), *_OTHER_NAMES.get(kind, "").split())}
    return frozenset({ending[1:] for ending in Audio.suffixes} | found)
