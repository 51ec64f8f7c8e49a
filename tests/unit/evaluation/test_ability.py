"""What judges' scores are worth, and colours that lie between chance and real values."""

import pytest

import polymodal as pm
from polymodal.evaluation import write_report
from polymodal.evaluation.report.ability import standing, unable_judges
from polymodal.evaluation.report.heat_map import heat_map
from polymodal.evaluation.scorecard import Score, Scorecard


def score(metric="accuracy", value=0.5, ceiling=1.0, chance=0.2, low=None, high=None, output="word", inputs=("name",)):
    low, high = value - 0.05 if low is None else low, value + 0.05 if high is None else high
    better = None if ceiling is None or chance is None else ceiling > chance
    return Score(inputs, output, metric, value, low, high, ceiling, chance, 50, better, 1.0)


def card(*scores, held_out=None):
    judge = {"hash": "0", "held_out": held_out or {}}
    facts = {"seed": 0, "rows": 50, "rows_of_a_direction": 50, "data": "0", "judge": judge, "options": {}, "recipe": {}}
    return Scorecard("test", list(scores), {}, {"word": pm.Text()}, facts, [])


@pytest.mark.parametrize(
    ("found", "where"),
    [
        (score(value=0.22), "chance"),
        (score(value=0.6), "between"),
        (score(value=0.97), "real"),
        (score(value=0.6, low=0.1, high=1.0), "unknown"),
        (score(ceiling=None), "unknown"),
        (score(ceiling=0.23), "unknown"),
        (score("error", value=0.02, ceiling=0.0, chance=0.8), "real"),
        (score("error", value=0.79, ceiling=0.0, chance=0.8), "chance"),
        (score("judge's top-1", value=0.04, ceiling=0.04, chance=0.01), "unknown"),
        (score("judge's top-1", value=0.2, ceiling=0.3, chance=0.01), "unknown"),
    ],
)
def test_a_score_stands_between_chance_and_real_values(found, where):
    assert standing(found) == where


def test_an_unable_judge_is_named_first(tmp_path):
    able = card(score("judge's top-1", ceiling=0.9))
    assert unable_judges(able) == []
    few = score("judge's top-1", 0.04, ceiling=0.04, chance=0.02)
    (sentence,) = unable_judges(card(few))
    assert "The judge is unable: it is right about 4% of 50 real values of 'word'; 2% by chance" in sentence
    assert "tell nothing of the model" in sentence
    (sentence,) = unable_judges(card(few, held_out={"word": {"top_1": 0.4, "values": 200}}))
    assert "40% of 200 real values" in sentence
    assert "tell little of the model" in sentence
    assert unable_judges(card(few, held_out={"word": {"top_1": 0.9, "values": 200}})) == []
    assert "pocketsphinx is unable" in unable_judges(card(score("pocketsphinx's top-1", 0.1, 0.3, 0.1)))[0]
    page = write_report(card(few), tmp_path / "page.html").read_text()
    assert page.index("The judge is unable") < page.index("<table")


def test_a_cell_that_tells_nothing_has_no_shade(tmp_path):
    scores = [
        score("judge's top-1", 0.04, ceiling=0.04, chance=0.02),
        score(value=0.6, output="tone"),
        score(value=0.6, inputs=("tone",)),
    ]
    grid = heat_map(scores)
    assert next([shade and shade.share for shade in line] for _, line in grid.lines) == [None, pytest.approx(0.5)]
    assert "1px dashed" in write_report(card(*scores), tmp_path / "page.html").read_text()
