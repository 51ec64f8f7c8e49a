"""A recipe with a vocoder: it is trained, saved, opened, and speaks; Griffin-Lim stays where there is none."""

from copy import deepcopy
from typing import ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import polymodal as pm
from polymodal.checkpoint import find
from polymodal.cli.main import main
from polymodal.config import load_recipe
from polymodal.modalities import Audio
from polymodal.vocoders import VOCODERS, Vocoder
from polymodal.yaml_text import parse_override

VOCODER = {"kind": "istft", "width": 8, "depth": 1, "intermediate_size": 16, "crop_frames": 4}


@pytest.fixture(scope="module")
def spoken(world, recipe, tmp_path_factory) -> pm.Generator:
    """A run of the tiny world's names and tones, with an adversary for the vocoder."""
    own = deepcopy(recipe)
    own["fields"] = {name: own["fields"][name] for name in ("name", "tone")}
    own["defaults"]["audio"]["vocoder"] = {**VOCODER, "adversarial": 0.1}
    settings = {"train.steps": 4, "train.vocoder_steps": 6, "train.vocoder_batch_size": 4}
    return pm.fit(own, world / "rows.jsonl", run=tmp_path_factory.mktemp("runs") / "spoken", set=settings)


def test_the_model_speaks_by_its_vocoder_and_the_data_by_griffin_lim(spoken):
    model = spoken.model
    made = spoken.generate({"name": "red disc"}, to="tone", seed=1)["tone"][0]
    assert len(made) % 64 == 0
    assert spoken.fields["tone"].vocoder is model.vocoders["tone"]
    own = spoken.data().test.fields["tone"]
    assert isinstance(own, Audio)
    assert own.vocoder is None
    assert not any(parameter.requires_grad for parameter in model.vocoders.parameters())


def test_a_run_opened_elsewhere_needs_nothing_else(spoken, tmp_path):
    copy = pm.Generator.from_pretrained(spoken.save_pretrained(tmp_path / "copy"))
    for opened in (pm.open(spoken.run), copy):
        for seed in (0, 1):
            real = spoken.generate({"name": "blue square"}, to="tone", seed=seed)["tone"][0]
            again = opened.generate({"name": "blue square"}, to="tone", seed=seed)["tone"][0]
            np.testing.assert_array_equal(again.samples, real.samples)


def test_training_moves_it_and_resuming_changes_nothing(spoken, world):
    metrics = (spoken.run / "vocoders" / "tone" / "metrics.jsonl").read_text().splitlines()
    assert '"critic.loss"' in metrics[-1]
    assert '"spectrum"' in metrics[-1]
    again = pm.fit(spoken.model.recipe, world / "rows.jsonl", run=spoken.run)
    for one, other in zip(again.model.vocoders.parameters(), spoken.model.vocoders.parameters(), strict=True):
        assert one.equal(other)


def test_scores_hear_the_vocoder(spoken):
    rows = spoken.data().test
    own = rows.written_by(spoken.fields)
    assert own.fields["tone"].vocoder is not None
    assert rows.fields["tone"].vocoder is None
    index = int(np.flatnonzero(rows.present["tone"])[0])
    assert len(own[index]["tone"]) == len(rows[index]["tone"])
    assert not np.array_equal(own[index]["tone"].samples, rows[index]["tone"].samples)


def test_info_names_it(spoken, capsys):
    assert main(["info", str(spoken.run)]) == 0
    shown = capsys.readouterr().out
    assert "vocoders" in shown
    assert "istft" in shown


def test_what_does_not_fit_is_said(world, recipe, tmp_path):
    own = deepcopy(recipe)
    own["defaults"]["image"]["vocoder"] = VOCODER
    with pytest.raises(pm.ConfigError, match=r"fields\.picture\.vocoder\.kind: 'istft' does not fit"):
        pm.fit(own, world / "rows.jsonl", run=tmp_path / "one")
    own = deepcopy(recipe)
    own["defaults"]["audio"]["vocoder"] = VOCODER
    own["train"] |= {"codec_share": 0.6, "vocoder_share": 0.4}
    with pytest.raises(pm.ConfigError, match="leave the model nothing"):
        pm.fit(own, world / "rows.jsonl", run=tmp_path / "two")


class Sine(Vocoder):
    """A sine whose loudness follows the spectrogram's; it learns nothing."""

    trains = False
    reference: ClassVar = {"place": "here/sine"}

    def __init__(self, audio: Audio):
        super().__init__(audio)
        self.hop = audio.hop_length
        self.cycles = nn.Parameter(torch.tensor(0.1))

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        time = torch.arange(mel.shape[-1] * self.hop)
        return (2 * torch.pi * self.cycles * time).sin() * mel.mean(1).sigmoid().repeat_interleave(self.hop, dim=1)


def test_a_vocoder_that_does_not_learn_is_not_trained_and_not_saved(world, recipe, tmp_path, monkeypatch):
    monkeypatch.setitem(VOCODERS, "sine", Sine)
    own = deepcopy(recipe)
    own["fields"] = {name: own["fields"][name] for name in ("name", "tone")}
    own["defaults"]["audio"]["vocoder"] = {"kind": "sine"}
    run = pm.fit(own, world / "rows.jsonl", run=tmp_path / "run", set={"train.steps": 2})
    assert not (run.run / "vocoders").exists()
    assert not [name for name in load_file(find(run.run).path / "model.safetensors") if name.startswith("vocoders.")]
    heard = [each.generate({"name": "red disc"}, to="tone")["tone"][0].samples for each in (run, pm.open(run.run))]
    np.testing.assert_array_equal(*heard)
    with pytest.raises(pm.ConfigError, match=r"train\.vocoder_from: no field has a vocoder to be replaced"):
        pm.fit(own, world / "rows.jsonl", run=tmp_path / "other", set={"train.vocoder_from": str(run.run)})


def test_an_exported_file_says_who_makes_its_spectrogram_heard(spoken, tmp_path, capsys):
    file = tmp_path / "tone.onnx"
    command = ["export", str(spoken.run), "--direction", "name->tone", "-o", str(file), "--alone"]
    assert main([*command, "--option", "tone.steps=1"]) == 0
    told = capsys.readouterr().out
    assert "tone: the file draws spectrograms; what runs it makes them heard by Griffin and Lim" in told


def test_one_option_gives_a_recipe_another_vocoder():
    option = parse_override("defaults.audio.vocoder.kind=istft")
    plain, own = (load_recipe("any-to-any", options).defaults["audio"] for options in ({}, dict([option])))
    assert plain.vocoder == {"kind": "trained"}
    assert own == plain.model_copy(update={"vocoder": {"kind": "istft"}})


def test_a_run_takes_the_vocoder_of_another(spoken, world, tmp_path):
    own = deepcopy(spoken.model.recipe.model_dump(exclude_unset=True))
    own["train"] |= {"vocoder_from": str(spoken.run), "seed": 7}
    taken = pm.fit(own, world / "rows.jsonl", run=tmp_path / "taken")
    for name, weights in spoken.model.vocoders["tone"].state_dict().items():
        assert taken.model.vocoders["tone"].state_dict()[name].equal(weights)
    assert not (tmp_path / "taken" / "vocoders").exists()
    assert taken.model.heads["tone"].state_dict().keys() == spoken.model.heads["tone"].state_dict().keys()
    opened = pm.open(tmp_path / "taken")
    assert all(
        one.equal(other)
        for one, other in zip(opened.model.vocoders.parameters(), spoken.model.vocoders.parameters(), strict=True)
    )


def test_a_vocoder_that_cannot_be_taken_is_told(spoken, trained, world, recipe, tmp_path):
    def refused(message: str, vocoder: dict | None = VOCODER, source: object = spoken.run, **settings: object) -> None:
        own = deepcopy(recipe)
        if vocoder:
            own["defaults"]["audio"]["vocoder"] = vocoder
        own["train"]["vocoder_from"] = str(source)
        with pytest.raises(pm.PolymodalError, match=message):
            pm.fit(own, world / "rows.jsonl", run=tmp_path / "refused", set=settings)

    refused("no field has a vocoder to be replaced", vocoder=None)
    refused("has no vocoder; it has one if trained with", source=trained)
    refused(r"the vocoder of .* is \{'kind': 'istft'.*give fields\.tone\.vocoder the same", {**VOCODER, "width": 12})
    refused(r"is for n_fft=256; fields\.tone has n_fft=128", **{"fields.tone.n_fft": 128})
    refused("there is no such run folder", source=tmp_path / "nowhere")
    assert not (tmp_path / "refused").exists()
