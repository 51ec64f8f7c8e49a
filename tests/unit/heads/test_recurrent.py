import itertools

import pytest
import torch

from contract.spaces import SPACES, WIDTH, make_context, make_text
from polymodal.errors import ConfigError
from polymodal.heads.recurrent import Recurrent
from polymodal.heads.token_sampling import BEGIN, END, PAD
from polymodal.nn.random import make_keys
from polymodal.types import Context, Space
from refusals import refused

TEXT, LABEL, CODES = (SPACES[name] for name in ("text", "label", "codes"))
ATTENTION = pytest.mark.parametrize("attention", [True, False])
SAMPLING = [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_k": 4}, {"top_p": 0.8}, {"guidance": 2.5}]


def make_head(space, **options):
    torch.manual_seed(0)
    head = Recurrent(space, WIDTH, **options).eval()
    with torch.no_grad():  # far from uniform, as after training
        for parameter in head.parameters():
            parameter.mul_(3)
    return head


@pytest.mark.parametrize("space", [TEXT, LABEL, CODES])
@pytest.mark.parametrize("options", SAMPLING)
def test_a_sample_equals_itself_generated_alone(space, options):
    head, context, keys, nothing = (
        make_head(space, depth=2),
        make_context(8),
        make_keys(4, 8),
        make_context(8, tokens=1),
    )
    together = head.sample(context, keys, unconditional=nothing, **options)
    for k in range(8):
        row = torch.tensor([k])
        alone = head.sample(context.pick(row), keys[row], unconditional=nothing.pick(row), **options)
        length = alone.value.shape[1]
        assert torch.equal(alone.value[0], together.value[k, :length])
        assert not together.value[k, length:].any()


def test_texts_end_once_and_hold_no_padding():
    drawn = make_head(TEXT).sample(make_context(64), make_keys(0, 64))
    assert drawn.value.shape[1] == drawn.lengths.max()
    for ids, length in zip(drawn.value.tolist(), drawn.lengths.tolist(), strict=True):
        assert not any(ids[length:])
        assert not {PAD, BEGIN} & set(ids[:length])
        assert END not in ids[: length - 1]
        assert ids[length - 1] == END or length == TEXT.max_length


@ATTENTION
def test_decoding_one_by_one_is_the_whole_sequence(attention):
    """The greedy sequence is the one whose every id is the likeliest after those before it, seen all at once."""
    head, context = make_head(CODES, attention=attention, depth=2), make_context(8)
    greedy = head.sample(context, make_keys(0, 8), temperature=0.0)
    log_probs = head._log_probs(context, greedy)
    assert torch.equal(log_probs.argmax(-1), greedy.value)
    torch.testing.assert_close(log_probs.amax(-1).sum(1), head.log_likelihood(context, greedy))


@ATTENTION
def test_likelihoods_of_all_texts_sum_to_one(attention):
    head = make_head(Space("discrete", (2,), vocab=6, varies=0), attention=attention)
    letters = [3, 4, 5]
    rows = [(END,), *((a, END) for a in letters), *itertools.product(letters, letters)]
    context = make_context(1).pick(torch.zeros(len(rows), dtype=torch.long))
    assert head.log_likelihood(context, make_text(*rows)).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def test_loss_is_the_mean_negative_log_likelihood_of_real_positions():
    head, context = make_head(TEXT), make_context(3)
    target = make_text([5, 6, 7, END], [9, END], [END])
    loss = head.loss(context, target, "model", make_keys(0, 3))["nll"]
    torch.testing.assert_close(loss, -head.log_likelihood(context, target) / target.lengths)


def test_attention_looks_at_the_tokens_that_are_real():
    target, context = make_text([5, 6, END], [5, 6, END]), make_context(2)
    same_pooled = Context(context.tokens, context.mask, torch.zeros_like(context.pooled))
    looks, told = (make_head(TEXT, attention=on).log_likelihood(same_pooled, target) for on in (True, False))
    assert looks[0] != looks[1]
    assert told[0] == told[1]
    head, hidden = make_head(TEXT), Context(context.tokens.clone(), context.mask, context.pooled)
    hidden.tokens[~context.mask] = 9.0
    assert torch.equal(head.log_likelihood(hidden, target), head.log_likelihood(context, target))
    assert "tokens" not in "".join(make_head(TEXT, attention=False).state_dict())


@ATTENTION
@pytest.mark.parametrize("options", [{}, {"depth": 2, "dropout": 0.1, "word_dropout": 0.1}, {"tie_embeddings": False}])
def test_learns_texts_by_heart(attention, options):
    torch.manual_seed(0)
    head = Recurrent(TEXT, WIDTH, attention=attention, label_smoothing=0.05, **options)
    context, target, keys = make_context(3), make_text([5, 6, 5, 7, END], [9, END], [7, 7, 8, END]), make_keys(0, 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        head.loss(context, target, "model", keys)["nll"].mean().backward()
        optimizer.step()
    drawn = head.eval().sample(context, keys, temperature=0.0)
    assert torch.equal(drawn.value, target.value)
    assert torch.equal(drawn.mask, target.mask)


def test_what_was_sampled_can_be_trained_on():
    head, context, keys = make_head(TEXT), make_context(4), make_keys(0, 4)
    head.loss(context, head.sample(context, keys), "model", keys)["nll"].mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_no_rows():
    empty = torch.zeros(0, dtype=torch.long)
    assert len(make_head(TEXT).sample(make_context(2).pick(empty), empty)) == 0


def test_accepts_sequences_of_ids_only():
    assert Recurrent.accepts(CODES) is None
    assert Recurrent.accepts(Space("continuous", (4,))) == (
        "a recurrent head models discrete spaces; this one is continuous"
    )
    assert "2 axes" in Recurrent.accepts(Space("discrete", (4, 4), vocab=9))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"depth": 0}, ("depth", "not 0", "greater than 0")),
        ({"dropout": 1.0}, ("dropout", "not 1.0", "less than 1")),
        ({"word_dropout": -0.5}, ("word_dropout", "not -0.5", "greater than or equal to 0")),
        ({"label_smoothing": 1.0}, ("label_smoothing", "not 1.0", "less than 1")),
    ],
)
def test_wrong_arguments(options, parts):
    with refused(*parts, by=ConfigError):
        Recurrent(TEXT, WIDTH, **options)


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"temperature": -1.0}, ("options.temperature", "not -1.0", "greater than or equal to 0")),
        ({"max_length": 11}, ("options.max_length: 11", "10 positions")),
        ({"guidance": 2.0}, ("guidance: 2.0", "unconditional", "1")),
    ],
)
def test_wrong_sampling_options(options, parts):
    with refused(*parts, by=ConfigError):
        make_head(TEXT).sample(make_context(2), make_keys(0, 2), **options)
