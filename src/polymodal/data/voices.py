"""Voices that say names: the neural one of hibari, and those of eSpeak NG through its C interface.

eSpeak NG is GPL and keeps global state, so only the worker processes that build a data set load it, never the user's:
``python -m polymodal.data.voices TASKS OUT`` is one. TASKS is a JSON list of utterances; OUT becomes a Parquet file of
``key`` and ``data``.

Source: https://github.com/espeak-ng/espeak-ng, ``speak_lib.h``.
"""

import ctypes
import io
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import count as count_up
from itertools import groupby, takewhile
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np

from polymodal.data.build_dataset import write_cells

SAMPLE_RATE_HZ = 16_000
NEURAL_VOICE = "heart"
"""The voice of hibari-tts."""

VOICES = {
    NEURAL_VOICE: ("", 50),
    "us-f2": ("gmw/en-US+f2", 50),
    "us-f5": ("gmw/en-US+f5", 50),
    "us-m1": ("gmw/en-US+m1", 50),
    "us-m3": ("gmw/en-US+m3", 50),
    "us-m6": ("gmw/en-US+m6", 50),
    "us-benjamin": ("gmw/en-US+benjamin", 50),
    "us-michel": ("gmw/en-US+michel", 50),
    "us-klatt5-high": ("gmw/en-US+klatt5", 85),
    "new-york-klatt5": ("gmw/en-US-nyc+klatt5", 50),
    "british-reed": ("gmw/en+Reed", 50),
    "received-f2": ("gmw/en-GB-x-rp+f2", 50),
    "received-m6": ("gmw/en-GB-x-rp+m6", 50),
    "lancaster-edward": ("gmw/en-GB-x-gbclan+edward", 50),
}
"""eSpeak's accent and variant, and its pitch from 0 to 100, of each voice; of about 80 tried, those that pocketsphinx
understands best (70 to 90 % of 239 names) and that differ clearly in timbre, accent or pitch."""

WORDS_PER_MINUTE = 140
"""The usual pace; that of hibari's voice is taken to be the same."""

_LOUDNESS = 0.08  # root mean square of the spoken part, about -22 dB of full scale
_PEAK = 0.95
_SILENCE = 0.01  # of the peak: -40 dB
_MARGIN_SECONDS = 0.03
_SYNCHRONOUS = 2  # espeak_AUDIO_OUTPUT: synthesise within the call, hand the samples to the callback
_PHONEMES_IN_IPA = 3  # espeak_Initialize: events of phonemes, in the letters of the IPA; the sound is the same
_END, _PHONEME = 0, 7  # espeak_EVENT_TYPE
_UTF8 = 1
_RATE, _PITCH = 1, 3  # espeak_PARAMETER


class Utterance(NamedTuple):
    """What one clip says, and how.

    Attributes:
        key: Of the clip.
        text: What is spoken.
        voice: As eSpeak names it, such as ``gmw/en-US+f2``; empty for hibari's.
        pitch: From 0 to 100; eSpeak's only.
        words_per_minute: The pace.
        seed: Seed of the noise in hibari's voice.
    """

    key: str
    text: str
    voice: str
    pitch: int = 50
    words_per_minute: int = WORDS_PER_MINUTE
    seed: int = 0

    @property
    def manner(self) -> tuple[str, int, int]:
        """Settings of eSpeak, which are set once for all utterances that share them."""
        return self.voice, self.pitch, self.words_per_minute


class Phoneme(NamedTuple):
    """A sound of speech, which lasts until the next begins.

    Attributes:
        letters: Of the International Phonetic Alphabet, such as ``ˈeɪ``; empty for a pause.
        seconds: When it begins.
    """

    letters: str
    seconds: float


class _Event(ctypes.Structure):
    """``espeak_EVENT``."""

    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("letters", ctypes.c_char * 8),
    ]


class Espeak:
    """Speaks text in any of eSpeak's voices. One per process."""

    _callback_type: ClassVar = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
    )

    def __init__(self) -> None:
        import espeakng_loader

        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.sample_rate_hz = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _PHONEMES_IN_IPA
        )
        if self.sample_rate_hz <= 0:
            raise RuntimeError("eSpeak NG found no voice data in the package espeakng-loader")
        self._chunks: list[np.ndarray] = []
        self._phonemes: list[Phoneme] = []
        self._callback = self._callback_type(self._collect)  # kept: the library holds only a pointer to it
        self._library.espeak_SetSynthCallback(self._callback)

    def _collect(self, samples, count: int, events) -> int:
        if samples and count:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in takewhile(lambda event: event.type != _END, (events[place] for place in count_up())):
            if event.type == _PHONEME:
                self._phonemes.append(Phoneme(event.letters.decode(), event.sample / self.sample_rate_hz))
        return 0

    def use(self, voice: str, pitch: int = 50, words_per_minute: int = WORDS_PER_MINUTE) -> None:
        """Choose a voice, such as ``gmw/en-US+f2``: an accent's file and, after the plus, a variant.

        Raises:
            ValueError: There is no such accent.
        """
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise ValueError(f"eSpeak NG has no voice '{voice}'")
        self._library.espeak_SetParameter(_PITCH, pitch, 0)
        self._library.espeak_SetParameter(_RATE, words_per_minute, 0)

    def __call__(self, text: str) -> np.ndarray:
        """Text -> samples in [-1, 1), float32, at ``sample_rate_hz``."""
        return self.say(text)[0]

    def say(self, text: str) -> tuple[np.ndarray, list[Phoneme]]:
        """Text -> samples, as by calling it, and the phonemes of which they consist."""
        self._chunks.clear()
        self._phonemes.clear()
        self._library.espeak_ng_SetRandSeed(0)  # of the breath in some voices, which it takes from the clock
        data = text.encode()
        self._library.espeak_Synth(data, len(data) + 1, 0, 0, 0, _UTF8, None, None)
        samples = np.concatenate([np.zeros(0, np.int16), *self._chunks]).astype(np.float32) / 32768
        return samples, list(self._phonemes)


def spoken_part(samples: np.ndarray, sample_rate_hz: int) -> slice:
    """Where speech is, without the silence around it; empty if it is all silence."""
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max(initial=0.0))
    if len(loud) == 0:
        return slice(0, 0)
    margin = int(_MARGIN_SECONDS * sample_rate_hz)
    return slice(max(loud[0] - margin, 0), loud[-1] + margin)


def tidy(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    """Speech without the silence around it, at ``SAMPLE_RATE_HZ`` and at one loudness; empty if it is all silence."""
    import soxr

    samples = samples[spoken_part(samples, sample_rate_hz)]
    if len(samples) == 0:
        return np.zeros(0, np.float32)
    samples = soxr.resample(samples, sample_rate_hz, SAMPLE_RATE_HZ)
    gain = min(_LOUDNESS / np.sqrt(np.mean(samples**2)), _PEAK / np.abs(samples).max())
    return (samples * gain).astype(np.float32)


def to_flac(samples: np.ndarray) -> bytes:
    """Samples at ``SAMPLE_RATE_HZ`` as a 16-bit FLAC file."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def speak(utterances: Iterable[Utterance]) -> Iterator[tuple[str, bytes]]:
    """Utterances -> (key, FLAC). What a voice cannot say is left out."""
    from hibari import Hibari

    hibari = Hibari(threads=1)
    espeak = Espeak()
    for manner, spoken in groupby(sorted(utterances, key=lambda one: one.manner), key=lambda one: one.manner):
        if manner[0]:
            espeak.use(*manner)
        for one in spoken:
            if manner[0]:
                samples = tidy(espeak(one.text), espeak.sample_rate_hz)
            else:
                speed = one.words_per_minute / WORDS_PER_MINUTE
                samples = tidy(hibari(one.text, speed=speed, seed=one.seed), hibari.sample_rate)
            if len(samples):
                yield one.key, to_flac(samples)


def main(tasks_file: str, out_file: str) -> None:
    tasks = json.loads(Path(tasks_file).read_text("utf-8"))
    write_cells(speak(Utterance(*task) for task in tasks), out_file)


if __name__ == "__main__":
    main(*sys.argv[1:])
