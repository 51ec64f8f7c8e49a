"""Ids that are hidden in training are told from every real id."""

import pytest
import torch

from contract.spaces import SPACES, WIDTH, make_context
from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.recurrent import Recurrent
from polymodal.heads.token_sampling import forget
from polymodal.nn.random import make_keys
from polymodal.types import Field


@pytest.mark.parametrize("kind", [Autoregressive, Recurrent])
@pytest.mark.parametrize("space", ["codes", "text"])
def test_what_is_hidden_is_not_taken_for_an_id(kind, space):
    """Nearly all ids before are hidden, and none is 0: so the vector of 0, a real code, plays no part in the loss."""
    torch.manual_seed(0)
    head = kind(SPACES[space], WIDTH, depth=1, word_dropout=1 - 1e-7, tie_embeddings=False).train()
    target = Field.full(torch.full((4, *SPACES[space].shape), 3), varies=SPACES[space].varies)
    before = head.loss(make_context(4), target, "model", make_keys(0, 4))["nll"]
    with torch.no_grad():
        head.embedding.weight[0] += 5.0
    assert torch.equal(head.loss(make_context(4), target, "model", make_keys(0, 4))["nll"], before)
    with torch.no_grad():
        head.embedding.weight[3] += 5.0
    assert torch.equal(head.loss(make_context(4), target, "model", make_keys(0, 4))["nll"], before)
    head.eval()
    assert not torch.equal(head.loss(make_context(4), target, "model", make_keys(0, 4))["nll"], before)


def test_a_share_is_hidden_by_the_rows_own_keys():
    embedded, keys = torch.ones(200, 50, 3), make_keys(0, 200)
    hidden = (forget(embedded, keys, 0.3) == 0).all(2)
    assert float(hidden.double().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal((forget(embedded[5:6, :20], keys[5:6], 0.3) == 0).all(2), hidden[5:6, :20])
