"""Trains the encoders of pictures and of words that come with the package, on what ``package_names.py`` collects.

    python benchmarks/train_encoders.py FOLDER --vocabulary
    nice python benchmarks/train_encoders.py FOLDER --minutes 40

FOLDER is that of ``package_names.py``. ``--vocabulary`` learns 8,192 byte pairs, and writes them to the package. Every
half minute the averaged weights go to ``FOLDER/encoders``; the command goes on where it was stopped. ``--ship`` trains
nothing, and writes what is there, in half precision, to the package. ``--measure`` prints figures of the weights in the
package.

A picture and what it is called are to be nearer each other than to those of other rows of the batch, in both
directions, and so are a word and what it means; rows of the same concept, in another style, are no negatives of one
another. Source: Radford et al., "Learning transferable visual models from natural language supervision", 2021, with the
targets of Khosla et al., "Supervised contrastive learning", 2020. The pieces of its name are to be told from a picture
as well, which teaches early what the towers have to meet in. Source: Huang et al., "Classification done right for
vision-language pre-training", 2024. Pictures are 48 x 48 pixels until the learning rate falls, which takes half the
time. Source: Touvron et al., "Fixing the train-test resolution discrepancy", 2019.
"""

import argparse
import copy
import json
import re
import time
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from polymodal.encoders.augment import jitter_picture
from polymodal.encoders.trained import PIECES, REVISION, SIDE, WIDTH, PictureTower, WordTower
from polymodal.files import atomic_file
from polymodal.modalities import Text, vocabulary
from polymodal.training.muon import Muon, hidden_matrices

BATCH, PAIRS, AVERAGE, CLIP = 128, 64, 0.995, 1.0
SMALL, DECAY = 48, 0.35
"""Pixels of a side before the decay, and the share of the minutes in which the learning rate falls to zero."""
PAIR_WEIGHT, LONGEST = 0.5, 24
"""Of the loss of words and meanings; most pieces of a text."""
TOGETHER = 48
"""Texts that are padded to one length."""
SPELLING = 0.3
"""Weight of the loss of the pieces of a picture's name."""


class Towers(nn.Module):
    """Both towers, the temperatures of their losses (of pictures, and of words and meanings), and a map to pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.words = PictureTower(), WordTower()
        nn.init.normal_(self.words.embedding.weight, std=0.05)
        self.spell = nn.Linear(WIDTH, self.words.embedding.embedding_dim)
        self.log_scale = nn.Parameter(torch.full((2,), float(np.log(1 / 0.1))))


class Rows:
    """Batches of pictures with what they are called, and of words with what they mean."""

    def __init__(self, folder: Path, seed: int):
        self.pictures = np.load(folder / "names" / "pictures.npy", mmap_mode="r")
        self.names = json.loads((folder / "names" / "names.json").read_text("utf-8"))
        concepts = {name: place for place, name in enumerate(sorted({told["concept"] for told in self.names}))}
        self.concepts = np.array([concepts[told["concept"]] for told in self.names])
        pairs = json.loads((folder / "names" / "pairs.json").read_text("utf-8"))
        self.pairs = [pair for pair in pairs if all(pair)]
        self.rng, self.text = np.random.default_rng(seed), Text(1 << 20, "trained")
        names = [told["name"].lower() for told in self.names]
        counts = np.bincount(np.concatenate([np.unique(self.text.read(name)) for name in names]), minlength=PIECES)
        self.rarity = torch.from_numpy(np.log((1 + len(names)) / (1 + counts))).float()

    def batch(self, side: int) -> tuple[Tensor, list[str], Tensor]:
        """Pictures (B, 3, side, side) in [-1, 1], on grounds of many colours; what they are called; their concepts."""
        index = self.rng.integers(len(self.names), size=BATCH)
        drawn = torch.from_numpy(np.stack([self.pictures[i] for i in index])).permute(0, 3, 1, 2).float() / 255
        colour, alpha = drawn[:, :3], drawn[:, 3:]
        drawing = torch.from_numpy(self.rng.random((4, BATCH, 1, 1, 1))).float()
        ink, ground = torch.from_numpy(self.rng.random((2, BATCH, 3, 1, 1))).float()
        # What is drawn in black alone, on no ground, is drawn in any dark colour on any light one, or the reverse.
        black = ((colour * alpha).sum((1, 2, 3)) < 0.06 * alpha.sum((1, 2, 3)))[:, None, None, None]
        dark, light = 0.5 * ink, torch.where(drawing[0] < 0.6, 1.0, 0.5 + 0.5 * ground)
        turned = drawing[1] < 0.3
        colour = torch.where(black, torch.where(turned, light, dark), colour)
        ground = torch.where(black, torch.where(turned, dark, light), torch.where(drawing[0] < 0.6, 1.0, ground))
        value = 2 * torch.lerp(ground.expand_as(colour), colour, alpha) - 1
        sided = torch.tensor([bool(re.search("left|right", self.names[i]["name"])) for i in index])
        value = torch.where((drawing[2] < 0.5) & ~sided[:, None, None, None], value.flip(3), value)
        value = torch.where(drawing[3] < 0.1, value.mean(1, keepdim=True), value)
        keys = torch.from_numpy(self.rng.integers(1 << 62, size=BATCH))
        value = jitter_picture(value, keys, scale=0.2, shift=0.1, colour=0.2, rotate_degrees=12.0, erase=0.3)
        if side != SIDE:
            value = F.interpolate(value, (side, side), mode="bilinear", antialias=True)
        return value, [self.called(self.names[i]) for i in index], torch.from_numpy(self.concepts[index])

    def called(self, told: dict) -> str:
        """The name or keywords of a picture, in one of several ways."""
        name, tags, way = told["name"].lower(), told["tags"], self.rng.random()
        if told["names"] and way < 0.1:
            return told["names"][int(self.rng.integers(len(told["names"])))]
        if tags and way < 0.25:
            name = tags[int(self.rng.integers(len(tags)))]
        elif tags and way < 0.4:
            name = ", ".join([name, *(tags[i] for i in self.rng.permutation(len(tags))[:2])])
        return name.capitalize() if self.rng.random() < 0.3 else name

    def meanings(self) -> tuple[list[str], list[str]]:
        chosen = [self.pairs[i] for i in self.rng.integers(len(self.pairs), size=PAIRS)]
        return [word for word, _ in chosen], [meaning for _, meaning in chosen]


def read(tower: WordTower, text: Text, values: list[str]) -> Tensor:
    """Places of texts, cut after so many pieces, (B, 256); those of like length together, so that few are padded."""
    rows = [torch.from_numpy(text.read(value)[:LONGEST]).long() for value in values]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    places = []
    for start in range(0, len(order), TOGETHER):
        ids = pad_sequence([rows[place] for place in order[start : start + TOGETHER]], batch_first=True)
        places.append(tower(ids, ids != Text.PAD)[1])
    return torch.cat(places)[torch.tensor(order).argsort()]


def contrast(one: Tensor, other: Tensor, alike: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of which of the others goes with each, both ways; those that are alike share it."""
    logits, target = scale.exp().clamp(max=100) * one.float() @ other.float().mT, alike.float()
    target = target / target.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.mT, target.mT.contiguous())) / 2


def spelling(towers: Towers, cells: Tensor, names: list[str], rows: Rows) -> Tensor:
    """Cross-entropy of the pieces of names, rare ones counting more, by the mean of a picture's cells."""
    target = torch.zeros(len(names), PIECES)
    for row, name in enumerate(names):
        ids = torch.from_numpy(rows.text.read(name)[:-1]).long()
        target[row, ids] = rows.rarity[ids]
    logits = towers.spell(cells.float().mean(1)) @ towers.words.embedding.weight.mT
    return F.cross_entropy(4 * logits, target / target.sum(1, keepdim=True))


def losses(towers: Towers, rows: Rows, side: int) -> dict[str, Tensor]:
    value, names, concepts = rows.batch(side)
    one, other = rows.meanings()
    with torch.autocast("cpu", torch.bfloat16):
        cells, seen = towers.pictures(value)
        read_all = read(towers.words, rows.text, names + one)
        told = read(towers.words, rows.text, other)
    places, words = read_all[:BATCH], read_all[BATCH:]
    same = concepts[:, None] == concepts
    return {
        "pictures": contrast(seen, places, same, towers.log_scale[0]),
        "spelling": SPELLING * spelling(towers, cells, names, rows),
        "meanings": PAIR_WEIGHT * contrast(words, told, torch.eye(PAIRS), towers.log_scale[1]),
    }


@torch.no_grad()
def retrieval(towers: Towers, folder: Path) -> dict[str, float]:
    """Of emoji that nothing learned from: how often the right one of N is first, and among the first five."""
    pictures = torch.from_numpy(np.load(folder / "names" / "held_out.npy")).permute(0, 3, 1, 2).float() / 255
    value = 2 * torch.lerp(torch.ones_like(pictures[:, :3]), pictures[:, :3], pictures[:, 3:]) - 1
    told = json.loads((folder / "names" / "held_out.json").read_text("utf-8"))
    seen = torch.cat([towers.pictures(part)[1] for part in value.split(64)])
    figures: dict[str, float] = {}
    for style in sorted({one["style"] for one in told}):
        own = torch.tensor([place for place, one in enumerate(told) if one["style"] == style])
        names = read(towers.words, Text(1 << 20, "trained"), [told[int(place)]["name"] for place in own])
        scores = seen[own] @ names.mT
        for way, ranked in (("name -> picture", scores.mT), ("picture -> name", scores)):
            rank = (ranked > ranked.diagonal()[:, None]).sum(1)
            figures |= {f"{style}, {way}, first {n}": float((rank < n).float().mean()) for n in (1, 5)}
    return figures | {"of": float(len(own))}


def train(folder: Path, minutes: float, peak: float, seed: int) -> None:
    torch.manual_seed(seed)
    rows, towers = Rows(folder, seed), Towers()
    matrices = hidden_matrices(towers)
    optimizer = Muon(
        [
            {"params": [p for p in towers.parameters() if (p in matrices) == orthogonal], "orthogonal": orthogonal,
             "betas": (0.95 if orthogonal else 0.9, 0.99), "weight_decay": 0.02 if orthogonal else 0.0}
            for orthogonal in (True, False)
        ],
        lr=peak,
    )  # fmt: skip
    average, step, spent, told = copy.deepcopy(towers).eval(), 0, 0.0, 0.0
    state = folder / "encoders" / "state.pt"
    state.parent.mkdir(exist_ok=True)
    if state.exists():
        saved = torch.load(state, weights_only=True)
        towers.load_state_dict(saved["towers"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["minutes"]
        rows.rng, told = np.random.default_rng([seed, step]), spent
    measured = told
    start = time.process_time() - 60 * spent
    while (done := (time.process_time() - start) / 60 / minutes) < 1:
        rate = peak * min(1.0, (step + 1) / 100) * min(1.0, (1 - done) / DECAY)
        for group in optimizer.param_groups:
            group["lr"] = rate
        terms = losses(towers, rows, SIDE if 1 - done < DECAY else SMALL)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        nn.utils.clip_grad_norm_(towers.parameters(), CLIP)
        optimizer.step()
        step += 1
        with torch.no_grad():
            torch._foreach_lerp_(
                list(average.parameters()), list(towers.parameters()), 1 - min(AVERAGE, 1 - 10 / (step + 10))
            )
        if done * minutes >= told:
            told = done * minutes + 0.5
            save(average, folder)
            torch.save({"towers": towers.state_dict(), "average": average.state_dict(), "step": step,
                        "optimizer": optimizer.state_dict(), "minutes": done * minutes}, state)  # fmt: skip
            figures = {"step": step, "minutes": done * minutes, "rate": rate}
            figures |= {name: term.item() for name, term in terms.items()}
            if told - measured >= 3:
                figures, measured = figures | retrieval(average, folder), told
            print(json.dumps({name: round(figure, 4) for name, figure in figures.items()}), flush=True)
    save(average, folder)


def save(towers: nn.Module, folder: Path) -> None:
    weights = {name: tensor.detach().contiguous() for name, tensor in towers.state_dict().items()}
    with atomic_file(folder / "encoders" / "weights.safetensors") as partial:
        save_file(weights, partial)


def ship(folder: Path) -> None:
    """Writes the weights where the package keeps them."""
    weights = load_file(folder / "encoders" / "weights.safetensors")
    half = {
        name: tensor.half().contiguous() for name, tensor in weights.items() if name.startswith(("pictures.", "words."))
    }
    with atomic_file(Path(str(files("polymodal.encoders") / "weights" / f"{REVISION}.safetensors"))) as partial:
        save_file(half, partial)


def learn_vocabulary(folder: Path) -> None:
    """Writes the merges of the vocabulary where the package keeps them, one a line.

    Names of things count several times, as descriptions of packages are many and long.
    """
    names, pairs, descriptions = (
        json.loads((folder / "names" / f"{name}.json").read_text("utf-8"))
        for name in ("names", "pairs", "descriptions")
    )
    texts = [text for told in names for text in (*[told["name"]] * 4, *told["tags"], *told["names"])]
    texts += [text for word, meaning in pairs for text in (word, word, word, f" {word}", meaning)]
    texts += [text for _, short, long in descriptions for text in (short, long.replace("\n", " "))]
    model = json.loads(vocabulary.byte_pairs(PIECES - Text.SHIFT, texts).to_str())["model"]
    with atomic_file(Path(str(files("polymodal.modalities") / "weights" / f"{vocabulary.REVISION}.txt"))) as partial:
        partial.write_text("".join(f"{left} {right}\n" for left, right in model["merges"]), "utf-8")


def measure(folder: Path) -> None:
    towers = Towers().eval()
    shipped = load_file(str(files("polymodal.encoders") / "weights" / f"{REVISION}.safetensors"))
    towers.load_state_dict({name: tensor.float() for name, tensor in shipped.items()}, strict=False)
    print(json.dumps({name: round(figure, 3) for name, figure in retrieval(towers, folder).items()}, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=40.0, help="of the processor")
    parser.add_argument("--rate", type=float, default=1e-3, help="the learning rate before it falls")
    parser.add_argument("--seed", type=int, default=0)
    for action in ("vocabulary", "ship", "measure"):
        parser.add_argument(f"--{action}", action="store_true")
    given = parser.parse_args()
    if given.vocabulary:
        learn_vocabulary(given.folder)
    elif given.ship:
        ship(given.folder)
    elif given.measure:
        measure(given.folder)
    else:
        train(given.folder, given.minutes, given.rate, given.seed)
