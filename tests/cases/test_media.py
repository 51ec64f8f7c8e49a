"""Files of pictures, sound and numbers, of every kind that once was misread."""

import gzip
import importlib.util
import io
import struct
from fractions import Fraction

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image as PILImage
from PIL.PngImagePlugin import PngInfo

import polymodal as pm
from polymodal import DataError

RAMP = np.linspace(0, 1, 64 * 64).reshape(64, 64)


def encoded(picture: PILImage.Image, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def levels(raw, **options) -> int:
    return len(np.unique(pm.Image(size=64, channels=1, **options).read(raw)))


def tone(seconds: float = 0.5, rate: int = 16_000) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)


class TestPictures:
    @pytest.mark.parametrize(
        ("values", "limits"),
        [
            ((RAMP * 255).astype("float32"), (0, 255)),
            ((RAMP * 4000 - 1000).astype("float32"), (-1000, 3000)),
            ((RAMP * 1_000_000).astype("int32"), (0, 1_000_000)),
            ((RAMP * 4000 - 1024).astype("int32"), (-1024, 2976)),
        ],
    )
    def test_a_range_that_the_file_does_not_say_is_asked_for(self, values, limits):
        for raw in (encoded(PILImage.fromarray(values), "TIFF"), values):
            with pytest.raises(DataError, match=r"from -?\d.*range=\(low, high\)"):
                pm.Image().read(raw)
            assert levels(raw, range=limits) == 256
            assert levels(raw, range=limits[::-1]) == 256

    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
    def test_16_bits_are_scaled_by_their_full_range(self, kind):
        values = (RAMP * 65535).astype("uint16")
        stored = pm.Image(size=64, channels=1).read(encoded(PILImage.fromarray(values), kind))
        assert stored.min() == 0
        assert stored.max() == 255
        assert levels(values) == 256
        assert levels((RAMP * 4095).astype("uint16"), range=(0, 4095)) == 256
        assert levels(RAMP) == levels(RAMP.astype("float32")) == 256

    def test_texts_of_any_length_in_a_png_are_no_hindrance(self):
        notes = PngInfo()
        for _ in range(3):
            notes.add_text("workflow", "{node} " * 400_000, zip=True)
        picture = PILImage.new("RGB", (8, 8), "red")
        assert (pm.Image(8).read(encoded(picture, pnginfo=notes))[0] == 255).all()
        turned = PngInfo()
        turned.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="3"/>')
        half = PILImage.fromarray(np.repeat([[0, 255]], 2, 0).astype("uint8"))
        assert pm.Image(2, 1).read(encoded(half, pnginfo=turned))[0, 0].tolist() == [255, 0]

    def test_a_program_is_never_started(self, tmp_path, monkeypatch):
        (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
        (tmp_path / "gs").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        (tmp_path / "cat.png").write_bytes(encoded(PILImage.new("RGB", (8, 8)), "EPS"))
        with pytest.raises(DataError, match="not a picture"):
            pm.Image().read(tmp_path / "cat.png")
        assert not (tmp_path / "started").exists()

    @pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
    def test_every_size_fits(self, fit):
        for side in range(1, 130):
            for size in ((side, 97), (97, side), (side * 7 + 1, 64)):
                assert pm.Image(size=(24, 16), fit=fit).read(PILImage.new("L", size)).shape == (3, 24, 16)

    def test_nothing_is_cut_off_unless_told(self):
        tall = PILImage.new("RGB", (10, 30), "red")
        tall.paste("blue", (0, 0, 10, 10))
        assert (pm.Image(30).read(tall)[2, :10, 12:18] == 255).all()

    def test_a_ceiling_names_its_option(self, monkeypatch):
        with pytest.raises(DataError, match=r"over 50 pixels; max_pixels can be set higher: 8 x 8"):
            pm.Image(max_pixels=50).read(encoded(PILImage.new("L", (8, 8))))
        monkeypatch.setattr(pm.modalities.Modality, "most_bytes", 5)
        with pytest.raises(DataError, match=r"has [\d,]+ bytes; Modality\.most_bytes = 5"):
            pm.Image().read(__import__("pathlib").Path(__file__))

    def test_drawings(self, tmp_path):
        pytest.importorskip("resvg_py")
        head = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 10">'
        svg = head + b'<rect width="20" height="10" fill="red"/></svg>'
        stored = pm.Image(size=16).read(svg)
        assert (stored[:, 6:10] == np.array([255, 0, 0])[:, None, None]).all()
        assert (stored[:, :3] == 255).all()
        PILImage.new("RGB", (4, 4)).save(tmp_path / "secret.png")
        for place in (f"{tmp_path}/secret.png", "secret.png", f"file://{tmp_path}/secret.png"):
            with pytest.raises(DataError, match="refers to another file"):
                pm.Image().read(svg.replace(b"<rect", f'<image href="{place}" width="9" height="9"/><rect'.encode()))
        with pytest.raises(DataError, match="cannot draw the SVG"):
            pm.Image().read(svg[:60] + b"<svg")


class TestMedicalPictures:
    def dicom(self, values: np.ndarray, **tags) -> bytes:
        pydicom = pytest.importorskip("pydicom")
        meta = pydicom.dataset.FileMetaDataset()
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        image = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
        given = {
            "SOPClassUID": meta.MediaStorageSOPClassUID,
            "SOPInstanceUID": "1.2.3",
            "Rows": values.shape[0],
            "Columns": values.shape[1],
            "BitsAllocated": 16,
            "BitsStored": 12,
            "HighBit": 11,
            "PixelRepresentation": 0,
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "PixelData": values.astype("<u2").tobytes(),
        }
        for name, value in (given | tags).items():
            setattr(image, name, value)
        file = io.BytesIO()
        image.save_as(file, enforce_file_format=True)
        return file.getvalue()

    def test_dicom(self):
        values = RAMP * 4095
        assert levels(self.dicom(values)) == 256
        inverse = pm.Image(64, 1).read(self.dicom(values, PhotometricInterpretation="MONOCHROME1"))
        assert inverse[0, 0, 0] == 255
        ct = {"RescaleSlope": 1, "RescaleIntercept": -1024}
        assert pm.Image(64, 1, range=(-1000, 0)).read(self.dicom(values, **ct))[0, 30, 0] == 255
        assert (pm.Image(64, 1).read(self.dicom(values, WindowCenter=100, WindowWidth=50))[0, 2:] == 255).all()

    def test_nifti(self):
        nibabel = pytest.importorskip("nibabel")
        volume = np.zeros((20, 30, 11), np.float32)
        volume[..., 5] = np.linspace(-500, 500, 600).reshape(20, 30)
        content = nibabel.Nifti1Image(volume, np.eye(4)).to_bytes()
        for raw in (content, gzip.compress(content), nibabel.Nifti2Image(volume, np.eye(4)).to_bytes()):
            stored = pm.Image((30, 20), 1, range=(-500, 500)).read(raw)
            assert stored[0, -1, 0] == 0
            assert stored[0, 0, -1] == 255
            with pytest.raises(DataError, match="range="):
                pm.Image().read(raw)

    def test_broken_ones_and_missing_packages(self, monkeypatch):
        dicom, nifti = bytes(128) + b"DICM" + b"junk" * 9, bytes(344) + b"n+1\0" + bytes(99)
        for raw in (dicom, nifti, gzip.compress(b"x" * 100)):
            with pytest.raises(DataError):
                pm.Image().read(raw)
        for name in ("pydicom", "nibabel"):
            monkeypatch.setitem(__import__("sys").modules, name, None)
        for raw in (dicom, nifti):
            with pytest.raises(DataError, match=r"pip install 'polymodal\[medical\]'"):
                pm.Image().read(raw)


class TestSound:
    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000])
    def test_a_wav_that_was_written_to_a_pipe(self, size, tmp_path):
        body = (10_000 * tone()).astype("<i2").tobytes()
        head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16) + b"LIST\x05\0\0\0abcde\0data"
        content = b"RIFF" + struct.pack("<I", size) + head + struct.pack("<I", size) + body
        (tmp_path / "a.wav").write_bytes(content)
        for raw in (content, tmp_path / "a.wav"):
            np.testing.assert_array_equal(pm.Audio().samples(raw), np.frombuffer(body, "<i2") / np.float32(32768))

    def test_what_no_recording_has_is_refused_before_memory_is_taken(self):
        for rate, channels, reason in ((2**31, 1, "Hz; above 0, and at most 768,000"), (8000, 999, "999 channels")):
            form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate, 2 * channels % 65536, 16)
            content = b"WAVEfmt " + form + b"data" + struct.pack("<I", 4000) + bytes(4000)
            with pytest.raises(DataError, match=rf"{reason}|not readable as audio"):
                pm.Audio().read(b"RIFF" + struct.pack("<I", len(content)) + content)
        loud = io.BytesIO()
        soundfile.write(loud, 1e20 * tone(), 16_000, format="WAV", subtype="FLOAT")
        with pytest.raises(DataError, match="full scale is 1"):
            pm.Audio().read(loud.getvalue())

    @pytest.mark.parametrize(("kind", "codec"), [("ipod", "aac"), ("adts", "aac"), ("webm", "libopus")])
    def test_what_only_ffmpeg_reads(self, kind, codec):
        av = pytest.importorskip("av")
        file, rate = io.BytesIO(), 48_000
        with av.open(file, "w", format=kind) as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            frame = av.AudioFrame.from_ndarray(tone(1.0, rate).astype("float32")[None], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
            for packet in (*stream.encode(frame), *stream.encode(None)):
                container.mux(packet)
        samples = pm.Audio().samples(file.getvalue())
        assert abs(len(samples) - 16_000) < 1600
        assert abs(np.abs(np.fft.rfft(samples)).argmax() / len(samples) * 16_000 - 440) < 5
        with pytest.raises(DataError, match=r"max_seconds=0\.5"):
            pm.Audio(max_seconds=0.5).read(file.getvalue())
        with pytest.raises(DataError):
            pm.Audio().read(file.getvalue()[:50])

    def test_the_package_that_is_missing_is_named_and_its_file_is_tried_again(self, monkeypatch, tmp_path):
        (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\2\0" + bytes(200))
        (tmp_path / "rows.jsonl").write_text('{"speech": "a.m4a", "said": "a"}\n')
        fields = {"speech": pm.Audio(), "said": pm.Text()}
        with monkeypatch.context() as patch:
            patch.setitem(__import__("sys").modules, "av", None)
            data = pm.load(tmp_path / "rows.jsonl", fields, cache=tmp_path / "cache", validation=0, test=0)
            assert "pip install 'polymodal[av]'" in data.bad_cells[0].reason
        if importlib.util.find_spec("av"):
            from polymodal.data import cache

            patch.setattr(cache, "_built", set())  # as in another process
            data = pm.load(tmp_path / "rows.jsonl", fields, cache=tmp_path / "cache", validation=0, test=0)
            assert "not readable as audio" in data.bad_cells[0].reason


class TestNumbers:
    def test_of_any_scale_and_far_from_zero(self):
        numbers = np.random.default_rng(0).normal(size=(200, 5)) * [1e-9, 1e-300, 1.0, 0, 1e30] + [0, 0, 1.7e9, 5, 0]
        numbers[:, 2] = 1.7e9 + np.arange(200)
        vector = pm.Vector(5)
        vector.prepare(numbers)
        value = vector.to_model(torch.from_numpy(np.stack([vector.read(row) for row in numbers])))
        np.testing.assert_allclose(value.std(0, correction=0)[[0, 1, 2, 4]], 1, rtol=1e-4)
        assert (value[:, 3] == 0).all()
        back = np.stack([vector.write(row) for row in value])
        np.testing.assert_allclose(back, numbers, rtol=1e-5)
        assert np.abs(back - numbers)[:, 2].max() < 0.01
        assert len(np.unique(back[:, 2])) == 200

    def test_what_is_no_vector(self):
        for raw, reason in [
            ([1.0, None, 2.0], "number 1 of the vector is not finite"),
            ([1e39, 0, 0], "number 0 of the vector is 1e+39, beyond 32 bits"),
            ("[1. ... 3.]", "is not a vector"),
            (np.zeros(3, complex), "is not a vector"),
            (np.zeros(3, "M8[s]"), "is not a vector"),
        ]:
            with pytest.raises(DataError, match=reason.replace("+", r"\+")):
                pm.Vector(3).read(raw)
        head = "{'descr': '<f8', 'fortran_order': False, 'shape': (%d,), }"
        for size, reason in ((10**12, "size 3 wants"), (3, "ends too early")):
            claims = b"\x93NUMPY\x01\x00\x76\x00" + (head % size).encode().ljust(117) + b"\n"
            with pytest.raises(DataError, match=reason):
                pm.Vector(3).read(claims)

    def test_whole_numbers_are_the_names_of_classes(self):
        for cells in ([2.0, 0.0, 1.0], ["2.0", "0.0", "1.0"], [np.float32(2), 0, 1]):
            label = pm.Label()
            label.prepare(cells)
            assert label.names == ["0", "1", "2"]
            assert [int(label.read(cell)[0]) for cell in cells] == [2, 0, 1]
        versions = pm.Label()
        versions.prepare(["1.0", "1.1"])
        assert versions.names == ["1.0", "1.1"]
        assert versions.read("1.0").tolist() == [0]
