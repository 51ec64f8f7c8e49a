"""The code of CONTRIBUTING.md runs, in order, and what it adds keeps the promises of its family."""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import polymodal as pm
from contract import test_balancers, test_heads, test_parts
from polymodal.balancing import BALANCERS
from polymodal.encoders import ENCODERS
from polymodal.fusion import FUSIONS
from polymodal.heads import HEADS
from polymodal.modalities import MODALITIES
from polymodal.tables import open_table

PAGE = Path(__file__).parent.parent / "CONTRIBUTING.md"
TABLES = (MODALITIES, ENCODERS, FUSIONS, HEADS, BALANCERS)


@pytest.fixture
def page(monkeypatch, tmp_path) -> dict:
    """What its code defines; the tables are as before afterwards."""
    monkeypatch.chdir(tmp_path)
    before = [dict(table) for table in TABLES]
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    names: dict = {"__name__": "contributing"}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    yield names
    for table, old in zip(TABLES, before, strict=True):
        table.clear()
        table.update(old)


def test_every_family_has_a_page_that_runs(page, capsys):
    added = [next(reversed(table)) for table in TABLES]
    assert added == ["angle", "bag", "mean", "gaussian", "scale"]
    made = page["model"].generate({"name": "west"}, to="wind", n=3)["wind"]
    assert len(made) == 3
    assert all(0 <= degrees < 360 for degrees in made)
    angle = page["Angle"](2.0)
    written = angle.write(angle.to_model(page["torch"].from_numpy(angle.read(45))))
    assert written == pytest.approx(45, abs=1e-3)
    np.testing.assert_allclose(angle.read(angle.encode(written)), angle.read(45), atol=1e-5)
    assert angle.preview(0.5) == '<span class="text">0.5</span>'
    assert angle.identity(0.5) != angle.identity("0.5")


@pytest.mark.usefixtures("page")
def test_what_the_page_adds_is_filled_in_tables(tmp_path):
    model = pm.open("runs/wind")
    for ending in (".jsonl", ".parquet"):
        table = tmp_path / f"table{ending}"
        names = pa.table({"name": ["east", "west"]})
        pa.parquet.write_table(names, table) if ending == ".parquet" else table.write_text('{"name": "east"}\n' * 2)
        done = model.fill(table, tmp_path / f"filled{ending}", columns=["wind"])
        assert done.filled == {"wind": 2}
        (rows, *_) = (shard.rows for shard in open_table(done.path).shards())
        assert all(0 <= row["wind"] < 360 for row in rows)


@pytest.mark.usefixtures("page")
def test_what_the_page_adds_keeps_the_promises():
    promises = [
        *((test_parts.test_an_encoder_gives_tokens_of_each_row_alone, "bag", name) for name in ("text", "label")),
        *((test_parts.test_an_encoder_sees_nothing_behind_a_mask, "bag", name) for name in ("text", "label")),
        (test_parts.test_a_fusion_joins_any_subset, "mean"),
        (test_heads.test_players_partition_the_parameters, "gaussian", "vector"),
        (test_heads.test_losses_are_per_row_and_of_that_row_alone, "gaussian", "vector"),
        (test_heads.test_a_sample_has_its_own_seed_and_survives_saving, "gaussian", "vector"),
        (test_balancers.test_weights_are_positive_bounded_and_of_mean_one, "scale"),
        (test_balancers.test_the_state_is_json_and_all_that_it_knows, "scale"),
        (test_balancers.test_the_scale_of_a_loss_cancels_out, "scale"),
    ]
    for promise, *part in promises:
        promise(*part)
    assert {kind for _, kind, *_ in promises} == {next(reversed(table)) for table in TABLES if table is not MODALITIES}
