"""Every alignment keeps its promises, and each is what its formula says."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import polymodal as pm
from polymodal.alignment import ALIGNMENTS
from polymodal.alignment.base import Projections
from polymodal.condition import content
from polymodal.parts import build_part

FIELDS, WIDTH, ROWS = ["a", "b", "c"], 12, 40


def build(kind, **options):
    torch.manual_seed(0)
    return build_part("alignment", {"kind": kind, "weight": 1.0, **options}, "alignment", FIELDS, WIDTH)


@pytest.fixture
def rows():
    """Encodings that share half of what they say, and which fields each row has."""
    torch.manual_seed(1)
    shared = torch.randn(ROWS, WIDTH)
    encodings = {name: shared + torch.randn(ROWS, WIDTH) for name in FIELDS}
    present = {
        "a": torch.ones(ROWS, dtype=torch.bool),
        "b": torch.arange(ROWS) % 4 > 0,
        "c": torch.arange(ROWS) % 4 > 1,
    }
    return encodings, present


@pytest.mark.parametrize("kind", ALIGNMENTS)
def test_terms_are_per_row_and_rows_that_lack_the_fields_have_none(kind, rows):
    encodings, present = rows
    ((name, term),) = build(kind)(encodings, present).items()
    assert name == kind
    assert term.shape == (ROWS,)
    assert torch.isfinite(term).all()
    if kind != "mmd":  # which compares sets, and so counts rows that have either field
        assert not term[~present["b"]].any()
    assert term[present["b"]].all()


@pytest.mark.parametrize("kind", ALIGNMENTS)
def test_what_is_absent_changes_nothing_and_gives_no_gradient(kind, rows):
    encodings, present = rows
    encodings = {name: x.clone().requires_grad_() for name, x in encodings.items()}
    alignment = build(kind)
    before = alignment(encodings, present)[kind]
    before.sum().backward()
    for name in FIELDS:
        assert not encodings[name].grad[~present[name]].any()
        assert encodings[name].grad[present[name]].any()
        assert torch.isfinite(encodings[name].grad).all()
    with torch.no_grad():
        for name in FIELDS:
            encodings[name][~present[name]] = 50.0
    torch.testing.assert_close(alignment(encodings, present)[kind], before)


@pytest.mark.parametrize("kind", ALIGNMENTS)
@pytest.mark.parametrize("pattern", range(8))
def test_any_pattern_of_fields_is_fine(kind, pattern, rows):
    encodings, _ = rows
    present = {name: torch.full((ROWS,), bool(pattern >> place & 1)) for place, name in enumerate(FIELDS)}
    term = build(kind)(encodings, present)[kind]
    assert torch.isfinite(term).all()
    if sum(bool(there.any()) for there in present.values()) < 2:
        assert not term.any()


@pytest.mark.parametrize("kind", ALIGNMENTS)
def test_learning_finds_what_fields_share(kind, rows):
    torch.manual_seed(2)
    shared = torch.randn(256, 4)
    mix = {name: torch.randn(4, WIDTH) for name in FIELDS}
    encodings = {name: shared @ mix[name] + 0.1 * torch.randn(256, WIDTH) for name in FIELDS}
    present = dict.fromkeys(FIELDS, torch.ones(256, dtype=torch.bool))
    alignment = build(kind, size=4)
    optimizer = torch.optim.Adam(alignment.parameters(), lr=0.02)
    first = float(alignment(encodings, present)[kind].detach().mean())
    for _ in range(150):
        loss = alignment(encodings, present)[kind].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.6 * first


def codes(alignment, rows, *names):
    encodings, present = rows
    return [alignment.project({name: encodings[name]}, present)[name] for name in names]


def test_infonce_is_a_cross_entropy_over_the_rows_that_are_there(rows):
    alignment = build("infonce")
    encodings, present = rows
    only = {name: encodings[name] for name in ("a", "b")}
    x, y = (functional.normalize(code, dim=1)[present["b"]] for code in codes(alignment, rows, "a", "b"))
    logits = 10 * x @ y.T
    own = torch.arange(len(x))
    expected = (functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)) / 2
    torch.testing.assert_close(alignment(only, present)["infonce"][present["b"]].mean(), expected)


def test_sigmoid_asks_of_each_pair_whether_it_is_one(rows):
    alignment = build("sigmoid")
    encodings, present = rows
    only = {name: encodings[name] for name in ("a", "b")}
    x, y = (functional.normalize(code, dim=1)[present["b"]] for code in codes(alignment, rows, "a", "b"))
    probability = torch.sigmoid(10 * x @ y.T - 10)
    right = torch.where(torch.eye(len(x)).bool(), probability, 1 - probability)
    torch.testing.assert_close(
        alignment(only, present)["sigmoid"][present["b"]], -right.log().sum(1), rtol=1e-4, atol=1e-5
    )


def test_canonical_correlations_are_those_of_the_whitened_covariance(rows):
    alignment = build("cca", size=5, ridge=1e-9)
    encodings, present = rows
    only = {name: encodings[name] for name in ("a", "b")}
    x, y = (code[present["b"]].detach().double().numpy() for code in codes(alignment, rows, "a", "b"))
    x, y = x - x.mean(0), y - y.mean(0)
    first, second = np.linalg.qr(x)[0], np.linalg.qr(y)[0]
    total = np.linalg.svd(first.T @ second, compute_uv=False).sum()
    found = alignment(only, present)["cca"][present["b"]]
    torch.testing.assert_close(found, torch.full_like(found, 1 - total / 5), rtol=1e-3, atol=1e-3)


def test_mmd_is_the_distance_of_mean_embeddings(rows):
    alignment = build("mmd")
    encodings, _ = rows
    present = {"a": torch.arange(ROWS) < 20, "b": torch.arange(ROWS) >= 15}  # few rows have both
    x, y = (alignment.project({name: encodings[name]}, present)[name] for name in ("a", "b"))
    x, y = x[:20], y[15:]
    everything = torch.cat([x, y])
    spread = torch.cdist(everything, everything).square().mean()

    def kernel(p, q):
        distance = torch.cdist(p, q).square()
        return sum(torch.exp(-distance / (scale * spread)) for scale in alignment.SCALES).mean() / len(alignment.SCALES)

    found = alignment({name: encodings[name] for name in ("a", "b")}, present)["mmd"]
    expected = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    torch.testing.assert_close(found, expected.expand(ROWS), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["infonce", "sigmoid"])
def test_rows_of_the_same_value_are_no_negatives(kind, rows):
    """Rows 0 and 1 share a value of b; each other pair is as before, whatever these two say of one another."""
    encodings, _ = rows
    encodings, alignment = {name: encodings[name] for name in ("a", "b")}, build(kind)
    present = dict.fromkeys(("a", "b"), torch.ones(ROWS, dtype=torch.bool))
    contents = {name: torch.arange(ROWS)[:, None].float() for name in ("a", "b")}
    plain = alignment(encodings, present)[kind]
    torch.testing.assert_close(alignment(encodings, present, contents)[kind], plain)
    contents["b"][1] = 0
    found = alignment(encodings, present, contents)[kind]
    assert (found[:2] < plain[:2]).all()
    torch.testing.assert_close(found[2:], plain[2:])
    x, y = (functional.normalize(code, dim=1) for code in codes(alignment, (encodings, present), "a", "b"))
    scores = (10 * x @ y.T).detach()
    if kind == "sigmoid":
        lost = -functional.logsigmoid(-(scores - 10))
        expected = plain[:2] - torch.stack([lost[0, 1], lost[1, 0]])
    else:
        ways = []
        for logits in (scores, scores.T):
            masked = logits.clone()
            masked[0, 1] = masked[1, 0] = -torch.inf
            ways.append(functional.cross_entropy(masked, torch.arange(ROWS), reduction="none")[:2])
        expected = sum(ways) / 2
    torch.testing.assert_close(found[:2], expected, rtol=1e-4, atol=1e-5)


def test_a_model_knows_which_of_its_rows_hold_the_same():
    """By content: augmentation makes encodings of the same value differ, and padding those of shorter texts."""
    text = {"modality": "text", "max_length": 16}
    data = pm.load([{"a": "red", "b": str(k), "split": "train"} for k in range(3)] + [{"a": "a long one", "b": "red"}],
                   {"a": text, "b": text}, validation=0, test=0)  # fmt: skip
    batch = data.train.decode(data.train.batch(torch.arange(len(data.train))))
    names = [data.train[k]["a"] for k in range(len(data.train))]
    found = content(batch["a"])
    for i, one in enumerate(names):
        for j, other in enumerate(names):
            assert torch.equal(found[i], found[j]) == (one == other)
    short = content(batch["a"].pick(torch.tensor([names.index("red")])).trim(4))
    assert torch.equal(short[0], found[names.index("red")])


@pytest.mark.parametrize("unit", [1e-4, 1.0, 1e3])
def test_encodings_are_standardised_in_any_unit(unit):
    """Small encodings, as those of averaged tokens are at first, are standardised as well as large ones."""
    torch.manual_seed(0)
    project = Projections(["a"], 4, 4)
    project.matrices["a"].weight.data.copy_(torch.eye(4))
    x = torch.randn(400, 4) * torch.tensor([1.0, 0.1, 10.0, 0.0]) + 3.0
    (codes,) = project({"a": unit * x}, {"a": torch.ones(400, dtype=torch.bool)}).values()
    torch.testing.assert_close(codes.std(0), torch.tensor([1.0, 1.0, 1.0, 0.0]), rtol=0.02, atol=1e-2)
