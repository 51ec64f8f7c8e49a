"""Adapters by request: runs that share one pretrained network are answered by one model."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from PIL import Image
from torch import nn

import polymodal as pm
import tiny_models
from polymodal.checkpoint import digest_of
from polymodal.cli.main import main
from polymodal.errors import CheckpointError, ConfigError, DataError
from refusals import refused

pytest.importorskip("uvicorn")
pytest.importorskip("peft")

from test_serve import serving

from polymodal.serving import Runs


def trained(folder, model, *, seed=0, rank=2, names="ab"):
    part = {"kind": "pretrained_lm", "model": model, "adapter": {"kind": "lora", "rank": rank}, "temperature": 1.0}
    recipe = {
        "width": 16,
        "fields": {
            "word": {"modality": "text", "max_length": 8, "role": "output", "head": part},
            "kind": {"modality": "label", "role": "input"},
        },
        "data": {"validation": 0.0, "test": 0.0},
        "train": {"steps": 2, "batch_size": 4, "seed": seed, "learning_rate": 0.1},
    }
    rows = [{"word": f"{seed}{n}", "kind": names[n % 2]} for n in range(8)]
    return pm.fit(recipe, rows, run=folder).run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    llama = str(tiny_models.llama(root / "llama"))
    found = {name: trained(root / name, llama, seed=seed) for seed, name in enumerate(("base", "second"))}
    found["classes"] = trained(root / "classes", llama, names="xy")
    found["rank"] = trained(root / "rank", llama, rank=4)
    other = tiny_models.llama(root / "other")
    tensors = {name: tensor + 0.01 for name, tensor in tiny_models.weights(other).items()}
    tiny_models.replace_weights(other, tensors)
    found["other"] = trained(root / "other-run", str(other))
    return found


def ask(address, model, kind="a", n=3):
    content = {"model": model, "given": {"kind": kind}, "to": ["word"], "n": n, "seed": 5}
    answer = httpx.post(f"{address}/v1/generate", json=content, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_each_request_is_answered_as_by_the_run_that_it_names(runs):
    alone = {}
    for name in ("base", "second"):
        with serving({name: runs[name]}) as address:
            alone[name] = ask(address, name)["samples"]
    assert alone["base"] != alone["second"]
    names = {"base": "base", "base:second": "second"}
    with serving({"base": runs["base"]}, adapters={"base": {"second": runs["second"]}}) as address:
        listed = [model["id"] for model in httpx.get(f"{address}/v1/models").json()["data"]]
        assert listed == list(names)
        assert httpx.get(f"{address}/v1/models/base:second").json()["id"] == "base:second"
        with ThreadPoolExecutor(6) as pool:  # all at once: rows of different adapters are never in one batch
            asked = list(names) * 4
            answers = list(pool.map(lambda model: ask(address, model)["samples"], asked))
        for model, answer in zip(asked, answers, strict=True):
            assert answer == alone[names[model]]
        missing = httpx.post(f"{address}/v1/generate", json={"model": "base:no", "given": {}, "to": ["word"]})
        assert missing.status_code == 404
        assert "base:second" in missing.json()["error"]["message"]


def test_one_network_is_held_and_what_is_signed_names_the_adapter_s_weights(runs):
    signed = {}

    class Named:
        def sign(self, content, kind, *, run, digest):
            signed[run] = digest
            return content

    opened = Runs({"base": runs["base"]}, adapters={"base": {"second": runs["second"]}}, signer=Named())
    base, second = opened.open("base"), opened.open("base:second")
    assert base.engine is second.engine
    assert base.pipeline.model is second.pipeline.model
    assert (base.pipeline.run, second.pipeline.run) == (runs["base"], runs["second"])
    plain = sum(p.nbytes for p in base.pipeline.model.parameters())
    assert plain < base.memory_bytes <= 3 * plain + sum(b.nbytes for b in base.pipeline.model.buffers()) * 2
    for each in (base, second):
        each.sign(b"", "image/png")
    opened.close()
    assert signed == {
        "base": digest_of(pm.open(runs["base"]).model), "base:second": digest_of(pm.open(runs["second"]).model)
    }  # fmt: skip


def test_adapters_that_lie_in_a_run_are_found(runs, tmp_path):
    run = tmp_path / "mine"
    shutil.copytree(runs["base"], run)
    pm.open(runs["second"]).save_pretrained(run / "adapters" / "second")
    opened = Runs({"mine": run})
    assert opened.names == ["mine", "mine:second"]
    model = opened.open("mine:second").pipeline.model
    assert isinstance(model, nn.Module)
    opened.close()


def test_what_does_not_fit_is_refused_in_a_line(runs, tmp_path, capsys):
    def open_with(folder):
        Runs({"base": runs["base"]}, adapters={"base": {"x": folder}}).open("base")

    with refused("adapter: ", "heads.word was trained beside the weights", str(runs["other"]), by=ConfigError):
        open_with(runs["other"])
    with refused("adapter: ", "fields.kind", "other classes", by=ConfigError):
        open_with(runs["classes"])
    with refused("adapter: ", "fields.word.head", by=ConfigError):
        open_with(runs["rank"])
    with refused(str(tmp_path), "holds no whole checkpoint", by=CheckpointError):
        open_with(tmp_path)
    with refused("adapter: ", "no run 'other'", "base", by=ConfigError):
        Runs({"base": runs["base"]}, adapters={"other": {"x": runs["second"]}})
    with refused("base: near-copies", "rows in memory", by=ConfigError):
        Runs({"base": runs["base"]}, refuse_copies=True).open("base")
    for text, said in (("second=x", "RUN:NAME=FOLDER"), ("base:second=nowhere", "there is no folder nowhere")):
        assert main(["serve", f"base={runs['base']}", "--adapter", text, "--refuse-copies"]) != 0
        assert said in capsys.readouterr().err


def drawn(folder, model, seed, column):
    """A run that draws pictures, of noise of a seed, beside a pretrained encoder."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for n in range(6):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(folder / f"{n}.png")
    rows = [{"word": f"w{n}", column: f"{n}.png"} for n in range(6)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    head = {"kind": "decoder", "hidden_size": 8}
    recipe = {
        "width": 16,
        "fields": {
            "word": {"modality": "text", "max_length": 8, "role": "input",
                     "encoder": {"kind": "pretrained", "model": model}},
            "picture": {"modality": "image", "size": 8, "column": column, "role": "output", "head": head},
        },
        "data": {"validation": 0.0, "test": 0.0},
        "train": {"steps": 1, "batch_size": 4, "seed": seed},
    }  # fmt: skip
    return pm.fit(recipe, str(folder / "rows.jsonl"), run=folder / "run").run


def test_what_an_adapter_draws_is_no_copy_of_its_own_rows_or_of_its_run_s(tmp_path):
    bert = str(tiny_models.bert(tmp_path / "bert"))
    base, second = (drawn(tmp_path / name, bert, seed, name) for seed, name in enumerate(("base", "second")))
    adapters = {"base": {"second": second, "same": base}}
    opened = Runs({"base": base}, adapters=adapters, refuse_copies=True)
    try:
        engine, pictures = opened.open("base").engine, {}
        for each in ("base", "base:second"):
            rows = opened.open(each).pipeline.data().train.only("picture")
            pictures[each] = rows.decode(rows.batch(np.arange(6)))

        def withheld(of, adapter):
            return [error.message.partition(",")[0] for error in engine.withhold(pictures[of], adapter) if error]

        copies = [f"picture: the sample is a near-copy of row {n + 1} of the training data" for n in range(6)]
        for adapter in ("", "second", "same"):
            assert withheld("base", adapter) == copies
        assert withheld("base:second", "second") == [
            line.replace("training data", "adapter's training data") for line in copies
        ]
        assert withheld("base:second", "") == withheld("base:second", "same") == []
        seen, check = [], engine.withhold
        engine.withhold = lambda made, adapter: seen.append(adapter) or check(made, adapter)
        for adapter in ("", "second"):
            engine.submit(engine.read({}, ["picture"]), ["picture"], adapter=adapter)[0].exception(timeout=60)
        assert seen == ["", "second"]
    finally:
        opened.close()
    (tmp_path / "second" / "rows.jsonl").unlink()
    with refused("base:second: near-copies", str(tmp_path / "second"), by=DataError):
        Runs({"base": base}, adapters=adapters, refuse_copies=True).open("base")
