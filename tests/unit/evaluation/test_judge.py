"""The judge: it learns real concepts, is the same every time, and is kept."""

import json

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.errors import CheckpointError, ConfigError, DataError
from polymodal.evaluation import Judge
from polymodal.evaluation.judges import names_of, naming_field

COLOURS = {f"{r} {g} {b}": (r, g, b) for r in (0, 250) for g in (0, 250) for b in (0, 250)}
STEPS = 40


def make_rows(count: int, seed: int, **columns):
    """Noisy pictures of one colour each, named; two coordinates tell the colour too."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        name, colour = list(COLOURS.items())[number % len(COLOURS)]
        pixels = np.clip(np.array(colour) + random.normal(0, 25, (16, 16, 3)), 0, 255).astype(np.uint8)
        row = {"picture": pixels, "name": name, "colour": name, "place": np.array(colour) / 125 - 1, "split": "train"}
        if number % 5 == 0:
            row["picture" if number % 2 else "place"] = None
        rows.append({key: value for key, value in row.items() if key in columns or key == "split"})
    return pm.load(rows, columns, validation=0).train


def picture():
    return {"picture": pm.Image(size=16), "place": pm.Vector(3, mean=0, std=1)}


@pytest.fixture(scope="module")
def rows():
    return make_rows(80, 0, name=pm.Text(max_length=16), **picture())


@pytest.fixture(scope="module")
def judge(rows):
    return Judge.train(rows, steps=STEPS, batch_size=16, width=32)


def test_it_names_what_it_has_not_seen(judge):
    unseen = make_rows(40, 1, name=pm.Text(max_length=16), **picture())
    for name in ("picture", "place"):
        own = unseen.select(unseen.present[name])
        field = own.decode(own.only(name).batch(np.arange(len(own))))[name]
        found = [judge.names[i] for i in judge.name(name, field)]
        assert np.mean([a == b for a, b in zip(found, names_of(own, "name"), strict=True)]) >= 0.9
        assert torch.allclose(judge.embed(name, field).norm(dim=1), torch.ones(len(own)))


def test_candidates_bound_what_it_says(judge, rows):
    field = rows.decode(rows.only("picture").batch(np.arange(1)))["picture"]
    assert judge.name("picture", field, ["250 250 250"]).tolist() == [0]
    with pytest.raises(ConfigError, match="judge: field: 'pictur' is unknown; did you mean 'picture'"):
        judge.embed("pictur", field)


def test_held_out_values_are_those_it_did_not_learn_from(judge, rows):
    assert judge.score(rows, rows) == {}
    half = rows.select(np.arange(40))
    score = judge.score(rows, half)["picture"]
    assert score == {"top_1": pytest.approx(1.0, abs=0.15), "values": 36}  # 4 of the other 40 rows have none


def test_the_same_seed_gives_the_same_judge(judge, rows):
    again = Judge.train(rows, steps=STEPS, batch_size=16, width=32)
    assert again.hash == judge.hash
    assert Judge.train(rows, steps=2, batch_size=16, width=32, seed=1).hash != judge.hash


def test_it_leaves_the_global_random_state_alone(rows):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    Judge.train(rows, steps=1, batch_size=8, width=16)
    assert torch.rand(1) == expected


def test_it_is_kept_and_taken_again(rows, tmp_path):
    first = Judge.train(rows, steps=2, batch_size=8, width=16, folder=tmp_path)
    written = (tmp_path / "judge.safetensors").stat().st_mtime_ns
    again = Judge.train(rows, steps=2, batch_size=8, width=16, folder=tmp_path)
    assert again.hash == first.hash
    assert (tmp_path / "judge.safetensors").stat().st_mtime_ns == written
    field = rows.decode(rows.only("picture").batch(np.arange(4)))["picture"]
    assert torch.equal(again.embed("picture", field), first.embed("picture", field))
    assert Judge.train(rows, steps=3, batch_size=8, width=16, folder=tmp_path).hash != first.hash
    document = json.loads((tmp_path / "judge.json").read_text())
    document["settings"]["network"] = "another"
    (tmp_path / "judge.json").write_text(json.dumps(document))
    assert Judge.train(rows, steps=3, batch_size=8, width=16, folder=tmp_path).settings["network"] != "another"
    other = rows.select(np.arange(len(rows) - 1))
    assert (
        Judge.train(other, steps=3, batch_size=8, width=16, folder=tmp_path).settings["data"] != first.settings["data"]
    )


def test_a_broken_judge_is_refused(rows, tmp_path):
    with pytest.raises(CheckpointError, match="holds no judge that can be read"):
        Judge.load(tmp_path)
    Judge.train(rows, steps=1, batch_size=8, width=16).save(tmp_path)
    document = json.loads((tmp_path / "judge.json").read_text())
    (tmp_path / "judge.json").write_text(json.dumps(document | {"format": 99}))
    with pytest.raises(CheckpointError, match="format is 99"):
        Judge.load(tmp_path)
    for broken in ([], {"format": document["format"]}, document | {"settings": {}}):
        (tmp_path / "judge.json").write_text(json.dumps(broken))
        with pytest.raises(CheckpointError, match="judge"):
            Judge.load(tmp_path)


def test_labels_name_where_there_is_no_text():
    rows = make_rows(40, 0, colour=pm.Label(), **picture())
    judge = Judge.train(rows, steps=STEPS, batch_size=16, width=32)
    assert judge.naming == "colour"
    own = rows.select(rows.present["picture"])
    field = own.decode(own.only("picture").batch(np.arange(len(own))))["picture"]
    found = [judge.names[i] for i in judge.name("picture", field)]
    assert np.mean([a == b for a, b in zip(found, names_of(own, "colour"), strict=True)]) >= 0.9


def test_what_it_cannot_learn_from_is_refused(rows):
    with pytest.raises(DataError, match="two or more fields; these have name"):
        Judge.train(rows, fields=["name"])
    with pytest.raises(ConfigError, match="judge: field: 'plac' is unknown; did you mean 'place'"):
        Judge.train(rows, fields=["plac"])
    with pytest.raises(ConfigError, match="steps: -5 is not at least 1"):
        Judge.train(rows, steps=-5)


def test_its_own_score_is_kept_beside_it(rows, tmp_path):
    half = rows.select(np.arange(40))
    judge = Judge.train(half, held_out=rows, steps=STEPS, batch_size=16, width=32, folder=tmp_path)
    assert judge.held_out["picture"]["values"] == 36
    assert judge.held_out["picture"]["top_1"] > 0.8
    again = Judge.load(tmp_path)
    assert again.held_out == judge.held_out
    assert again.hash == judge.hash == Judge.train(half, steps=STEPS, batch_size=16, width=32).hash
    assert again.facts(rows)["held_out"] == judge.held_out
    assert judge.learned_from(half)
    assert not judge.learned_from(rows)


def test_a_judge_whose_files_do_not_belong_together_is_trained_again(rows, tmp_path):
    settings = {"steps": 2, "batch_size": 8, "width": 16}
    Judge.train(rows, **settings, folder=tmp_path / "judge")
    Judge.train(rows, **settings | {"seed": 1}, folder=tmp_path / "other")
    weights = (tmp_path / "judge" / "judge.safetensors").read_bytes()
    for content in ((tmp_path / "other" / "judge.safetensors").read_bytes(), weights[:100]):
        (tmp_path / "judge" / "judge.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError):
            Judge.load(tmp_path / "judge")
        Judge.train(rows, **settings, folder=tmp_path / "judge")
        assert (tmp_path / "judge" / "judge.safetensors").read_bytes() == weights


def test_a_field_that_no_row_has_names_nothing():
    rows = make_rows(20, 0, colour=pm.Label(), **picture())
    assert naming_field(rows) == "colour"
    nameless = [{"picture": np.zeros((4, 4, 3), np.uint8), "name": None, "place": [0.0, 1.0, 2.0]} for _ in range(8)]
    data = pm.load(nameless, {"name": pm.Text(max_length=4), **picture()}, validation=0, test=0)
    assert naming_field(data.train) is None
