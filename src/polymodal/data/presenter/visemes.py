"""From phonemes to the shape of a mouth over time.

Each letter of the International Phonetic Alphabet has a viseme: how far the mouth opens, and how wide it is. Between
the middles of two letters the mouth moves in a line, which is the least that coarticulation does.

Source: Fisher, "Confusions among visually perceived consonants", 1968 (visemes); Cohen and Massaro, "Modeling
coarticulation in synthetic visual speech", 1993.
"""

from collections.abc import Sequence

import numpy as np

from polymodal.data.voices import Phoneme

RATE_HZ = 12.5

_CLOSED = (0.0, 0.5)
"""Opening and width of a mouth at rest."""
_GROUPS = {
    "pbm": _CLOSED,
    "fv": (0.1, 0.6),
    "w": (0.15, 0.0),
    "uʊ": (0.35, 0.0),
    "oɔ": (0.65, 0.1),
    "ʃʒ": (0.25, 0.2),
    "ɹɚɝ": (0.3, 0.3),
    "tdnszlɾθðʔ": (0.25, 0.6),
    "kɡŋjxɬ": (0.3, 0.6),
    "hɫ": (0.4, 0.5),
    "iɪᵻ": (0.35, 1.0),
    "eɛ": (0.6, 0.9),
    "əɜʌ": (0.55, 0.5),
    "æaɐ": (0.9, 0.8),
    "ɑɒ": (1.0, 0.5),
}
VISEMES = {letter: shape for letters, shape in _GROUPS.items() for letter in letters}
"""Opening and width, each from 0 to 1, by letter. Marks of stress and length are none."""
_FINE_HZ = 250.0


def movement(phonemes: Sequence[Phoneme], begin: float, seconds: float) -> np.ndarray:
    """Opening and width of the mouth in each frame, (frames, 2), at ``RATE_HZ``; each is the mean over its time.

    Args:
        phonemes: Of an utterance, the last of them a pause.
        begin: Second at which the clip begins.
        seconds: Of the clip.
    """
    times, shapes = [begin], [_CLOSED]
    for phoneme, after in zip(phonemes[:-1], phonemes[1:], strict=True):
        found = [VISEMES[letter] for letter in phoneme.letters if letter in VISEMES] or [_CLOSED]
        length = after.seconds - phoneme.seconds
        times += [phoneme.seconds + length * (place + 0.5) / len(found) for place in range(len(found))]
        shapes += found
    times.append(max(begin + seconds, times[-1]))
    shapes.append(_CLOSED)
    frames, steps = max(1, round(seconds * RATE_HZ)), round(_FINE_HZ / RATE_HZ)
    fine = begin + (np.arange(frames * steps) + 0.5) / _FINE_HZ
    track = np.stack([np.interp(fine, times, of_shape) for of_shape in np.transpose(shapes)], axis=1)
    return track.reshape(frames, steps, 2).mean(1)
