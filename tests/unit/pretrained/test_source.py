"""The loader of pretrained models: what it reads, and each kind of hostile folder that it refuses in a line."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

import tiny_models
from polymodal.claims import without_memory
from polymodal.errors import CheckpointError, ConfigError
from polymodal.pretrained import Lora, LoraArguments, PretrainedSource
from polymodal.pretrained.places import find, without_hub
from refusals import check_message

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return tiny_models.bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def change(file: Path, **entries) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        PretrainedSource(str(folder)).load(transformers.AutoModel)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_a_folder_is_read_as_it_is_and_named_by_its_content(whole, folder):
    source, copy = PretrainedSource(str(whole)), PretrainedSource(str(folder))
    network = source.load(transformers.AutoModel)
    original = transformers.BertModel.from_pretrained(whole).eval()
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(network(ids).last_hidden_state, original(ids).last_hidden_state)
    assert not any(p.requires_grad for p in network.parameters())
    assert source.digest == copy.digest
    assert source.reference == {"place": str(whole)}
    change(folder / "config.json", layer_norm_eps=1e-3)
    assert PretrainedSource(str(folder)).digest != source.digest


def test_a_sketch_takes_no_memory_and_counts_as_few_calls(whole):
    with without_memory(100):
        network = PretrainedSource(str(whole)).load(transformers.AutoModel)
    assert {p.device.type for p in network.parameters()} == {"meta"}


def test_pickles_alone_are_refused(folder):
    torch.save({}, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    check_message(refusal(folder), str(folder), "pytorch_model.bin", "safetensors")
    (folder / "pytorch_model.bin").unlink()
    check_message(refusal(folder), str(folder), "no weights")


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused(folder, file):
    change(folder / file, auto_map={"AutoModel": "modeling.Own"})
    (folder / "modeling.py").write_text("raise SystemExit")
    check_message(refusal(folder), str(folder / file), "auto_map")


def test_a_link_that_leads_out_is_refused_and_one_of_the_hub_s_cache_is_not(folder, whole, tmp_path):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(whole / "model.safetensors")
    check_message(refusal(folder), str(folder / "model.safetensors"), "leads out")
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for path in whole.iterdir():
        shutil.copy(path, blobs / path.name)
        (snapshot / path.name).symlink_to(os.path.relpath(blobs / path.name, snapshot))
    assert PretrainedSource(str(snapshot)).digest == PretrainedSource(str(whole)).digest


@pytest.mark.parametrize(
    "entry",
    [{"vocab_size": 10**9}, {"num_hidden_layers": 10**7}, {"hidden_size": 4096}, {"max_position_embeddings": 10**8}],
)
def test_a_configuration_that_claims_more_than_there_is_is_refused_before_memory_is_taken(folder, entry):
    change(folder / "config.json", **entry)
    check_message(refusal(folder), str(folder))


def test_weights_that_are_missing_or_of_another_shape_are_refused(folder):
    change(folder / "config.json", num_attention_heads=2, intermediate_size=31)
    check_message(refusal(folder), str(folder), "intermediate", "config.json")
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: len(content) // 2])
    check_message(refusal(folder), str(folder / "model.safetensors"))


@pytest.mark.parametrize("value", ["/etc/passwd", "../other/vocab.txt", "C:\\secrets", "~/.ssh/id"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_configuration_that_names_a_path_is_refused(folder, value, nested):
    change(folder / "tokenizer_config.json", vocab_file={"x": [{"y": value}]} if nested else value)
    check_message(refusal(folder), str(folder / "tokenizer_config.json"), "names the path")


def test_an_index_that_names_another_file_and_a_config_that_names_another_model_are_refused(folder):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))
    check_message(refusal(folder), str(folder / "model.safetensors.index.json"), "../b.safetensors")
    (folder / "model.safetensors.index.json").unlink()
    change(folder / "config.json", backbone="resnet50", use_pretrained_backbone=True)
    check_message(refusal(folder), str(folder / "config.json"), "another model")


@pytest.mark.parametrize("content", ["", "{", "[" * 10**5, '{"model_type": "no such"}', "[]"])
def test_a_configuration_that_is_none_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    check_message(refusal(folder), str(folder))


def test_where_a_model_once_was_does_not_matter(folder):
    change(folder / "config.json", _name_or_path="/home/somebody/model")
    loaded = PretrainedSource(str(folder)).load(transformers.AutoModel)
    assert sum(weight.numel() for weight in loaded.parameters()) > 0


def test_places(whole, tmp_path):
    assert find(str(whole)) == (whole, "")
    assert find("package:polymodal/recipes")[0].name == "recipes"
    for place, words in {
        "package:nosuchpackage/model": "no package 'nosuchpackage'",
        "package:polymodal/../x": "has no ../x",
        "/no/such/folder": "no such folder",
        "nonsense": "no such folder",
        "owner/name": "names no commit",
        "owner/name@main": "names no commit",
    }.items():
        with pytest.raises(ConfigError) as caught:
            find(place)
        check_message(str(caught.value), "model: ", words)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + b"\xff" * 64)
    with pytest.raises(CheckpointError, match=r"broken\.gguf: holds no model"):
        PretrainedSource(str(tmp_path / "broken.gguf"))


def test_a_run_fetches_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with without_hub(), pytest.raises(ConfigError) as caught:
        find(f"owner/name@{'0' * 40}")
    check_message(str(caught.value), "model: owner/name", "fetches nothing", f"--revision {'0' * 40}")


def test_an_adapter_holds_its_own_weights_alone(whole):
    network = PretrainedSource(str(whole)).load(transformers.AutoModel)
    adapter = Lora(network, LoraArguments(rank=2, last=1))
    names = [name for name, _ in adapter.named_parameters()]
    assert all("lora_" in name and ".layer.1." in name for name in names)
    assert {id(p) for p in adapter.parameters()} == {id(p) for p in network.parameters() if p.requires_grad}
    with pytest.raises(ConfigError, match=r"adapter.modules: .* nothing; it has .*query"):
        Lora(network, LoraArguments(modules=("nothing",)))
