import itertools
import math

import pytest
import torch

from contract.spaces import SPACES, WIDTH, make_context, make_text
from polymodal.errors import ConfigError
from polymodal.heads.autoregressive import Autoregressive
from polymodal.heads.token_sampling import BEGIN, END, PAD
from polymodal.nn.random import make_keys
from polymodal.types import Context, Field, Space
from refusals import refused

TEXT, LABEL, CODES = (SPACES[name] for name in ("text", "label", "codes"))


def make_head(space, **options):
    torch.manual_seed(0)
    head = Autoregressive(space, WIDTH, depth=2, heads=2, **options).eval()
    with torch.no_grad():  # far from uniform, as after training
        for parameter in head.parameters():
            parameter.mul_(4)
    return head


SAMPLING = [{}, {"temperature": 0.0}, {"temperature": 0.7, "top_k": 4}, {"top_p": 0.8}, {"guidance": 2.5}]


@pytest.mark.parametrize("space", [TEXT, LABEL, CODES])
@pytest.mark.parametrize("options", SAMPLING)
def test_a_sample_equals_itself_generated_alone(space, options):
    head, context, keys = make_head(space), make_context(16), make_keys(4, 16)
    nothing = make_context(16, tokens=1)
    together = head.sample(context, keys, unconditional=nothing, **options)
    for k in range(16):
        row = torch.tensor([k])
        alone = head.sample(context.pick(row), keys[row], unconditional=nothing.pick(row), **options)
        length = alone.value.shape[1]
        assert torch.equal(alone.value[0], together.value[k, :length])
        assert not together.value[k, length:].any()


@pytest.mark.parametrize("options", SAMPLING)
def test_texts_end_once_and_hold_no_padding(options):
    rows = 64
    nothing = make_context(rows, tokens=1)
    drawn = make_head(TEXT).sample(make_context(rows), make_keys(0, rows), unconditional=nothing, **options)
    for ids, mask in zip(drawn.value.tolist(), drawn.mask.tolist(), strict=True):
        length = sum(mask)
        assert mask == [True] * length + [False] * (len(mask) - length)
        assert set(ids[length:]) <= {PAD}
        assert PAD not in ids[:length]
        assert BEGIN not in ids
        assert END not in ids[: length - 1]
        assert ids[length - 1] == END or length == TEXT.max_length
    assert drawn.value.shape[1] == drawn.lengths.max()


@pytest.mark.parametrize("space", [LABEL, CODES])
def test_values_of_fixed_length_have_no_special_ids(space):
    drawn = make_head(space).sample(make_context(200), make_keys(0, 200), temperature=5.0)
    assert drawn.value.shape == (200, *space.shape)
    assert drawn.mask.shape == (200, 1)
    assert drawn.mask.all()
    assert drawn.value.unique().tolist() == list(range(space.vocab))


def test_samples_follow_the_likelihood():
    head, rows = make_head(LABEL), 20_000
    context = make_context(1).pick(torch.zeros(rows, dtype=torch.long))
    drawn = head.sample(context, make_keys(0, rows)).value[:, 0]
    every = Field(torch.arange(5)[:, None], torch.ones(5, 1, dtype=torch.bool), torch.ones(5, dtype=torch.bool))
    expected = head.log_likelihood(context.pick(torch.arange(5)), every).exp()
    assert expected.sum().item() == pytest.approx(1.0, abs=1e-5)
    error = (drawn.bincount(minlength=5) / rows - expected) / (expected * (1 - expected) / rows).sqrt()
    assert error.abs().max() < 5


def test_likelihoods_of_all_texts_sum_to_one():
    head = make_head(Space("discrete", (2,), vocab=6, varies=0))
    letters = [3, 4, 5]
    rows = [(END,), *((a, END) for a in letters), *itertools.product(letters, letters)]
    context = make_context(1).pick(torch.zeros(len(rows), dtype=torch.long))
    assert head.log_likelihood(context, make_text(*rows)).exp().sum().item() == pytest.approx(1.0, abs=1e-5)


def test_loss_is_the_mean_negative_log_likelihood_of_real_positions():
    head, context = make_head(TEXT), make_context(3)
    target = make_text([5, 6, 7, END], [9, END], [END])
    loss = head.loss(context, target, "model", make_keys(0, 3))["nll"]
    torch.testing.assert_close(loss, -head.log_likelihood(context, target) / target.lengths)


def test_padding_is_inert():
    head, context = make_head(TEXT), make_context(2)
    short, padded = make_text([5, END]), make_text([5, END], [5, 6, 7, 8, 9, END])
    row = torch.tensor([0])
    alone = head.loss(context.pick(row), short, "model", make_keys(0, 1))["nll"]
    torch.testing.assert_close(head.loss(context, padded, "model", make_keys(0, 2))["nll"][:1], alone)
    longer = Context(
        torch.cat([context.tokens, torch.randn(2, 3, WIDTH)], dim=1),
        torch.cat([context.mask, torch.zeros(2, 3, dtype=torch.bool)], dim=1),
        context.pooled,
    )
    torch.testing.assert_close(head.log_likelihood(longer, padded), head.log_likelihood(context, padded))


def test_the_context_is_used():
    target = make_text([5, 6, END], [5, 6, END])
    context = make_context(2)
    likelihood = make_head(TEXT).log_likelihood(context, target)
    assert likelihood[0] != likelihood[1]
    same_pooled = Context(context.tokens, context.mask, torch.zeros_like(context.pooled))
    cross, pooled_only = (
        make_head(TEXT, cross_attention=on).log_likelihood(same_pooled, target) for on in (True, False)
    )
    assert cross[0] != cross[1]
    assert pooled_only[0] == pooled_only[1]


def test_guidance_of_zero_is_unconditional():
    head, keys = make_head(TEXT), make_keys(0, 8)
    context, nothing = make_context(8), make_context(8, tokens=1)
    guided = head.sample(context, keys, unconditional=nothing, guidance=0.0)
    assert torch.equal(guided.value, head.sample(nothing, keys).value)


def test_top_k_of_one_and_a_small_top_p_are_greedy():
    head, context, keys = make_head(TEXT), make_context(8), make_keys(0, 8)
    greedy = head.sample(context, keys, temperature=0.0).value
    assert torch.equal(head.sample(context, keys, top_k=1).value, greedy)
    assert torch.equal(head.sample(context, keys, top_p=1e-6).value, greedy)


def test_length_bound():
    head, context, keys = make_head(TEXT), make_context(8), make_keys(0, 8)
    bounded, free = (head.sample(context, keys, max_length=n) for n in (3, None))
    assert torch.equal(bounded.value, free.value[:, :3])


def test_no_rows():
    empty = torch.zeros(0, dtype=torch.long)
    assert len(make_head(TEXT).sample(make_context(2).pick(empty), empty)) == 0


def test_what_was_sampled_can_be_trained_on():
    head, context, keys = make_head(TEXT), make_context(4), make_keys(0, 4)
    drawn = head.sample(context, keys)
    head.loss(context, drawn, "model", keys)["nll"].mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("tied", [True, False])
def test_learns_texts_by_heart(smoothing, tied):
    torch.manual_seed(0)
    head = Autoregressive(TEXT, WIDTH, depth=1, heads=2, label_smoothing=smoothing, tie_embeddings=tied)
    context, target, keys = make_context(3), make_text([5, 6, 5, 7, END], [9, END], [7, 7, 8, END]), make_keys(0, 3)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(context, target, "model", keys)["nll"].mean().backward()
        optimizer.step()
    drawn = head.eval().sample(context, keys, temperature=0.0)
    assert torch.equal(drawn.value, target.value)
    assert torch.equal(drawn.mask, target.mask)


def test_label_smoothing_against_its_definition():
    plain, smooth = make_head(LABEL), make_head(LABEL, label_smoothing=0.3)
    smooth.load_state_dict(plain.state_dict())
    context, keys = make_context(5), make_keys(0, 5)
    every = Field(torch.arange(5)[:, None], torch.ones(5, 1, dtype=torch.bool), torch.ones(5, dtype=torch.bool))
    same = context.pick(torch.zeros(5, dtype=torch.long))
    nll = plain.loss(same, every, "model", keys)["nll"]
    torch.testing.assert_close(smooth.loss(same, every, "model", keys)["nll"], 0.7 * nll + 0.3 * nll.mean())


def test_accepts_sequences_of_ids_only():
    assert Autoregressive.accepts(TEXT) is None
    assert "continuous" in Autoregressive.accepts(Space("continuous", (3, 8, 8)))
    assert "2 axes" in Autoregressive.accepts(Space("discrete", (4, 4), vocab=9))


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"heads": 3}, ("heads: 3", "half", str(WIDTH))),
        ({"depth": 0}, ("depth", "not 0", "greater than 0")),
        ({"dropout": 1.0}, ("dropout", "not 1.0", "less than 1")),
        ({"label_smoothing": -0.1}, ("label_smoothing", "not -0.1", "greater than or equal to 0")),
        ({"deth": 1}, ("Autoregressive", "'deth'", "'depth'")),
        ({"depth": "deep"}, ("depth", "not 'deep'", "integer")),
    ],
)
def test_wrong_arguments(options, parts):
    with refused(*parts, by=ConfigError):
        Autoregressive(TEXT, WIDTH, **options)


@pytest.mark.parametrize(
    ("space", "options", "parts"),
    [
        (TEXT, {"temperature": -1.0}, ("options.temperature", "not -1.0", "greater than or equal to 0")),
        (TEXT, {"temperature": math.nan}, ("options.temperature", "not nan", "finite")),
        (TEXT, {"top_k": -1}, ("options.top_k", "not -1", "greater than or equal to 0")),
        (TEXT, {"top_p": 0.0}, ("options.top_p", "not 0.0", "greater than 0")),
        (TEXT, {"top_p": 1.5}, ("options.top_p", "not 1.5", "less than or equal to 1")),
        (TEXT, {"max_length": 11}, ("options.max_length: 11", "10 positions")),
        (CODES, {"max_length": 3}, ("options.max_length: 3", "6 positions", "leave it out")),
        (TEXT, {"guidance": 2.0}, ("guidance: 2.0", "unconditional", "1")),
        (TEXT, {"guidance": math.inf}, ("options.guidance", "not inf", "finite")),
        (TEXT, {"temprature": 1.0}, ("options", "'temprature'", "'temperature'")),
    ],
)
def test_wrong_sampling_options(space, options, parts):
    with refused(*parts, by=ConfigError):
        make_head(space).sample(make_context(2), make_keys(0, 2), **options)


def test_places_of_a_fixed_length_may_be_told_apart():
    """Cached and uncached logits agree, and a head samples as it was configured unless told otherwise."""
    head, context = make_head(CODES, positions=True, temperature=0.0), make_context(4)
    drawn = head.sample(context, make_keys(0, 4))
    assert torch.equal(drawn.value, head.sample(context, make_keys(1, 4)).value)
    assert not torch.equal(drawn.value, head.sample(context, make_keys(1, 4), temperature=1.0).value)
    with torch.no_grad():
        log_probs = head._log_probs(context, drawn)
    assert torch.equal(log_probs.argmax(-1), drawn.value)
    assert make_head(TEXT, positions=True).positions is None
