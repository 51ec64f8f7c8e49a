"""Modalities that the table of kinds does not name are measured, explained and shown by what their space says."""

import json
from functools import cache

import numpy as np
import pytest
import torch
from markupsafe import Markup

import polymodal as pm
from polymodal.errors import ConfigError
from polymodal.evaluation import Judge, evaluate, write_report
from polymodal.evaluation.examiner import Examiner
from polymodal.evaluation.explanation import write_explanation
from polymodal.evaluation.kinds import KINDS, Kind, find_kind
from polymodal.evaluation.scorecard import distribution_metrics
from polymodal.evaluation.scorecard.distribution_metrics import DistributionMetrics
from polymodal.evaluation.scorecard.faults import COPIES, SAME, find_faults
from polymodal.evaluation.scorecard.memorisation import TrainingSet, near_copies
from polymodal.generation import read
from polymodal.modalities import MODALITIES, Modality
from polymodal.modalities.audio import LOG_MEL_SCALE
from polymodal.types import Field, Space

COLOURS = ("red", "green", "blue")


class Points(Modality):
    """Clouds of points, the second axis of which varies."""

    dtype = np.float32

    def __init__(self) -> None:
        self.space = Space("continuous", (3, 12), varies=1)

    def read(self, raw):
        return np.asarray(raw, np.float32)

    def to_model(self, stored):
        return stored.mT

    def write(self, value):
        return value.mT.numpy()


class Video(Modality):
    """Frames, the first axis of whose grid varies."""

    dtype = np.float32

    def __init__(self) -> None:
        self.space = Space("continuous", (1, 5, 6, 6), varies=1)

    def read(self, raw):
        return np.asarray(raw, np.float32)

    def to_model(self, stored):
        return stored.movedim(1, 2)

    def write(self, value):
        return value.movedim(1, 0).numpy()


class Steps(Modality):
    """Sequences of ids of one length."""

    dtype = np.int32
    inline = True

    def __init__(self) -> None:
        self.space = Space("discrete", (4,), vocab=6)

    def read(self, raw):
        return np.asarray(raw, np.int32)

    def to_model(self, stored):
        return stored.long()

    def write(self, value):
        return value.tolist()


@pytest.fixture(scope="module", autouse=True)
def added():
    with pytest.MonkeyPatch.context() as patch:
        for name, modality in {"points": Points, "video": Video, "steps": Steps}.items():
            patch.setitem(MODALITIES, name, modality)
        yield


@pytest.fixture(scope="module")
def data(added):
    """Clouds about a corner, videos that grow brighter or darker, and steps: the colour tells which."""
    random, rows = np.random.default_rng(0), []
    for number in range(90):
        colour = number % len(COLOURS)
        points = np.eye(3)[colour] + 0.1 * random.normal(size=(random.integers(4, 13), 3))
        times = np.arange(random.integers(2, 6))[:, None, None, None]
        video = (colour - 1) * times / 3 + 0.1 * random.normal(size=(len(times), 1, 6, 6))
        steps = [colour, 5, *random.integers(0, 5, 2)]
        split = "train" if number < 60 else "test"
        rows.append({"points": points, "video": video, "steps": steps, "name": COLOURS[colour], "split": split})
    fields = {"points": Points(), "video": Video(), "steps": Steps(), "name": pm.Text(max_length=8)}
    return pm.load(rows, fields, validation=0)


@pytest.fixture(scope="module")
def judge(data):
    return Judge.train(data.train, steps=60, batch_size=16, width=32)


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    fields = {name: {"modality": name} for name in ("points", "video", "steps")}
    fields["name"] = {"modality": "text", "max_length": 8}
    recipe = {"width": 16, "fields": fields, "train": {"steps": 2, "batch_size": 8, "log_every": 1}}
    return pm.fit(recipe, data, run=tmp_path_factory.mktemp("new") / "run")


@cache
def batch_of(rows):
    return rows.decode(rows.batch(np.arange(len(rows))))


def test_nobody_has_named_them():
    assert {find_kind(modality).__class__ for modality in (Points(), Video(), Steps(), pm.Vector(2))} == {Kind}
    assert find_kind(pm.Image()).__class__ is KINDS[pm.Image]
    assert find_kind(type("Photo", (pm.Image,), {})()).__class__ is KINDS[pm.Image]


@pytest.mark.parametrize("to", ["points", "video", "steps"])
def test_a_perfect_generator_reaches_the_ceiling_and_another_row_does_not(data, judge, to):
    rows = data.test
    examiner, batch = Examiner(rows, judge), batch_of(rows)
    perfect, wrong = (
        examiner.measure(rows, ["name"], to, batch, made)[0]
        for made in (batch[to], batch[to].pick(torch.arange(len(rows)).roll(1)))
    )
    assert perfect.metric == ("exact match" if to == "steps" else "judge's top-1")
    assert perfect.values.mean() >= perfect.ceiling > 2 * wrong.values.mean()
    assert examiner.right(to, rows, batch[to], batch[to]).mean() == perfect.values.mean()


@pytest.mark.parametrize("name", ["points", "video"])
def test_padding_is_no_part_of_a_value(data, judge, name):
    """In a longer batch, values look the same to a judge and are as near to training values as alone."""
    real, examiner = batch_of(data.test)[name], Examiner(data.test, judge)
    long = real.pick(torch.tensor([int(real.lengths.argmin())]))
    short, known = long.trim(int(long.lengths.max())), TrainingSet(data.train, examiner)
    assert short.value.shape != long.value.shape
    torch.testing.assert_close(judge.embed(name, short), judge.embed(name, long))
    assert known.nearest(name, short).ratios == pytest.approx(known.nearest(name, long).ratios)


def test_sets_of_them_are_compared_in_the_judge_s_space(data, judge, monkeypatch):
    monkeypatch.setattr(distribution_metrics, "FEWEST_ROWS", 20)
    examiner, real = Examiner(data.test, judge), batch_of(data.test)
    metrics, clusters = DistributionMetrics(examiner, seed=0), np.arange(len(data.test))
    for to in ("points", "video", "steps"):
        names = [result.metric for result in metrics.measure(["name"], to, real[to], [real[to]], clusters)]
        assert names == ["kernel distance", "precision", "recall"]  # there are too few rows for a Fréchet distance


@pytest.mark.parametrize("to", ["points", "video"])
def test_copies_and_constants_are_found(data, judge, to):
    examiner, batch = Examiner(data.test, judge), batch_of(data.test)
    seen = batch_of(data.train)[to].pick(torch.arange(len(data.test)))
    copies, _ = near_copies(TrainingSet(data.train, examiner), to, batch[to], seen)
    constant = batch[to].pick(torch.zeros(len(data.test), dtype=torch.int64))
    for made, fault in ((seen, COPIES), (constant, SAME)):
        found = find_faults(examiner, ["name"], to, batch, made, copies, np.arange(len(made)), 0)
        assert fault in {one.name for one in found}


def test_a_run_is_evaluated_calibrated_and_reported(run, data, judge, tmp_path):
    card = evaluate(run.model, data.test, judge=judge, training=data.train, n_rows=12, samples=2)
    assert {score.output for score in card.scores} == set(data.fields)
    json.loads(card.to_json(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    page = write_report(card, tmp_path / "report.html").read_text()
    assert str(data.fields["steps"].preview(card.samples["points → steps"][0].truth)) in page
    reports = run.calibrate(data.test, judge=judge, cells=40).reports
    assert set(reports) == set(data.fields)


def test_attributions_are_drawn(run, data, tmp_path):
    row = data.test[0]
    explanation = run.explain({name: row[name] for name in ("points", "video", "steps")}, "name", steps=2, draws=1)
    page = write_explanation(run.model, explanation, tmp_path / "page.html").read_text()
    assert page.count("data:image/png") == 3  # gradients of points and of frames, and the attention to points
    steps = read("steps", data.fields["steps"], [3, 5, 1, 0])
    assert find_kind(data.fields["steps"]).pieces(steps) == [("3 ", [0]), ("5 ", [1]), ("1 ", [2]), ("0 ", [3])]
    drawn = find_kind(data.fields["steps"]).draw(steps, torch.tensor([0.0, 1.0, -1.0, 0.5]))
    assert isinstance(drawn, Markup)
    assert drawn.count("<span title") == 4


def test_what_no_encoder_reads_is_told():
    deep = type(
        "Deep", (Points,), {"__init__": lambda self: setattr(self, "space", Space("continuous", (1, 2, 2, 2, 2)))}
    )
    with pytest.raises(ConfigError, match=r"cannot read values of shape \(1, 2, 2, 2, 2\)"):
        find_kind(deep()).encoder(8)


def test_a_vector_needs_no_judge():
    kind, values = find_kind(pm.Vector(2)), torch.tensor([[0.0, 0.0], [1.0, -1.0]])
    real, made = Field.full(values), Field.full(values + torch.tensor([[0.1], [2.0]]))
    (error,) = kind.compare(real, made, ceiling=1.0, chance=0.5)
    assert (error.metric, error.ceiling, error.chance) == ("squared error", 0.0, pytest.approx(0.25))
    assert error.values == pytest.approx([0.01, 4.0])
    assert kind.right(real, made).tolist() == [1, 0]
    assert kind.likeness(real, made) == pytest.approx([np.exp(-0.01), np.exp(-4.0)])


def test_sound_is_compared_and_judged_alike_in_both_of_its_forms():
    forms = [pm.Audio(max_seconds=0.5, mels=64, form=form) for form in ("spectrogram", "samples")]
    random = np.random.default_rng(0)
    clips = [0.1 * random.normal(size=size).astype(np.float32) for size in (6000, 8000)]
    distances = []
    for audio in forms:
        kind, field = find_kind(audio), Field.stack([read("s", audio, clip) for clip in clips])
        quiet = field.value * 0.5 if audio.form == "samples" else field.value - np.log(2) / LOG_MEL_SCALE
        half = field.with_value(quiet)
        distances.append([float(result.values.mean()) for result in kind.reconstruction(field, half, field)])
        tokens = kind.encoder(16)(field)
        assert tokens.mask.sum(1).tolist() == [3, 4]
        assert kind.seen(field).value.shape == (2, 64, 32)  # also where copies are looked for, and fine detail
        drawn = kind.draw(field.pick(torch.tensor([1])), torch.zeros(field.value.shape[1:]))
        assert ("<audio" if audio.form == "samples" else "<img") in drawn
    np.testing.assert_allclose(distances[0], distances[1], rtol=1e-3, atol=1e-5)  # in decibels; halved, 6


def test_copies_of_sound_are_found_whatever_the_phases():
    random, rate = np.random.default_rng(0), 4000
    tones = [np.sin(2 * np.pi * (200 + 90 * n) * np.arange(1600) / rate) for n in range(16)]
    clips = [(0.3 * tone).astype(np.float32) + 0.01 * random.normal(size=1600).astype(np.float32) for tone in tones]
    audio = pm.Audio(sample_rate_hz=rate, max_seconds=0.4, mels=16, n_fft=256, hop_length=64, form="samples")
    rows = pm.load([{"s": clip, "split": "train"} for clip in clips], {"s": audio}, validation=0).train
    shifted = Field.stack([read("s", audio, -clip) for clip in clips])  # sounds the same, and has no number in common
    training = TrainingSet(rows, Examiner(rows, None))
    nearest = training.nearest("s", shifted)
    assert nearest.copies.all()
    assert nearest.rows.tolist() == list(range(16))
