"""The audit of models whose memory is known."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

import polymodal as pm
from polymodal.errors import DataError
from polymodal.evaluation.privacy import Leak, audit
from polymodal.evaluation.privacy.leakage import (
    _Neighbours,
    _probabilities,
    _shuffle,
    _units,
    distances_between,
    leakage,
)
from polymodal.evaluation.privacy.matching import blind_scores, match
from polymodal.evaluation.privacy.membership import area_under_curve, membership_attacks, row_losses
from polymodal.nn.random import make_keys
from polymodal.types import Field, Space

FIELDS = {"code": {"modality": "vector", "size": 8}, "answer": {"modality": "vector", "size": 4}}
RECIPE = {
    "fields": {
        name: {
            **field, "role": "input" if name == "code" else "both", "encoder": {"kind": "vector"},
            "head": {"kind": "flow", "depth": 1, "heads": 2, "steps": 4, "repeats": 8, "guidance": 1.0},
        }
        for name, field in FIELDS.items()
    },
    "width": 48,
    "fusion": {"kind": "attention", "depth": 1, "heads": 2},
    "data": {"validation": 0, "test": 0.5},
    "tasks": {"none": 0.1, "one": 0.9, "some": 0.0},
    "train": {"steps": 150, "batch_size": 24, "learning_rate": 3e-3, "log_every": 300},
}  # fmt: skip


@pytest.fixture(scope="module")
def data():
    """Answers that have nothing to do with the codes: to know them is to have memorised the row."""
    random = np.random.default_rng(0)
    rows = [{"code": random.normal(size=8), "answer": random.normal(size=4)} for _ in range(48)]
    return pm.load(rows, FIELDS, validation=0, test=0.5)


@pytest.fixture(scope="module")
def learned(data, tmp_path_factory):
    return pm.fit(RECIPE, data, run=tmp_path_factory.mktemp("runs") / "learned")


def test_a_model_that_learned_its_rows_by_heart_is_found_out(learned, data):
    found = learned.audit(data.train, data.test, draws=8)
    attacks = {(one.field, one.name): one for one in found.attacks}
    assert attacks["answer", "loss"].auc > 0.9
    assert attacks["answer", "loss, less that with nothing given"].auc > 0.9
    leaks = {(leak.given, leak.to): leak for leak in found.leaks}
    assert leaks["code", "answer"].leaks
    assert leaks["code", "answer"].own > 0.8
    assert leaks["code", "answer"].own_held_out == pytest.approx(0.5, abs=0.2)
    assert leaks["code", "answer"].rows == len(data.train)


def test_rows_that_nobody_learned_look_alike(learned, data):
    fresh = [
        pm.load([{"code": r.normal(size=8), "answer": r.normal(size=4)} for _ in range(200)], FIELDS, validation=0,
                test=0).rows
        for r in map(np.random.default_rng, (1, 2))
    ]  # fmt: skip
    for one in membership_attacks(learned.model, *fresh, "answer"):
        assert one.low < 0.5 < one.high
    leak = leakage(learned.model, *fresh, "code", "answer")
    assert not leak.leaks
    assert leak.others == pytest.approx(0.5, abs=0.1)


def table(seed, rows, offset=0.0, kinds="ab"):
    random = np.random.default_rng(seed)
    return [{"code": random.normal(size=8) + offset, "kind": str(random.choice(list(kinds)))} for _ in range(rows)]


KINDS = {"code": FIELDS["code"], "kind": {"modality": "label"}}


def split(first, second):
    named = [row | {"split": name} for name, rows in (("train", first), ("test", second)) for row in rows]
    data = pm.load(named, KINDS, validation=0)
    return data.train, data.test


def test_who_knows_no_model_finds_a_shift_and_nothing_else(learned, data):
    found = blind_scores(*split(table(0, 80), table(1, 60, offset=1.0)))
    assert area_under_curve(*found) > 0.9
    assert area_under_curve(*blind_scores(*split(table(0, 200), table(1, 200)))) == pytest.approx(0.5, abs=0.1)
    moved = [{name: value + 2 for name, value in row.items()} for row in data.test]
    other = learned.data(moved).rows
    assert any("differ in distribution" in note for note in learned.audit(data.train, other, draws=1).notes)
    assert not any("differ" in note for note in learned.audit(data.train, data.test, draws=1).notes)


def test_like_is_compared_with_like():
    members, others, names = match(*split(table(0, 200, kinds="aaab"), table(1, 80, kinds="abbb")))
    assert names == ["kind"]
    counts = [{kind: rows.column("kind").count(kind) for kind in "ab"} for rows in (members, others)]
    assert counts[0] == counts[1]
    assert min(counts[0].values()) > 10
    kept = match(*split(table(0, 50, kinds="ab"), table(1, 40, kinds="cd")))
    assert kept[2] == []
    assert (len(kept[0]), len(kept[1])) == (50, 40)


def test_a_reference_takes_the_place_of_giving_nothing(learned, data):
    attacks = membership_attacks(learned.model, data.train, data.test, "answer", reference=learned.model)
    assert [one.name for one in attacks] == ["loss", "loss, less that of the reference"]
    assert attacks[1].auc == 0.5  # a model differs from itself in nothing


def test_losses_are_the_head_s_own(learned, data):
    model, rows = learned.model, data.test.only("code", "answer")
    batch = rows.decode(rows.batch(np.arange(3)))
    key = make_keys(5, 1).expand(3)
    with torch.no_grad():
        condition = model.condition(batch, {"code": torch.ones(3, dtype=torch.bool)}, key)
        one = condition.total_loss("answer", model.target(batch, "answer"))
    ours = row_losses(model, data.test, ["code"], "answer", draws=1, seed=5)
    assert ours[:3] == pytest.approx(one.double().numpy(), rel=1e-4)


def test_distances_between_rows():
    def field(values):
        value = torch.tensor(values)
        return Field.full(value, varies=0)

    ids = Space("discrete", (4,), vocab=9, varies=0)
    assert distances_between(field([[3, 1]]), field([[3, 1, 5], [4, 1, 0]]), ids).tolist() == [[1, 1]]
    vectors = Space("continuous", (2,))
    plain = [Field(torch.tensor(v), torch.ones(len(v), 1, dtype=torch.bool), torch.ones(len(v)))
             for v in ([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])]  # fmt: skip
    assert distances_between(*plain, vectors).tolist() == [[5, 1]]


def test_a_model_that_learned_nothing_is_seldom_accused():
    """It gives one value to all, so that all comparisons hang on the few values that are near to that."""
    random, accused, audits = np.random.default_rng(0), 0, 40
    for _ in range(audits):
        feature, values = torch.from_numpy(random.normal(size=(60, 3))), torch.from_numpy(random.normal(size=(60, 2)))
        neighbours = _Neighbours(feature, torch.cdist(torch.zeros(60, 2).double(), values), torch.arange(60))
        units = np.arange(60)

        def measured(mask, neighbours=neighbours):
            own, held_out, others = neighbours.measure(mask)
            return np.array([own - held_out, others])

        found = measured(np.arange(60) < 30)
        ps = _probabilities(found, lambda units=units, go=measured: go(_shuffle(units, 30, random)))
        accused += (ps < 0.05).sum()
    assert accused / (2 * audits) < 0.12


def test_rows_that_were_divided_together_are_shuffled_together():
    names = [f"name {number // 4}" for number in range(32)]
    rows = [{"name": name, "kind": f"kind {i % 2}", "own": f"{i}"} for i, name in enumerate(names)]
    fields = {"name": {"modality": "label"}, "kind": {"modality": "label"}, "own": {"modality": "label"}}
    whole = pm.load(rows, fields, validation=0, test=0).rows
    pair = [whole.select(np.arange(16)), whole.select(np.arange(16, 32))]
    assert len(np.unique(_units(pair, ("name", "kind")))) == 8  # names are on one side each, kinds on both
    assert len(np.unique(_units(pair, ("own", "kind")))) == 32
    mask = _shuffle(_units(pair, ("name",)), 16, np.random.default_rng(0))
    assert mask.sum() == 16
    assert (mask.reshape(8, 4).sum(1) % 4 == 0).all()


def test_what_is_left_out_is_said(learned, data, tmp_path):
    with pytest.raises(DataError, match="there are 3 held-out rows; 16 or more"):
        audit(learned.model, data.train, data.test.select(np.arange(3)))
    found = audit(learned.model, data.train, data.test, draws=1)
    again = audit(learned.model, data.train, data.test, draws=1)
    assert [asdict(one) for one in (*found.attacks, *found.leaks)] == [
        asdict(one) for one in (*again.attacks, *again.leaks)
    ]
    page = found.write_page(tmp_path / "page.html").read_text()
    assert page.count("<svg") == len(found.attacks) == 3
    assert "code → answer" in page
    assert not Leak("a", "b", 0.6, 0.5, 0.05, 0.55, 0.1, 10).leaks
    assert Leak("a", "b", 0.5, 0.5, 0.2, 0.75, 0.04, 10).leaks
    assert "corrected for all 2 tests" in page
