"""A joint latent from training to a fitted prior, as a user types it."""

import json
import math

import pytest
import torch

import polymodal as pm
from polymodal.cli.main import main
from polymodal.prior import latents

DECODERS = {
    "image": {"kind": "decoder", "hidden_size": 16, "channels": [8, 8]},
    "audio": {"kind": "decoder", "channels": [8]},
}


@pytest.fixture(scope="module", params=[0, 2], ids=["shared", "private"])
def joint(request, world, recipe, tmp_path_factory):
    """A run of the tiny world with a joint latent, and, the second time, private ones."""
    own = recipe | {"fusion": {"kind": "poe", "latent": 4, "private": request.param, "components": 3}}
    own["fields"] = {name: recipe["fields"][name] for name in ("picture", "name", "tone", "colour")}
    own["defaults"] = {
        kind: {"encoder": parts["encoder"], "head": DECODERS.get(kind, parts["head"])}
        for kind, parts in recipe["defaults"].items()
        if kind != "vector"
    }
    own["tasks"] = {"none": 0.0, "one": 0.0, "some": 1.0, "reconstruct": True}
    file = tmp_path_factory.mktemp("recipe") / "joint.yaml"
    file.write_text(json.dumps(own))
    run = file.parent / "run"
    assert main(["train", str(file), "--data", str(world / "rows.jsonl"), "-o", str(run)]) == 0
    return run


@pytest.mark.parametrize("kind", ["standard", "mixture", "flow"])
def test_a_prior_is_fitted_written_and_used(joint, kind, world, tmp_path, capsys):
    folder = joint / f"prior-{kind}"
    assert main(["prior", str(joint), "--kind", kind, "--components", "3", "--steps", "5"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"{folder}: log-likelihood of held-out latents ")
    plain, fitted = pm.open(joint), pm.open(folder)
    assert fitted.model.recipe.fusion["prior"] == kind
    to = ["name", "colour"]
    one, other = (model.generate({}, to=["picture", *to], n=4, seed=1) for model in (plain, fitted))
    same = all(a.tobytes() == b.tobytes() for a, b in zip(one["picture"], other["picture"], strict=True))
    assert same == (kind == "standard"), "what is generated from nothing comes from the prior"
    given = {"picture": world / "0.png"}
    assert plain.generate(given, to=to, n=4) == fitted.generate(given, to=to, n=4)
    command = ["generate", str(folder), "--to", "picture", "tone", "-n", "2", "-o", str(tmp_path)]
    assert main(command) == 0
    table, filled = tmp_path / "table.jsonl", tmp_path / "filled.jsonl"
    table.write_text('{"name": null, "colour": "red"}\n{"name": "red disc", "colour": null}\n')
    assert main(["fill", str(folder), str(table), "-o", str(filled)]) == 0
    assert all(None not in json.loads(line).values() for line in filled.read_text().splitlines())
    assert main(["evaluate", str(folder), "--rows", "4", "--judge-steps", "0", "--split", "validation"]) == 0
    assert (folder / "evaluation" / "validation.json").exists()


def test_one_prior_takes_the_place_of_another(joint, tmp_path):
    model = pm.open(joint)
    mixture = model.fit_prior(kind="mixture", components=2)
    assert math.isfinite(mixture.log_likelihood)
    assert mixture.log_likelihood != mixture.standard
    path = model.save_pretrained(tmp_path / "mixture")
    again = pm.open(path)
    assert again.model.fusion.prior.means.shape == (2, 4)
    assert again.generate({}, to="name", n=3) == model.generate({}, to="name", n=3)
    standard = again.fit_prior(model.data().train, kind="standard")
    assert standard.log_likelihood == standard.standard
    assert again.generate({}, to="name", n=3) == pm.open(joint).generate({}, to="name", n=3)


def test_latents_are_those_of_all_that_a_row_has(joint):
    model = pm.open(joint)
    rows = model.data().train
    z = latents(model.model, rows)
    assert z.shape == (sum(any(column[k] for column in rows.present.values()) for k in range(len(rows))), 4)
    assert torch.equal(z, latents(model.model, rows))
    assert latents(model.model, rows, limit=7).shape == (7, 4)
    assert torch.equal(latents(model.model, rows, limit=7), z[:7])


def test_what_has_no_prior_is_said(trained, joint, tmp_path, capsys):
    assert main(["prior", str(trained)]) == 2
    assert "fusion.kind: 'attention' has no joint latent, and so no prior" in capsys.readouterr().err
    assert main(["prior", str(joint), "--components", "1000"]) == 2
    assert "2000 are needed" in capsys.readouterr().err
    assert main(["prior", str(joint), "--kind", "mix"]) == 2
    assert "mixture" in capsys.readouterr().err
    with pytest.raises(pm.ConfigError, match="kind: 'gaussian' is unknown"):
        pm.open(joint).fit_prior(kind="gaussian")
    with pytest.raises(pm.ConfigError, match="components: 0"):
        pm.open(joint).fit_prior(components=0)
    with pytest.raises(pm.CheckpointError, match="holds no saved model"):
        pm.open(joint).save_pretrained(joint)
