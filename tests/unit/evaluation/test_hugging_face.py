"""An encoder of Hugging Face as judge: a tiny random CLIP, built from its configuration and kept in a folder."""

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.errors import CheckpointError, ConfigError
from polymodal.evaluation import Judge, evaluate
from polymodal.evaluation.judges import load_judge

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("clip")
    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    words = {"[PAD]": 0, "[END]": 1, "[UNK]": 2} | {c: i + 3 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    config = transformers.CLIPConfig(
        text_config={**small, "vocab_size": len(words), "max_position_embeddings": 32, "eos_token_id": 1,
                     "bos_token_id": 1, "pad_token_id": 0},
        vision_config={**small, "image_size": 16, "patch_size": 8},
        projection_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.CLIPModel(config).save_pretrained(folder)
    transformers.CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).save_pretrained(folder)
    letters = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=letters, pad_token="[PAD]", eos_token="[END]", unk_token="[UNK]", model_max_length=32
    )
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(trained):
    return pm.open(trained)


def test_it_reads_what_it_has_towers_for(folder, run):
    rows = run.data().train
    judge = load_judge(folder, rows)
    assert list(judge.modalities) == ["picture", "name", "colour"]
    assert judge.naming == "name"
    field = rows.decode(rows.only("picture").batch(np.arange(40) % len(rows)))["picture"]
    vectors = judge.embed("picture", field)
    assert vectors.shape == (40, 8)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(40), atol=1e-5)
    assert torch.allclose(judge.embed("picture", field.pick(torch.tensor([3]))), vectors[3:4], atol=1e-5)
    assert judge.embed_names(judge.names).shape == (len(judge.names), 8)
    assert load_judge(folder, rows).hash == judge.hash
    with pytest.raises(ConfigError, match="judge: field: 'tone' is unknown"):
        judge.embed("tone", field)


def test_it_judges_a_model_and_is_named_in_the_facts(folder, run):
    data = run.data()
    judge = load_judge(folder, data.train)
    directions = [(("name",), "picture"), (("picture",), "name")]
    card = evaluate(run.model, data.train, judge=judge, training=data.train, directions=directions, n_rows=8)
    assert card.score("name", "picture").metric == "judge's top-1"
    facts = card.facts["judge"]
    assert facts["encoder"] == "CLIPModel"
    assert facts["hash"] == judge.hash
    assert str(folder) not in card.to_json()


def test_what_is_no_judge_is_refused(folder, run, tmp_path):
    rows = run.data().train
    with pytest.raises(ConfigError, match="holds neither a judge"):
        load_judge(tmp_path, rows)
    with pytest.raises(ConfigError, match="reads none of the fields tone \\(audio\\)"):
        load_judge(folder, rows.only("tone"))
    other = pm.load(
        [{"picture": np.zeros((8, 8, 3), np.uint8), "name": "a", "split": "train"}] * 2,
        {"picture": pm.Image(size=8), "name": pm.Text(max_length=16)},
        validation=0,
    )
    Judge.train(other.train, steps=1, batch_size=2, width=16, folder=tmp_path / "judge")
    with pytest.raises(CheckpointError, match="'picture' is read in another way than the data's, whose size differ"):
        load_judge(tmp_path / "judge", rows)
