"""Series: what is read of each form and refused, at which rate, and a real recording."""

import json
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import ConfigError, DataError
from polymodal.data import infer_fields
from polymodal.data.cells import Digests
from polymodal.modalities import kind_of
from polymodal.modalities.traces import Trace, resample

WAVE = np.stack([40 + np.sin(np.arange(60) / 4), np.arange(60) / 10], 1)


def plain(**arguments):
    return pm.Series(**{"channels": 2, "max_seconds": 10.0, "rate_hz": 10.0, "mean": 0.0, "std": 1.0} | arguments)


def test_every_form_reads_as_the_same(tmp_path):
    series, expected = plain(), WAVE.astype(np.float32)
    Trace(WAVE, 10.0).save(tmp_path / "a.csv")
    Trace(WAVE, 10.0).save(tmp_path / "a.npy")
    lines = [f"{i / 10}\t{a}\t{b}" for i, (a, b) in enumerate(WAVE)]
    (tmp_path / "b.csv").write_text("\n".join(["Time [s]\tx\ty", *lines]) + "\n\n", encoding="utf-8-sig")
    (tmp_path / "c.csv").write_text("\n".join(f"{a} {b}" for a, b in WAVE))
    forms = [
        WAVE, WAVE.tolist(), json.dumps(WAVE.tolist()), torch.tensor(WAVE), (WAVE, 10), Trace(WAVE, 10.0),
        {"array": WAVE, "sampling_rate": 10}, *sorted(tmp_path.iterdir()),
    ]  # fmt: skip
    for raw in forms:
        np.testing.assert_array_equal(series.read(raw), expected, err_msg=str(raw)[:60])
    flat = plain(channels=1)
    np.testing.assert_array_equal(flat.read(WAVE[:, 0]), flat.read(WAVE[:, :1]))
    assert flat.read([5]).shape == (1, 1)


def test_other_rates_are_resampled():
    """A slow wave stays itself, a fast one is no alias of a slow one, and a level rings at neither end."""
    times = np.arange(1000) / 100
    slow, fast = 500 + np.sin(2 * np.pi * times), np.sin(2 * np.pi * 11 * times)
    made = plain(channels=3, max_seconds=10, rate_hz=10.0).read((np.stack([slow, fast, 0 * slow + 7e5], 1), 100))
    assert made.shape == (100, 3)
    assert np.abs(made[:, 0] - (500 + np.sin(2 * np.pi * np.arange(100) / 10))).max() < 0.1
    assert np.abs(made[5:-5, 1]).max() < 0.1
    assert (made[:, 2] == 7e5).all()
    there = resample(resample(slow[:, None], 100, 250, 2500), 250, 100, 1000)
    assert np.abs(there[20:-20, 0] - slow[20:-20]).max() < 1e-3


def test_uneven_times_are_made_even():
    times = np.cumsum(np.random.default_rng(0).uniform(0.05, 0.15, 50))
    text = "\n".join(["t,v", *(f"{t},{3 * t}" for t in times)]).encode()
    read = plain(channels=1).read(text)[:, 0]
    assert np.abs(np.diff(read, 2)).max() < 0.02  # a line stays one


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (np.zeros((2, 60)), r"shape \(2, 60\); \(steps, 2\) is right; its transpose is"),
        (np.zeros((60, 3)), r"shape \(60, 3\)"),
        (np.zeros((0, 2)), "no steps"),
        ([[1, 2], [3, None]], "step 1 of channel 1 is nan, and no measurement"),
        ([[1, 2], [np.inf, 1]], "step 1 of channel 0 is inf"),
        ([[1, 2], [1e300, 1]], "beyond 32 bits"),
        ([[1, 2], [3]], "one number for each channel"),
        ([["a", "b"]], "no series of numbers"),
        (np.zeros((101, 2)), r"10.10 s long; at most max_seconds=10"),
        (b"t,a,b\n0,1,2\n0.1,,3\n", "step 1 of channel 0 is nan"),
        (b"t,a,b\n0,1,2\n0,2,3\n", "do not rise"),
        (b"t,a,b\n0,1,2\n1,2\n", "line 3 of the series has 2 numbers"),
        (b"1,2\n3,x\n", "line 2 of the series holds '3,x'"),
        (b"t,a,b\n", "no steps"),
        (b"\xff\xfe", "no UTF-8"),
        (b"\x93NUMPY\x01\x00broken", "not a .npy file"),
        ((np.zeros((5, 2)), 0), "a rate of 0 Hz"),
        ((np.zeros((5, 2)), "fast"), "is not a series"),
        (Path("nothing.hea"), "not a WFDB record"),
    ],
)
def test_what_is_refused_says_why(raw, reason):
    with pytest.raises(DataError, match=reason):
        plain().read(raw)


def test_a_claim_of_an_hour_is_refused_before_memory_is_taken(tmp_path):
    with open(tmp_path / "hour.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 2)})
    with pytest.raises(DataError, match="s long; at most max_seconds=10"):
        plain().read(tmp_path / "hour.npy")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"channels": 0}, "channels"), ({"rate_hz": 0}, "rate_hz"), ({"max_seconds": -1}, "max_seconds"),
     ({"max_seconds": 1e9}, "max_seconds"), ({"std": [1.0, 0.0]}, "std"), ({"mean": [1.0]}, "mean")],
)  # fmt: skip
def test_wrong_arguments(arguments, word):
    with pytest.raises(ConfigError, match=f"^{word}: "):
        plain(**arguments)


def test_channels_are_standardised_by_the_training_rows(tmp_path):
    """A level of 1e9 loses no digit of a deviation of 1; a channel that is constant stays; bad cells are left out."""
    random = np.random.default_rng(0)
    rows = [{"s": np.stack([1e9 + random.normal(size=n), np.full(n, 3.0)], 1), "split": "train"} for n in (40, 60, 80)]
    rows += [{"s": np.full((50, 2), 1e12), "split": "test"}, {"s": [[1, None]], "other": 1, "split": "train"}]
    data = pm.load(rows, {"s": plain(mean=None, std=None), "other": pm.Vector(1)}, cache=tmp_path, validation=0)
    (bad,) = data.bad_cells
    assert (bad.field, "no measurement" in bad.reason) == ("s", True)
    values = np.concatenate([row["s"] for row in rows[:3]])
    assert data.fields["s"].mean == pytest.approx([values[:, 0].mean(), 3.0], abs=1e-6)
    assert data.fields["s"].std == pytest.approx([values[:, 0].std(), 1.0], rel=1e-9)
    batch = data.train.decode(data.train.batch(np.arange(len(data.train))))["s"]
    assert batch.value[:, 0][batch.mask].mean().abs() < 1e-5
    assert batch.value[:, 1].abs().max() == 0
    np.testing.assert_allclose(data.train[0]["s"].values, rows[0]["s"], atol=1e-6)


def test_columns_that_are_series(tmp_path):
    random = np.random.default_rng(0)
    lengths = random.integers(20, 60, 12)
    rows = []
    for number, length in enumerate(lengths):
        values = random.normal(size=(length, 3))
        Trace(values, 50.0).save(tmp_path / f"{number}.csv")
        np.save(tmp_path / f"{number}.npy", values[:, 0])
        rows.append({
            "lists": values.tolist(), "flat": values[:, 0].tolist(), "text": json.dumps(values.tolist()),
            "file": f"{number}.csv", "array": f"{number}.npy", "fixed": values[:8, 0].tolist(),
        })  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = infer_fields(tmp_path / "rows.jsonl", tmp_path / "cache")
    assert {name: kind_of(field) for name, field in fields.items()} == dict.fromkeys(rows[0], "series") | {
        "fixed": "vector"
    }
    assert {name: fields[name].channels for name in ("lists", "flat", "file")} == {"lists": 3, "flat": 1, "file": 3}
    assert fields["file"].rate_hz == 50
    assert fields["file"].max_seconds == pytest.approx(1.2)
    assert any("a step as a second" in note for note in fields.notes)
    assert not pm.load(tmp_path / "rows.jsonl", fields, cache=tmp_path / "cache").bad_cells


class TestWfdb:
    @pytest.fixture
    def record(self, tmp_path):
        wfdb = pytest.importorskip("wfdb")

        def write(folder, values):
            (tmp_path / folder).mkdir()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the package lags behind pandas
                wfdb.wrsamp(
                "rec", fs=10, units=["mV", "mV"], sig_name=["I", "II"], p_signal=values, fmt=["16", "16"],
                write_dir=str(tmp_path / folder),
            )  # fmt: skip
            return tmp_path / folder / "rec.hea"

        return write

    def test_is_read_in_its_units(self, record):
        read = plain().read(record("a", WAVE))
        assert np.abs(read - WAVE).max() < 1e-3

    def test_is_named_by_its_signals_too(self, record, tmp_path):
        """Two records whose headers agree are not the same, and a header names no file of another folder."""
        first, second = record("a", WAVE), record("b", WAVE)
        digests = Digests(tmp_path / "cache")
        assert digests.of(first, plain()) == digests.of(second, plain())
        signal = second.with_suffix(".dat")
        signal.write_bytes(bytes(reversed(signal.read_bytes())))
        assert digests.of(first, plain()) != digests.of(second, plain())
        signal.unlink()
        signal.symlink_to("../a/rec.dat")
        with pytest.raises(DataError, match="not in its folder"):
            plain().read(second)

    def test_too_long_is_refused_by_the_header(self, record):
        header = record("a", WAVE)
        header.write_text(header.read_text().replace("rec 2 10 60", "rec 2 10 900000000"))
        with pytest.raises(DataError, match=r"90000000\.00 s long"):
            plain().read(header)


@pytest.mark.skipif(find_spec("heartpy") is None, reason="needs heartpy")
def test_a_real_recording_of_a_pulse(tmp_path):
    """Ten seconds of a photoplethysmogram at 100 Hz, as a package ships it: read, halved in rate, its beats counted."""
    folder = Path(find_spec("heartpy").submodule_search_locations[0]) / "data"
    series = pm.Series(1, max_seconds=30, rate_hz=50)
    pulse = np.loadtxt(folder / "data.csv", skiprows=1)
    series.prepare([(pulse, 100)])
    stored = series.read((pulse, 100))
    assert len(stored) == round(len(pulse) / 2)

    def beats(values, rate):
        power = np.abs(np.fft.rfft(values - values.mean()))
        hertz = np.fft.rfftfreq(len(values), 1 / rate)
        band = (hertz > 0.7) & (hertz < 3)
        return 60 * hertz[band][power[band].argmax()]

    trace = series.write(series.to_model(torch.tensor(stored[None]))[0])
    assert beats(trace.values[:, 0], 50) == pytest.approx(beats(pulse, 100), abs=3)
    assert 40 < beats(pulse, 100) < 140
    assert np.corrcoef(trace.values[: len(pulse[::2]), 0], pulse[::2])[0, 1] > 0.999
    assert series.preview(trace).count("<polyline") == 1
    assert series.thumbnail(trace, 64).size == (64, 64)
