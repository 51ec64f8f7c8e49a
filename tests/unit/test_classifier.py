"""The classifier of real pictures: it learns, says how well, and comes back from its folder as it was."""

import numpy as np
import pytest
import torch
from PIL import Image

import polymodal as pm
from classifier import Classifier, set_apart
from polymodal.errors import CheckpointError, ConfigError, DataError

SETTINGS = {"epochs": 6, "batch_size": 16, "width": 8, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def rows():
    """Grey pictures with a bright bar that lies or stands, and one row without a label."""
    random = np.random.default_rng(0)
    table = []
    for number in range(160):
        pixels = random.integers(0, 80, (14, 14), dtype=np.uint8)
        place = random.integers(1, 13)
        lies = number % 2 == 0
        pixels[(place, slice(None)) if lies else (slice(None), place)] = 255
        table.append({"picture": Image.fromarray(pixels), "label": "lying" if lies else "standing"})
    table[-1]["label"] = None
    fields = {"picture": pm.Image(size=14, channels=1), "label": pm.Label()}
    return pm.load(table, fields, validation=0.0, test=0.3)


@pytest.fixture(scope="module")
def classifier(rows):
    return Classifier.train(rows.train, rows.test, **SETTINGS)


def pictures(rows):
    return rows.decode(rows.only("picture").batch(np.arange(len(rows))))["picture"]


def test_it_learns_and_knows_how_well(classifier, rows):
    labelled = rows.test.select(rows.test.present["label"])
    assert classifier.classes == ["lying", "standing"]
    assert classifier.accuracy > 0.9
    assert classifier.accuracy == classifier.score(rows.test)
    said = classifier.predict(pictures(labelled))
    right = np.mean([a == b for a, b in zip(said, labelled.column("label"), strict=True)])
    assert right == pytest.approx(classifier.accuracy)


def test_it_does_not_learn_from_what_is_set_apart(rows):
    learned, unseen = set_apart(rows.train, 1 / 4)
    assert sorted([*learned.index, *unseen.index]) == sorted(rows.train.index)
    assert len(unseen) == round(len(rows.train) / 4)


def test_features_are_what_the_classes_are_told_by(classifier, rows):
    shown = pictures(rows.test)
    features = classifier.features(shown)
    assert features.shape == (len(rows.test), classifier.network.classify.in_features)
    assert torch.allclose(classifier.network.classify(features), classifier.logits(shown.value), atol=1e-5)


def test_a_picture_is_judged_alone(classifier, rows):
    value = pictures(rows.test).value
    assert torch.allclose(classifier.logits(value)[3:4], classifier.logits(value[3:4]), atol=1e-5)


def test_the_same_settings_give_the_same_classifier_and_leave_the_random_state(classifier, rows):
    state = torch.random.get_rng_state()
    again = Classifier.train(rows.train, rows.test, **SETTINGS)
    assert again.hash == classifier.hash
    assert torch.equal(torch.random.get_rng_state(), state)


def test_it_is_kept_and_taken_again(classifier, rows, tmp_path):
    classifier.save(tmp_path)
    kept = Classifier.load(tmp_path)
    assert (kept.hash, kept.accuracy, kept.classes) == (classifier.hash, classifier.accuracy, classifier.classes)
    shown = pictures(rows.test)
    assert torch.equal(kept.features(shown), classifier.features(shown))
    before = (tmp_path / "classifier.safetensors").stat().st_mtime_ns
    assert Classifier.train(rows.train, rows.test, **SETTINGS, folder=tmp_path).hash == classifier.hash
    assert (tmp_path / "classifier.safetensors").stat().st_mtime_ns == before
    other = Classifier.train(rows.train, rows.test, **{**SETTINGS, "epochs": 1, "width": 4}, folder=tmp_path)
    assert other.hash != classifier.hash
    assert Classifier.load(tmp_path).hash == other.hash


def test_mistakes_are_told(classifier, rows, tmp_path):
    with pytest.raises(ConfigError, match="classifier: field: 'lable' is unknown; did you mean 'label'"):
        Classifier.train(rows.train, label="lable")
    with pytest.raises(ConfigError, match="field 'label' is no picture but label"):
        Classifier.train(rows.train, picture="label")
    with pytest.raises(ConfigError, match="field 'picture' is no label but image"):
        Classifier.train(rows.train, label="picture")
    with pytest.raises(DataError, match="no row has both 'picture' and 'label' to train on"):
        Classifier.train(rows.train.select(np.array([], dtype=int)))
    with pytest.raises(DataError, match=r"pictures of shape \(3, 14, 14\); it learned from \(1, 14, 14\)"):
        classifier.predict(torch.zeros(1, 3, 14, 14))
    with pytest.raises(CheckpointError, match="holds no classifier that can be read"):
        Classifier.load(tmp_path)
