import pytest
import torch

from polymodal import ConfigError, DataError, Label


def test_names_are_learned_sorted():
    label = Label()
    label.prepare(["dog", "cat", "dog", 3.5, 7])
    assert label.names == ["7", "cat", "dog"]
    assert label.space.vocab == 3
    assert label.read(7).tolist() == [0]
    assert label.write(torch.tensor([2])) == "dog"


def test_given_names_stay():
    label = Label(names=["z", "a"])
    label.prepare(["b"])
    assert label.names == ["z", "a"]


def test_bad_values():
    label = Label(names=["cat", "dog"])
    with pytest.raises(DataError, match=r"^label: 'cta' is unknown; did you mean 'cat'\? \(cat, dog\)$"):
        label.read("cta")
    with pytest.raises(DataError, match=r"^1\.5 \(float\) is not a class name$"):
        label.read(1.5)
    with pytest.raises(ConfigError, match="each named once"):
        Label(names=["a", "a"])
