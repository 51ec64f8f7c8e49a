"""What a modality learns of the rows is learned without decoding a value again for each row that has it."""

from unittest.mock import patch

import numpy as np
import pytest

import polymodal as pm

ROWS = 60


@pytest.mark.parametrize(
    ("modality", "decoder"),
    [(pm.Points(count=16), "_sample"), (pm.Molecule(), "_symbols"), (pm.Series(1, 1.0, 10), "_values")],
    ids=["points", "molecule", "series"],
)
def test_a_value_that_many_rows_share_is_decoded_once_for_what_is_learned_and_once_to_be_kept(
    modality, decoder, tmp_path
):
    random, kind = np.random.default_rng(0), type(modality)
    if kind is pm.Molecule:
        values = ["CCO", "CCN", "CCCO"]
    else:
        values = [f"{number}.npy" for number in range(3)]
        for name in values:
            np.save(tmp_path / name, random.normal(size=(40, 3) if kind is pm.Points else (8, 1)).astype(np.float32))
    rows = [{"x": values[row % 3]} for row in range(ROWS)]
    called, decode = [], getattr(kind, decoder)

    def counted(self, raw):
        called.append(raw)
        return decode(self, raw)

    with patch.object(kind, decoder, counted):
        data = pm.load(rows, {"x": modality}, validation=0, test=0, cache=tmp_path / "cache", root=tmp_path)
    assert len(called) == 3 + 3
    assert len(data.train) == ROWS
