"""A wrong recipe is refused before anything is built, downloaded, decoded or written."""

import pytest

from polymodal.cli.main import main
from refusals import check_message

WRONG = [
    ("defaults.image.head.deth=3", ("defaults.image.head", "'deth'", "'depth'")),
    ("defaults.image.head.steps=0", ("defaults.image.head.steps", "not 0")),
    ("defaults.image.head.heads=5", ("fields.picture.head.heads: 5", "192")),
    ("defaults.audio.codec.patch=few", ("defaults.audio.codec.patch", "'few'")),
    ("defaults.text.encoder.depth=-1", ("defaults.text.encoder.depth", "not -1")),
    ("defaults.audio.vocoder={kind: istft, width: 0}", ("defaults.audio.vocoder.width", "not 0")),
    ("fusion.heads=0", ("fusion.heads", "not 0")),
    ("alignment.kind=infonse", ("alignment.kind", "'infonse'", "'infonce'")),
    ("train.balance={kind: gradnorm, alpha: -1}", ("train.balance.alpha", "not -1")),
    ("fields.picture={modality: image, size: -3}", ("fields.picture.size", "-3")),
]


@pytest.mark.parametrize(("setting", "parts"), WRONG)
def test_a_wrong_argument_is_told_before_data_are_touched(setting, parts, tmp_path, monkeypatch, capsys):
    cache, run = tmp_path / "cache", tmp_path / "run"
    monkeypatch.setenv("POLYMODAL_CACHE", str(cache))
    command = ["train", "any-to-any", "--data", "emoji", "--set", "train.steps=1", "--set", setting, "-o", str(run)]
    assert main(command) == 2
    check_message(capsys.readouterr().err.removeprefix("polymodal: error: "), *parts)
    assert not cache.exists()
    assert not run.exists()
