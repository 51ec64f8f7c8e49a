"""Results of directions: kept, resumed, shared among processes, and always the same."""

import json

import pytest

import polymodal as pm
from polymodal.errors import ConfigError
from polymodal.evaluation import Judge, all_directions, evaluate
from polymodal.evaluation.scorecard import distribution_metrics
from polymodal.evaluation.scorecard.direction_result import DirectionResult

FEW = [(("name",), "picture"), (("picture",), "name"), (("name", "place"), "colour"), (("name",), "place")]


@pytest.fixture(scope="module")
def model(trained):
    return pm.open(trained).model


@pytest.fixture(scope="module")
def rows(trained):
    return pm.open(trained).data().train


@pytest.fixture(scope="module")
def judge(rows):
    return Judge.train(rows, fields=["picture", "name"], steps=20, batch_size=12, width=32)


@pytest.fixture
def score(model, rows, judge):
    def call(**options):
        options = {"directions": FEW, "n_rows": 12, "samples": 3, "codecs": True} | options
        return evaluate(model, rows, judge=judge, training=rows, **options)

    return call


def test_every_subset_is_a_direction(model):
    directions = all_directions(model)
    assert len(directions) == len(set(directions)) == 5 * (2**4 - 1)
    few = all_directions(model, most=6)
    assert len(few) == 5 * 6
    of_picture = [inputs for inputs, to in few if to == "picture"]
    assert of_picture[:4] == [("name",), ("tone",), ("colour",), ("place",)]
    assert of_picture[-1] == ("name", "tone", "colour", "place")
    assert all_directions(model, most=6, seed=1) != few


def test_what_was_stopped_goes_on_and_ends_the_same(score, tmp_path):
    whole = score(directions=FEW[:3])

    def stop(place, count, name):
        assert count == 3 + 2  # the codecs of picture and tone
        if place == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(folder=tmp_path, progress=stop, directions=FEW[:3])
    kept = sorted(tmp_path.glob("*.json"))
    assert len(kept) == 2
    times = [file.stat().st_mtime_ns for file in kept]
    seen = []
    again = score(folder=tmp_path, progress=lambda *told: seen.append(told[2]), directions=FEW[:3])
    begun = [name for name in seen if ": " not in name]  # the others say how far one of them is
    assert begun == ["name + place → colour", "codec of picture", "codec of tone"]
    assert any(name.startswith("name + place → colour: generates ") for name in seen)
    assert [file.stat().st_mtime_ns for file in kept] == times
    assert again.to_json() == whole.to_json()
    assert [sample.remark for sample in again.samples["name → picture"]] == [
        sample.remark for sample in whole.samples["name → picture"]
    ]


@pytest.mark.parametrize("broken", ["{", "{}", "[]"])
def test_a_broken_result_is_measured_again(score, tmp_path, broken):
    options = {"folder": tmp_path, "directions": FEW[1:3], "codecs": False}
    whole = score(**options)
    first, second = (tmp_path / f"{name}.json" for name in whole.files.values())
    first.write_text(broken)
    second.with_suffix(".safetensors").write_bytes(b"cut")
    assert score(**options).to_json() == whole.to_json()


def test_files_are_named_by_all_that_matters(score, tmp_path):
    files = set(score(folder=tmp_path, directions=FEW[:1], codecs=False).files.values())
    for change in ({"seed": 1}, {"n_rows": 5}, {"n_samples": 2}, {"options": {"picture": {"steps": 1}}}):
        other = score(folder=tmp_path, directions=FEW[:1], codecs=False, **change)
        assert files.isdisjoint(other.files.values()), change
        files |= set(other.files.values())


def test_processes_share_the_work_and_give_the_same(score, tmp_path):
    few = {"directions": FEW[1:3], "codecs": False}
    assert score(folder=tmp_path, workers=2, **few).to_json() == score(**few).to_json()


def test_each_direction_has_every_aspect(score, monkeypatch):
    monkeypatch.setattr(distribution_metrics, "FEWEST_ROWS", 15)
    card = score(n_samples=2, n_rows=30, directions=FEW[:3])
    aspects = {score.aspect for score in card.scores if score.direction == "name → picture"}
    assert aspects == {"coherence", "quality", "diversity", "memorisation"}
    metrics = {score.metric for score in card.scores if score.direction == "name → picture"}
    assert {"kernel distance", "precision", "recall", "spread of an input's samples"} <= metrics
    perplexity = card.score("picture", "name", "perplexity")
    assert 1 < perplexity.low <= perplexity.value <= perplexity.high
    assert card.score(["name", "place"], "colour", "class share distance").ceiling >= 0
    assert {(score.output, score.metric.split(",")[0]) for score in card.parts} >= {
        ("picture", "SSIM"),
        ("picture", "PSNR"),
        ("tone", "mel-cepstral distortion"),
        ("tone", "log-spectral distance"),
        ("picture", "linear probe of colour"),
    }
    for score_ in (*card.scores, *card.parts):
        assert score_.low <= score_.value <= score_.high, score_
    json.loads(card.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_result_is_kept_whole(score, tmp_path):
    card = score(folder=tmp_path, directions=FEW[:1], codecs=False)
    file = tmp_path / f"{card.files['name → picture']}.json"
    result = DirectionResult.load(file)
    assert result.inputs == ("name",)
    assert len(result.picks) == len(result.made) == 3
    assert result.results[0].metric == "judge's top-1"
    assert result.results[0].values.mean() == pytest.approx(card.score("name", "picture").value)
    assert DirectionResult.load(tmp_path / "nothing.json") is None
    document = json.loads(file.read_text())
    document["outcomes"] = document.pop("results")  # of earlier versions, which did not say which axis varies either
    del document["varies"]
    file.write_text(json.dumps(document))
    old = DirectionResult.load(file, samples=False)
    assert [metric.metric for metric in old.results] == [metric.metric for metric in result.results]
    assert old.made is None
    assert DirectionResult.load(file) is None


def test_wrong_settings_are_refused(score):
    for name in ("n_rows", "n_samples", "samples"):
        with pytest.raises(ConfigError, match=f"{name}: 0 is not at least 1"):
            score(**{name: 0})
    with pytest.raises(ConfigError, match="directions: 'picture' has no inputs"):
        score(directions=[((), "picture")])
