"""What is trained before the model, and the minutes that it takes."""

import numpy as np
import pytest

import polymodal as pm
from polymodal.checkpoint import newest
from polymodal.config import load_recipe
from polymodal.model import Model
from polymodal.resolution import resolve
from polymodal.training.engines import DataParallel
from polymodal.training.pretraining import pretrain

LEARNS = {"kind": "kl", "latent": 2, "channels": [4], "patch": 2}
MINUTES, SHARE = 0.04, 0.4


def pretrained(run, *codecs):
    """The share that is left to the model, and the seconds that the codec of each picture took."""
    names = [f"picture{number}" for number in range(len(codecs))]
    pictures = np.random.default_rng(0).integers(0, 256, (8, 8, 8, 3)).astype(np.uint8)
    data = pm.load([dict.fromkeys(names, picture) for picture in pictures], dict.fromkeys(names, pm.Image(8)))
    head = {"kind": "flow", "hidden_size": 16, "depth": 1, "heads": 2}
    fields = {
        name: {"modality": "image", "size": 8, "head": head, "codec": codec}
        for name, codec in zip(names, codecs, strict=True)
    }
    train = {"minutes": MINUTES, "clock": "processor", "codec_share": SHARE, "codec_batch_size": 10**7}
    recipe = resolve(load_recipe({"width": 16, "fields": fields, "train": train}), data.fields)
    share = pretrain(Model(recipe, data.fields), data.train, run, DataParallel("no"), print_progress=False)
    states = [newest(stage).document("trainer/state") for stage in sorted(run.glob("codecs/*"))]
    return share, [state["seconds"] for state in states]


def test_each_codec_has_its_part_and_that_of_one_that_comes_trained_is_the_model_s(tmp_path):
    left, seconds = pretrained(tmp_path / "both", LEARNS, LEARNS)
    assert left == pytest.approx(1 - SHARE)
    assert len(seconds) == 2
    left, [alone] = pretrained(tmp_path / "one", LEARNS, {"kind": "trained"})
    assert left == pytest.approx(1 - SHARE / 2)
    for spent in (*seconds, alone):  # the last step may end late
        assert 60 * MINUTES * SHARE / 2 <= spent < 60 * MINUTES * SHARE * 0.9
    assert pretrained(tmp_path / "none", {"kind": "trained"}) == (1, [])


def test_a_step_of_more_rows_than_teach_anything_is_refused(tmp_path):
    rows = [{"colour": "red", "number": 1.0}] * 8
    with pytest.raises(pm.ConfigError, match=r"^train\.batch_size: 10,000,000 rows .* 1,024 are right"):
        pm.fit({"width": 16}, rows, run=tmp_path / "run", set={"train.batch_size": 10**7})
    assert not (tmp_path / "run").exists()
