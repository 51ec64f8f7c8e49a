"""What the recipe `presenter` reaches: faces for speech in voices never heard, speech with a face, lip reading.

`speech-to-mouth` makes the opening of the mouth alone, as a series, which is compared with the true one.

- ``speech -> face``: Pearson's correlation, mean of all rows, of the opening of the mouth, as the pixels of what was
  made show it, with the true one. Retrieval, the cheapest honest baseline, is the face of the training row whose
  spectrogram is nearest.
- ``text -> speech + face``: correlation of the opening in the made face with the one that a judge hears in the made
  speech. The judge has learned from sentences that no generator has seen; ``real`` is its correlation with the truth
  in real speech of the same rows. Beside it stands the face of another row.
- ``face -> text``: share of texts that are exactly right, and errors in characters over characters; retrieval is the
  text of the training row whose mouth is nearest.
"""

import argparse
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from rich.console import Console
from sklearn.neural_network import MLPRegressor
from torch import Tensor

import polymodal as pm
from fashion_scores import Ours, Results, everything, first, share, trained
from polymodal.data import Rows
from polymodal.data.presenter import DEFAULT_TRAIN, FIELDS, opening_of
from polymodal.data.presenter.visemes import RATE_HZ
from polymodal.evaluation.metrics import correlation
from polymodal.evaluation.metrics.error_rates import character_errors
from polymodal.generation import contact, write
from polymodal.modalities.animations import FILMED
from polymodal.modalities.audio import Waveform
from polymodal.modalities.video import Clip, film_strip

JUDGED_ON = 600
"""Sentences that the judge learns from."""
SHOWN = 6
"""Rows of each direction that are kept as films."""
AROUND = 4
"""Frames of a spectrogram that the judge hears before and after each frame of a face."""
FRAMES_OF_SOUND = 5
"""To one frame of a face: 256 samples of 16 kHz are a fifth of 80 ms."""

Series = Sequence[np.ndarray]


class Judge:
    """Hears in speech how far a mouth is open.

    Args:
        train: Training rows of the generators.
        seed: Of its weights.
    """

    def __init__(self, train: int, seed: int = 0):
        names = ("text", "speech", "mouth")
        data = pm.load(f"presenter:train={train + JUDGED_ON}", {name: FIELDS[name] for name in names})
        own = data.train.select(torch.arange(train, train + JUDGED_ON))
        own = own.select(own.present["mouth"])
        heard = [heard_in(value) for value in everything(own.only("speech"))["speech"].values()]
        mouths = mouths_of(own)
        pairs = [(sound[: len(mouth)], mouth[: len(sound)]) for sound, mouth in zip(heard, mouths, strict=True)]
        self.network = MLPRegressor(
            hidden_layer_sizes=(64,), alpha=0.1, early_stopping=True, max_iter=60, random_state=seed
        )
        self.network.fit(np.concatenate([sound for sound, _ in pairs]), np.concatenate([mouth for _, mouth in pairs]))

    def __call__(self, speech: Sequence[Tensor]) -> Series:
        """Spectrograms (mels, frames) -> openings (T,) at the rate of faces."""
        return [self.network.predict(heard_in(value)) for value in speech]


def heard_in(spectrogram: Tensor) -> np.ndarray:
    """(mels, frames) -> the surroundings (T, F) of each frame of a face."""
    quiet = float(spectrogram.min())
    count = max(1, round(spectrogram.shape[1] / FRAMES_OF_SOUND))
    after = AROUND + max(0, count * FRAMES_OF_SOUND - spectrogram.shape[1])
    padded = torch.nn.functional.pad(spectrogram.float(), (AROUND, after), value=quiet)
    windows = padded.unfold(1, FRAMES_OF_SOUND + 2 * AROUND, FRAMES_OF_SOUND)
    return windows[:, :count].movedim(1, 0).flatten(1).numpy()


def mouths_of(rows: Rows) -> Series:
    """True openings (T,)."""
    traces = write(rows.fields["mouth"], everything(rows.only("mouth"))["mouth"])
    return [trace.values[:, 0] for trace in traces]


def agreement(first: Series, second: Series) -> float:
    """Mean over pairs of series of their correlation, over the steps that both have."""
    found = []
    for one, other in zip(first, second, strict=True):
        steps = min(len(one), len(other))
        x, y = (torch.as_tensor(np.ascontiguousarray(series[:steps]))[None, None] for series in (one, other))
        found.append(float(correlation(x, y, torch.ones(1, steps, dtype=torch.bool))))
    return float(np.mean(found))


def nearest(values: Series, known: Series) -> list[int]:
    """For each value (T, ...) the place of the known one with the least mean squared difference, the end as zeros."""

    def distance(one: np.ndarray, other: np.ndarray) -> float:
        steps = min(len(one), len(other))
        rest = np.square(one[steps:]).sum() + np.square(other[steps:]).sum()
        return float((np.square(one[:steps] - other[:steps]).sum() + rest) / max(len(one), len(other)))

    return [int(np.argmin([distance(value, other) for other in known])) for value in values]


def split(arguments: argparse.Namespace, *names: str) -> tuple[Rows, Rows]:
    """Test rows, and training rows with a mouth."""
    data = pm.load(source(arguments), {name: FIELDS[name] for name in names})
    return first(data.test, arguments.samples), data.train.select(data.train.present["mouth"])


def source(arguments: argparse.Namespace) -> str:
    """The data set, with its options."""
    return f"presenter:train={arguments.train or DEFAULT_TRAIN}"


def heard_before(rows: Rows, known: Rows) -> Series:
    """For each row the mouth of the known row whose spectrogram is nearest."""
    sounds, others = ([value.T.numpy() for value in everything(one.only("speech"))["speech"].values()]
                      for one in (rows, known))  # fmt: skip
    mouths = mouths_of(known)
    return [mouths[place] for place in nearest(sounds, others)]


def measure_mouth(arguments: argparse.Namespace, seed: int, results: Results) -> None:
    """Trains and scores `speech-to-mouth` with a seed."""
    rows, known = split(arguments, "speech", "mouth")
    model, truth = trained("speech-to-mouth", source(arguments), arguments, seed), mouths_of(rows)
    made = Ours(model, seed)(everything(rows.only("speech")), ["mouth"], len(rows))["mouth"]
    ours = [trace.values[:, 0] for trace in write(model.fields["mouth"], made)]
    for name, mouths in {"retrieval": heard_before(rows, known), "speech-to-mouth": ours}.items():
        scores = {"correlation": agreement(mouths, truth), "seconds off": seconds_off(mouths, truth)}
        results.keep(scores, "mouth", f"seed {seed}", name)
        Console().print(f"mouth, seed {seed}, {name}:", scores)


def seconds_off(made: Series, truth: Series) -> float:
    """By how much lengths differ, in the mean."""
    return float(np.mean([abs(len(one) - len(other)) for one, other in zip(made, truth, strict=True)])) / RATE_HZ


def measure(arguments: argparse.Namespace, seed: int, results: Results) -> None:
    """Trains and scores the recipe `presenter` with a seed."""
    rows, known = split(arguments, "text", "speech", "face", "mouth")
    model = trained("presenter", source(arguments), arguments, seed)
    make, judge, run = Ours(model, seed), Judge(arguments.train or DEFAULT_TRAIN), model.run

    def keep(scores: Any, name: str) -> None:
        results.keep(scores, "presenter", f"seed {seed}", name)
        Console().print(f"presenter, seed {seed}, {name}:", scores)

    truth, speech = mouths_of(rows), everything(rows.only("speech"))["speech"]
    keep({"correlation": agreement(judge(speech.values()), truth)}, "real")
    keep({"correlation": agreement(heard_before(rows, known), truth)}, "speech -> face, retrieval")
    faces = write(model.fields["face"], make(everything(rows.only("speech")), ["face"], len(rows))["face"])
    found = openings(faces)
    keep({"correlation": agreement(found, truth), "seconds off": seconds_off(found, truth)}, "speech -> face")
    show(faces, [row["speech"] for row in first(rows, SHOWN)], run / "made" / "speech-to-face")

    both = make(everything(rows.only("text")), ["speech", "face"], len(rows))
    faces, heard = write(model.fields["face"], both["face"]), judge(both["speech"].values())
    seen = openings(faces)
    mixed = agreement(seen[1:] + seen[:1], heard)
    keep({"correlation": agreement(seen, heard), "correlation, face of another row": mixed}, "text -> speech + face")
    show(faces, write(model.fields["speech"], both["speech"].pick(torch.arange(min(SHOWN, len(rows))))),
         run / "made" / "text-to-both")  # fmt: skip

    texts, read = rows.column("text"), make(everything(rows.only("face")), ["text"], len(rows))["text"]
    keep(right(write(model.fields["text"], read), texts), "face -> text")
    training, mouths = known.column("text"), mouths_of(known)
    keep(right([training[place] for place in nearest(truth, mouths)], texts), "face -> text, retrieval")


def openings(faces: Sequence[Clip]) -> list[np.ndarray]:
    return [opening_of(face.frames) for face in faces]


def right(made: Sequence[str], texts: Sequence[str]) -> dict[str, float]:
    """How often the whole text is right, and errors in characters over the characters of all."""
    errors, characters = character_errors(texts, made)
    return {"exact": share(made, texts), "character errors": float(errors.sum() / characters.sum())}


def show(faces: Sequence[Clip], sounds: Sequence[Waveform], folder: Path) -> None:
    """The first faces as films with their sound, and all of these on a sheet of film strips."""
    folder.mkdir(parents=True, exist_ok=True)
    contact([[film_strip(face)] for face in faces[:SHOWN]]).save(folder / "strips.png")
    for number, (face, sound) in enumerate(zip(faces[:SHOWN], sounds, strict=False)):
        save_film(face, sound, folder / f"{number}.mp4")


def save_film(face: Clip, sound: Waveform, path: Path) -> None:
    """A film that is heard."""
    _, height, width, _ = face.frames.shape
    with av.open(path, "w") as film:
        seen: Any = film.add_stream(FILMED[".mp4"], rate=Fraction(face.rate_hz))
        seen.width, seen.height, seen.pix_fmt = width, height, "yuv420p"
        heard: Any = film.add_stream("aac", rate=sound.sample_rate_hz, layout="mono")
        for pixels in face.frames:
            film.mux(seen.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        samples = av.AudioFrame.from_ndarray(sound.samples[None].astype(np.float32), format="fltp", layout="mono")
        samples.sample_rate = sound.sample_rate_hz
        for stream, last in ((heard, samples), (heard, None), (seen, None)):
            film.mux(stream.encode(last))
