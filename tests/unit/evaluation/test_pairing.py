"""What counts as a pair when runs are compared."""

import numpy as np

from polymodal.evaluation import Score
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.scorecard import Evaluation, compare
from polymodal.evaluation.scorecard.direction_result import DirectionResult


def evaluation(data: str, right: bool) -> Evaluation:
    values = np.full(30, float(right))
    score = Score(("a",), "b", "accuracy", values.mean(), 0.0, 1.0, 1.0, 0.1, 30, True, 0.0)
    cell = DirectionResult(("a",), "b", list(range(30)), [MetricResult("accuracy", values)])
    return Evaluation("run", [score], {"data": data, "seed": 0, "judge": None}, {cell.name: cell})


def test_rows_of_other_data_are_no_pairs():
    (same,), notes = compare([evaluation("one", False), evaluation("one", True)])
    assert same.p_values[0] < 0.01
    assert same.better == [True]
    assert notes == []
    (other,), notes = compare([evaluation("one", False), evaluation("two", True)])
    assert other.p_values == [None]
    assert other.better == [None]
    assert "different data" in notes[0]
