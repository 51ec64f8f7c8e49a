"""Pages: one file, everything inside, nothing interpreted."""

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser

import numpy as np
import soundfile
from PIL import Image

import polymodal as pm
from polymodal.evaluation import Card, Fault, Sample, Score, Scorecard, Section, write_page, write_report
from polymodal.evaluation.report import command_line
from polymodal.modalities.audio import Waveform

VOID = {"meta", "link", "img", "br"}
FIELDS = {
    "picture": pm.Image(size=8),
    "name": pm.Text(),
    "word": pm.Text(),
    "place": pm.Vector(2),
    "speech": pm.Audio(sample_rate_hz=8000),
}


def shown(**things):
    """As a card has them."""
    return {name: FIELDS[name].preview(thing) for name, thing in things.items()}


class Balanced(HTMLParser):
    """Every element that is opened is closed, and in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parse(path) -> Balanced:
    parser = Balanced()
    parser.feed(path.read_text(encoding="utf-8"))
    assert parser.open == []
    return parser


def score(inputs, output, **changes):
    about = {"metric": "exact match", "value": 0.5, "low": 0.25, "high": 0.75, "ceiling": 1.0, "chance": 0.1}
    return Score(inputs, output, **(about | changes), rows=8, higher_is_better=True, seconds=1.0)


def test_pictures_and_sound_are_inside(tmp_path):
    picture = Image.new("RGB", (8, 8), "red")
    sound = Waveform(np.sin(np.arange(800) / 5).astype(np.float32), 8000)
    card = Card(shown(name="tone"), shown(picture=picture, speech=sound), shown(picture=picture, speech=sound), True)
    page = parse(write_page(tmp_path / "new" / "page.html", "Title", [Section("Part", cards=[card])]))
    sources = {tag: [attrs["src"] for t, attrs in page.seen if t == tag] for tag in ("img", "audio")}
    assert [len(found) for found in sources.values()] == [2, 2]
    decoded = {tag: base64.b64decode(found[0].split(",", 1)[1]) for tag, found in sources.items()}
    assert Image.open(io.BytesIO(decoded["img"])).getpixel((0, 0)) == (255, 0, 0)
    samples, rate = soundfile.read(io.BytesIO(decoded["audio"]), dtype="float32")
    assert rate == 8000
    assert np.abs(samples - sound.samples).max() < 1e-4


def test_nothing_comes_from_elsewhere_and_nothing_is_interpreted(tmp_path):
    given = shown(name="<script>alert(1)</script>") | {"word": "<b>plain"}
    card = Card(given, shown(name=""), shown(place=np.array([1.0, 2.0])), None, "a < b")
    path = write_page(tmp_path / "p.html", "<b>", [Section("<i>", "&", cards=[card])], facts={"recipe": {"a": "<"}})
    text = path.read_text()
    parse(path)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "&lt;b&gt;plain" in text
    assert "<i>nothing</i>" in text
    assert "[1. 2.]" in text
    assert not re.findall(r"(?:src|href)=\"(?!data:)", text)
    assert "http" not in text


def test_a_report_has_every_score_and_sample(tmp_path):
    samples = [Sample({"name": "cat"}, "cot", "cat", False, "judge: cot"), Sample({"name": "dog"}, "dog", "dog", True)]
    facts = {"seed": 3, "rows_of_a_direction": 8, "rows": 20, "data": "abc", "judge": None, "options": {}, "recipe": {}}
    one = Scorecard(
        "seen", [score(("name",), "word"), score(("name",), "place", ceiling=None, chance=None)],
        {"name → word": samples}, FIELDS, facts, ["A note."],
    )  # fmt: skip
    two = Scorecard(
        "unseen", [score(("name",), "word", value=1.5, high=2.0)], {"name → word": samples}, FIELDS, facts, []
    )
    text = write_report([one, two], tmp_path / "r.html", command="polymodal evaluate runs/mine").read_text()
    parse(tmp_path / "r.html")
    for expected in ("0.250 – 0.750", "A note.", "name → word, unseen", "polymodal evaluate runs/mine", "20 rows, abc"):
        assert expected in text
    assert text.count('class="card wrong"') == text.count('class="card right"') == 2
    assert text.index("cot") < text.index(">dog<")
    assert "width: 100.0%" in text  # a bar ends where its scale does


def test_what_is_wrong_comes_first_and_curves_are_drawn(tmp_path):
    picture = Image.new("RGB", (8, 8), "red")
    samples = [Sample({"name": "cat"}, picture, picture, True, "judge: cat", nearest=picture, ratio=0.25)]
    facts = {"seed": 3, "rows_of_a_direction": 8, "rows": 20, "data": "abc", "options": {}, "recipe": {}}
    facts |= {"judge": {"hash": "0123judge"}, "model": "4567model", "training": "89abtraining"}
    scores = [score(("name",), "picture"), score(("name", "place"), "picture"), score(("place",), "picture")]
    scores.append(score(("name",), "picture", metric="Fréchet distance", value=7.3, high=9.0, aspect="quality"))
    fault = Fault("blurred", "name → picture", "Samples have 30% of the fine detail.")
    card = Scorecard("test", scores, {"name → picture": samples}, FIELDS, facts, [], [fault])
    lines = [{"step": n, "loss": 1 / n, "picture.flow": 2 / n, "gradient_norm.model": 1.0} for n in range(1, 9)]
    lines += [{"step": 2, "validation.picture.flow": 1.5}, {"step": 8, "validation.picture.flow": 0.5}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"step": 9, "lo')
    page = parse(write_report(card, tmp_path / "r.html", run=tmp_path, command="polymodal evaluate"))
    text = (tmp_path / "r.html").read_text()
    assert text.index("blurred") < text.index('class="heat"') < text.index("judge&#39;s") < text.index("<svg")
    assert text.count("<td title=") == 3
    assert [text.count(f"<figcaption>{name}<") for name in ("loss", "picture.flow", "gradient_norm.model")] == [1, 1, 0]
    assert text.count('class="dashed"') == 1
    assert "nearest in training" in text
    assert "nearest training value at 0.25" in text
    assert all(name in text for name in ("0123judge", "4567model", "89abtraining"))
    assert [tag for tag, _ in page.seen].count("svg") == 2


def test_the_command_can_be_typed_again(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/bin/polymodal", "explain", "run", "--name", "red apple"])
    assert command_line() == "polymodal explain run --name 'red apple'"
    monkeypatch.setattr(sys, "argv", ["/lib/polymodal/__main__.py", "evaluate"])
    assert command_line() == "python -m polymodal evaluate"
