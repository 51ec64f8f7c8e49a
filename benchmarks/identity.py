"""What a redesign must not move: weights, samples and scores of small runs, as digests.

    python benchmarks/identity.py -o before.json                    # on the version before
    python benchmarks/identity.py -o after.json --against before.json

Every recipe is trained for 30 steps on a small part of a built-in data set, on one thread, then asked to generate and
scored. Tensors are compared by their contents and not by their names, so that a weight may be renamed. Digests are of
one kind of processor and one version of PyTorch; run both versions on one machine.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from safetensors.torch import load_file

import polymodal as pm

STEPS = {"train.steps": 30, "train.codec_steps": 10, "train.validate_every": 1.0, "train.precision": "no"}
FASHION, EMOJI = "fashion:train=200,voices=2", "emoji:concepts=8,voices=4"
RUNS: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "any-to-any": (EMOJI, {"name": "dolphin"}, ["picture", "speech"]),
    "text-to-image-gan": (FASHION, {"caption": "a photo of a bag"}, ["picture"]),
    "mvae": (FASHION, {"caption": "bag"}, ["picture", "speech"]),
    "masked-any-to-any": (FASHION, {"name": "bag"}, ["picture", "speech"]),
    "vq-autoregressive": (FASHION, {"caption": "a photo of a bag"}, ["picture"]),
    "image-to-text-attention": (FASHION, {}, ["caption"]),
}
"""By recipe: data, what is given (the first test row's picture where that is nothing), what is generated."""
CHANGED = {"masked-any-to-any": {"defaults.image.codec.channels": [32], "train.batch_size": 16}}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def of_tensors(file: Path) -> dict[str, str]:
    """Of each tensor of a file: its contents by its name."""
    return {
        name: digest(
            f"{t.dtype} {tuple(t.shape)}".encode() + t.contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
        for name, t in load_file(file).items()
    }


def of_object(thing: Any) -> str:
    content = getattr(thing, "samples", thing)
    return digest(content.encode() if isinstance(content, str) else np.asarray(content).tobytes())


def record(recipe: str, folder: Path) -> dict[str, Any]:
    """All digests of one run."""
    source, given, to = RUNS[recipe]
    shutil.rmtree(folder, ignore_errors=True)
    run = pm.fit(recipe, pm.load(source, pm_fields(recipe, source)), run=folder, set=STEPS | CHANGED.get(recipe, {}))
    checkpoint = max((folder / "checkpoints").glob("step-*"))
    data = run.data()
    given = given or {"picture": data.test[0]["picture"]}
    made = run.generate(given, to=to, n=2, seed=0)
    card = json.loads(run.evaluate(data.test, judge_steps=5, n_rows=16, samples=2).to_json())
    return {
        "model": of_tensors(checkpoint / "model.safetensors"),
        "ema": of_tensors(checkpoint / "ema.safetensors"),
        "generate": {name: [of_object(thing) for thing in things] for name, things in made.items()},
        "scores": {f"{'+'.join(s['inputs'])}>{s['output']} {s['metric']}": s["value"] for s in card["scores"]},
    }


def pm_fields(recipe: str, source: str) -> dict[str, Any]:
    """The recipe's fields; of a recipe that has none, some of the data set's."""
    from polymodal.config import load_recipe
    from polymodal.data import infer_fields

    fields = load_recipe(recipe).fields
    if fields:
        return {
            name: {"modality": field.modality, **field.arguments, "column": field.column or name}
            for name, field in fields.items()
        }
    return {name: field for name, field in infer_fields(source).items() if name in ("picture", "name", "speech")}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """What moved, in words."""
    found = []
    for recipe, then in before.items():
        now = after.get(recipe)
        if now is None:
            found.append(f"{recipe}: not run")
            continue
        for part in ("model", "ema"):
            lost = sorted(set(then[part].values()) - set(now[part].values()))
            if lost:
                names = [name for name, value in then[part].items() if value in lost]
                found.append(f"{recipe}: {part}: {len(names)} of {len(then[part])} tensors, such as {names[0]}")
        if then["generate"] != now["generate"]:
            found.append(f"{recipe}: generate: {then['generate']} -> {now['generate']}")
        for name, value in then["scores"].items():
            if now["scores"].get(name) != value:
                found.append(f"{recipe}: score {name}: {value} -> {now['scores'].get(name)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--against", type=Path, help="the JSON of another version")
    parser.add_argument("--recipes", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--runs", type=Path, help="keep the runs here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.runs or Path(scratch)
        found = {recipe: record(recipe, folder / recipe) for recipe in args.recipes}
    args.output.write_text(json.dumps(found, indent=1) + "\n")
    if not args.against:
        return 0
    before = {name: then for name, then in json.loads(args.against.read_text()).items() if name in args.recipes}
    moved = differences(before, found)
    print("\n".join(moved) if moved else f"nothing moved: {', '.join(found)}")
    return bool(moved)


if __name__ == "__main__":
    sys.exit(main())
