"""Comparisons: known differences are found, and nothing is called significant that may be chance."""

from dataclasses import replace

import numpy as np
import pytest

from polymodal.errors import CheckpointError, ConfigError
from polymodal.evaluation import Score
from polymodal.evaluation.metrics.result import MetricResult
from polymodal.evaluation.report.heat_map import heat_map
from polymodal.evaluation.scorecard import Evaluation, compare, read_evaluation
from polymodal.evaluation.scorecard.direction_result import DirectionResult

RIGHT = np.random.default_rng(0).random(200) < 0.5


def score(value: float, metric: str = "exact match", **changes) -> Score:
    about = {"low": 0.0, "high": 1.0, "ceiling": 1.0, "chance": 0.1, "higher_is_better": True} | changes
    return Score(("name",), "word", metric, value, rows=200, seconds=0.0, **about)


def evaluation(name: str, *values: tuple[str, np.ndarray], data: str = "abc", **changes) -> Evaluation:
    rows = np.arange(200)
    cell = DirectionResult(
        ("name",), "word", rows.tolist(), [MetricResult(metric, own.astype(float)) for metric, own in values]
    )
    scores = [score(float(own.mean()), metric, **changes) for metric, own in values]
    return Evaluation(name, scores, {"data": data, "judge": None, "seed": 0}, {cell.name: cell})


def test_what_is_better_is_found_and_what_is_the_same_is_not():
    better = RIGHT.copy()
    better[:30] = True
    first = evaluation("first", ("exact match", RIGHT), ("accuracy", RIGHT))
    second = evaluation("second", ("exact match", better), ("accuracy", RIGHT))
    (found, same), notes = compare([first, second])
    assert notes == []
    assert found.better == [True]
    assert found.p_values[0] < 0.01
    assert found.intervals[0][0] <= found.changes[0] <= found.intervals[0][1]
    assert same.better == [None]
    assert compare([second, first])[0][0].better == [False]


def test_few_rows_that_differ_may_be_chance():
    few = RIGHT.copy()
    few[np.flatnonzero(~RIGHT)[:3]] = True
    (found,), _ = compare([evaluation("first", ("exact match", RIGHT)), evaluation("second", ("exact match", few))])
    assert found.better == [None]
    assert found.p_values[0] >= 0.25


def test_of_what_is_best_as_real_the_nearer_is_better():
    sharp, sharper = RIGHT + 1.0, RIGHT + 1.5
    first, second = (evaluation("run", ("sharpness", own), higher_is_better=None) for own in (sharp, sharper))
    assert compare([first, second])[0][0].better == [False]  # both are above 1
    assert compare([second, first])[0][0].better == [True]


def test_other_rows_are_no_pairs_and_are_told():
    other = evaluation("second", ("exact match", ~RIGHT), data="xyz")
    result = other.results["name → word"]
    other = replace(other, results={"name → word": replace(result, rows=[row + 1 for row in result.rows])})
    (found,), notes = compare([evaluation("first", ("exact match", RIGHT)), other])
    assert found.p_values == [None]
    assert notes == ["The runs were scored with different data; their scores are not those of the same thing."]
    with pytest.raises(ConfigError, match="the runs share no score"):
        compare([evaluation("first", ("exact match", RIGHT)), evaluation("second", ("accuracy", RIGHT))])


@pytest.mark.parametrize("scores", ['[{"metric": "accuracy"}]', '[{"inputs": []}]', "[1]", '{"a": 1}', "null"])
def test_scores_of_another_form_are_refused(tmp_path, scores):
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "test.json").write_text(f'{{"scores": {scores}, "facts": {{}}}}')
    (tmp_path / "evaluation" / "test.cells.json").write_text("{}")
    with pytest.raises(CheckpointError, match="its scores are of another version; run polymodal evaluate"):
        read_evaluation(tmp_path)
    with pytest.raises(CheckpointError, match="has no scores of its validation rows"):
        read_evaluation(tmp_path, "validation")


def test_a_heat_map_runs_from_chance_to_real():
    cells = [
        score(0.1),
        replace(score(0.55), inputs=("picture",)),
        replace(score(0.2, ceiling=0.0, chance=0.8, higher_is_better=False), inputs=("name", "picture"), output="tone"),
    ]
    grid = heat_map([*cells, score(0.9, "second metric")])
    assert grid.outputs == ["word", "tone"]
    assert [name for name, _ in grid.lines] == ["name", "picture", "name + picture"]
    shares = [[None if shade is None else round(shade.share, 3) for shade in line] for _, line in grid.lines]
    assert shares == [[0.0, None], [0.5, None], [None, 0.75]]
    assert heat_map([]) is None
