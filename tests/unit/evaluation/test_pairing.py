"""What counts as a pair when runs are compared."""

import numpy as np

from polymodal.evaluation.scorecard.agreement import MetricResult
from polymodal.evaluation.scorecard.comparison import Evaluation, compare
from polymodal.evaluation.scorecard.evaluator import DirectionResult
from polymodal.evaluation.scorecard.scorecard import Score


def evaluation(data: str, right: bool) -> Evaluation:
    values = np.full(30, float(right))
    score = Score(("a",), "b", "accuracy", values.mean(), 0.0, 1.0, 1.0, 0.1, 30, True, 0.0)
    cell = DirectionResult(("a",), "b", list(range(30)), [MetricResult("accuracy", np.arange(30), values)])
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
