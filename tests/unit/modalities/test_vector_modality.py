import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal import ConfigError, DataError, Vector


def test_learns_mean_and_deviation():
    numbers = np.random.default_rng(0).normal([1e6, -2, 5], [1, 3, 0], (500, 3))
    vector = Vector(size=3)
    vector.prepare([*numbers, [1.0], "x", [np.nan, 0, 0]])
    np.testing.assert_allclose(vector.mean, numbers.mean(0), rtol=1e-12)
    np.testing.assert_allclose(vector.std, [*numbers[:, :2].std(0), 1], rtol=1e-9)


def test_standardises_and_back(tmp_path):
    vector = Vector(size=2, mean=[1.0, 2.0], std=[2.0, 4.0])
    value = vector.to_model(torch.from_numpy(vector.read([3.0, 2.0])[None]))
    assert value.tolist() == [[1.0, 0.0]]
    written = vector.write(value[0])
    written.save(tmp_path / "v.npy")
    assert np.load(tmp_path / "v.npy").tolist() == [3.0, 2.0]


@pytest.mark.parametrize(
    "raw", [[1, 2], (1.0, 2.0), np.array([1, 2]), "[1, 2]", "1 2.0", "[1. 2.]", "[1.\n 2.]", "1, 2"]
)
def test_reads(raw):
    assert Vector(size=2).read(raw).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([1, 2, 3], "a vector of shape (3,); size 2 wants (2,)"),
        ([1, float("inf")], "number 1 of the vector is not finite"),
        ("one two", "'one two' (str) is not a vector"),
        ([1, "x"], "[1, 'x'] (list) is not a vector"),
        ([[1], [2, 3]], "[[1], [2, 3]] (list) is not a vector"),
        ({"a": 1}, "{'a': 1} (dict) is not a vector"),
    ],
)
def test_refuses(raw, message):
    with pytest.raises(DataError) as error:
        Vector(size=2).read(raw)
    assert str(error.value) == message


def test_bad_arguments():
    with pytest.raises(ConfigError, match=r"^std: 0\.0 is not above 0$"):
        Vector(size=2, std=0)
    with pytest.raises(ConfigError, match=r"^mean: 3 numbers given; one, or 2 finite ones, are right$"):
        Vector(size=2, mean=[1, 2, 3])
    with pytest.raises(ConfigError, match=r"^size: 0 is not a count of numbers, from 1 to "):
        Vector(size=0)


def test_numbers_far_from_zero_keep_their_digits(tmp_path):
    """Seconds since 1970, a second apart: as 32-bit floats before they are centred, 200 of them would be 2 numbers."""
    seconds = [1.7e9 + k for k in range(200)]
    rows = [{"time": value, "split": "train"} for value in seconds]
    data = pm.load(rows, {"time": {"modality": "vector", "size": 1}}, cache=tmp_path)
    field = data.train.decode(data.train.batch(np.arange(len(data.train))))["time"]
    assert len(set(field.value.flatten().tolist())) == len(data.train) > 150
    again = [float(data.fields["time"].write(value)[0]) for value in field.values()]
    np.testing.assert_allclose(again, [seconds[k] for k in data.train.index], rtol=0, atol=1e-3)
