import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image as PILImage

from polymodal import ConfigError, DataError, Image


def _bytes(picture, format="PNG", **options):
    file = BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def _png_claiming(width, height):
    """A PNG of a few bytes whose header claims any size."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [40_000, 10_000])
def test_refuses_a_picture_that_claims_too_many_pixels(side):
    with pytest.raises(DataError, match=r"^the picture is over 89,478,485 pixels"):
        Image().read(_png_claiming(side, side))


def test_refuses_what_is_no_picture():
    with pytest.raises(DataError, match=r"^not a picture that Pillow can read$"):
        Image().read(b"hello")
    whole = _bytes(PILImage.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))
    with pytest.raises(DataError, match=r"^cannot decode the picture: "):
        Image().read(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^a str is not a picture$"):
        Image().read("a.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16", "F"])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_mode(mode, channels):
    stored = Image(size=8, channels=channels, range=(0, 255)).read(PILImage.new(mode, (16, 16)))
    assert stored.shape == (channels, 8, 8)


def test_depth_of_16_bits_is_scaled_not_clipped():
    grey = PILImage.fromarray(np.full((4, 4), 32768, dtype=np.uint16))
    assert (Image(size=4, channels=1).read(_bytes(grey)) == 128).all()


def test_transparent_pixels_show_the_background():
    clear = _bytes(PILImage.new("RGBA", (4, 4), (10, 20, 30, 0)))
    assert (Image(size=4).read(clear) == 255).all()
    assert Image(size=4, background="#ff0080").read(clear)[:, 0, 0].tolist() == [255, 0, 128]
    half = PILImage.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert abs(int(Image(size=4).read(half)[0, 0, 0]) - 127) <= 1
    palette = PILImage.new("P", (4, 4))
    assert (Image(size=4).read(_bytes(palette, transparency=0)) == 255).all()


def test_turned_upright_by_exif():
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255
    exif = PILImage.Exif()
    exif[0x0112] = 6  # turn by a quarter, clockwise
    stored = Image(size=(8, 4)).read(_bytes(PILImage.fromarray(pixels), exif=exif))
    assert (stored[:, :4] == 255).all()
    assert (stored[:, 4:] == 0).all()


def test_same_size_is_lossless_and_grey_is_one_channel():
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    modality = Image(size=32)
    stored = modality.read(_bytes(PILImage.fromarray(pixels)))
    np.testing.assert_array_equal(stored.transpose(1, 2, 0), pixels)
    value = modality.to_model(torch.from_numpy(stored[None]))
    assert value.min() >= -1
    assert value.max() <= 1
    np.testing.assert_array_equal(np.asarray(modality.write(value[0])), pixels)
    assert Image(size=32, channels=1).read(pixels).shape == (1, 32, 32)


def test_resize_filters_are_pillows():
    pixels = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    picture = PILImage.fromarray(pixels)
    down = np.asarray(picture.resize((16, 16), PILImage.Resampling.LANCZOS)).transpose(2, 0, 1)
    up = np.asarray(picture.resize((64, 64), PILImage.Resampling.BICUBIC)).transpose(2, 0, 1)
    np.testing.assert_array_equal(Image(size=16).read(picture), down)
    np.testing.assert_array_equal(Image(size=64).read(picture), up)


def test_fits():
    picture = PILImage.new("RGB", (20, 10), "black")
    picture.paste("red", (5, 0, 15, 10))
    red = np.array([255, 0, 0], dtype=np.uint8)[:, None, None]
    assert (Image(size=10, fit="crop").read(picture) == red).all()
    padded = Image(size=20, fit="pad").read(picture)
    assert (padded[:, :5] == 255).all()
    assert (padded[:, 7:13, 8:12] == red).all()
    stretched = Image(size=20, fit="stretch").read(picture)
    assert (stretched[:, :, :4] == 0).all()


def test_arrays():
    floats = np.linspace(0, 1, 48).reshape(4, 4, 3)
    np.testing.assert_array_equal(Image(size=4).read(floats), np.rint(floats * 255).transpose(2, 0, 1))
    assert Image(size=4).read(np.zeros((4, 4), dtype=np.uint8)).shape == (3, 4, 4)
    for bad, message in [
        (np.full((4, 4), np.nan), "a picture of floats outside [0, 1]"),
        (np.full((4, 4), 2.0), "a picture of floats outside [0, 1], here from 2 to 2: give"),
        (np.zeros((4, 4), dtype=np.int64), "a picture of signed integers, here from 0 to 0: give"),
        (np.zeros((4, 4), dtype=complex), "an array of complex128 is not a picture"),
        (np.zeros((2, 4, 4, 3)), "an array of shape (2, 4, 4, 3) is not a picture"),
    ]:
        with pytest.raises(DataError) as error:
            Image(size=4).read(bad)
        assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"range": [1, 1]}, "range: [1, 1] is not a pair of the values that are black and white"),
        ({"max_pixels": 0}, "max_pixels: 0 is not at least 1"),
        ({"size": 0}, "size: 0 is not a side in pixels, nor a pair (height, width)"),
        ({"size": [1, 2, 3]}, "size: [1, 2, 3] is not a side in pixels, nor a pair (height, width)"),
        ({"size": 1.5}, "size: 1.5 is not a side in pixels, nor a pair (height, width)"),
        ({"channels": 4}, "channels: 4 is neither 3 (colour) nor 1 (grey)"),
        ({"fit": "squash"}, "fit: 'squash' is not one of crop, pad, stretch"),
        ({"background": "whit"}, "background: 'whit' is no colour, such as 'white' or '#ffffff'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigError) as error:
        Image(**arguments)
    assert str(error.value) == message
