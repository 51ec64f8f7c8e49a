"""Every command that the studio shows is one that ``polymodal`` accepts, with the values that were given."""

import json
import shlex
from pathlib import Path

import pytest

from polymodal.cli.main import _parser
from polymodal.studio import commands


@pytest.fixture
def run(tmp_path):
    """As much of a run as the parser looks at."""
    fields = {name: {"modality": "text"} for name in ("name", "to", "seed")}
    (tmp_path / "config.json").write_text(json.dumps({"recipe": {"fields": fields}}))
    return str(tmp_path)


def parsed(words):
    shown = shlex.split(commands.line(words))
    assert shown == ["polymodal", *words]
    return vars(_parser(words).parse_args(words))


def test_inspect():
    words = commands.inspect("my rows.csv", fields=Path("f.yaml"), sheet=Path("s.png"), validation=0.1, test=0)
    args = parsed(words)
    assert (args["source"], args["fields"], args["sheet"]) == ("my rows.csv", Path("f.yaml"), Path("s.png"))
    assert (args["validation"], args["test"]) == (0.1, 0)


@pytest.mark.parametrize("budget", ["minutes", "steps"])
def test_train(budget):
    args = parsed(
        commands.train(
            "tiny", "rows.csv", "runs/a", size="tiny", budget=budget, amount=20.0, settings={"data.test": 0.2}
        )
    )
    assert args[budget] == 20
    assert (args["size"], args["set"], args["output"]) == ("tiny", ["data.test=0.2"], Path("runs/a"))
    assert args["fields"] is None


@pytest.mark.parametrize("text", ["red apple", "-5", "it's $HOME; `ls`", "a=b", "苹果"])
@pytest.mark.parametrize("name", ["name", "to", "seed"])
def test_what_is_given_arrives_as_it_is(run, name, text):
    for words in (
        commands.generate(run, {name: text}, ["name", "seed"], n=3, seed=-1, folder=Path("out")),
        commands.explain(run, {name: text}, "name", seed=2, page=Path("p.html")),
        commands.search(run, {name: text}, "name", k=3, folder=Path("out")),
    ):
        args = parsed(words)
        given = {key.removeprefix("field "): value for key, value in args.items() if key.startswith("field ")}
        given |= dict(pair.split("=", 1) for pair in args["given"])
        assert {key: value for key, value in given.items() if value is not None} == {name: text}


def test_fill_evaluate_compare(run):
    args = parsed(commands.fill(run, "t.csv", Path("f.csv"), confidence=True, least=0.5, draw=False))
    assert (args["confidence"], args["min_confidence"], args["draw"], args["overwrite"]) == (True, 0.5, False, True)
    args = parsed(commands.fill(run, "t.csv", Path("f.csv"), confidence=False, least=0, draw=True))
    assert (args["confidence"], args["min_confidence"], args["draw"]) == (False, None, True)
    args = parsed(commands.evaluate(run, split="validation", rows=7, judge_steps=0, quick=True))
    assert (args["split"], args["rows"], args["judge_steps"], args["quick"]) == ("validation", 7, 0, True)
    args = parsed(commands.compare(["a", "b"], split="test", page=Path("p.html")))
    assert args["runs"] == [Path("a"), Path("b")]
