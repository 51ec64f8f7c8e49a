"""A speech recogniser, not trained on the data: which of a closed set of names is spoken."""

import re
import unicodedata
from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import soxr

from polymodal.errors import ConfigError
from polymodal.modalities.audio import Waveform

_RATE_HZ = 16_000
"""Sample rate of the sound that the package's English model was trained on."""
_BACKGROUND = 1e-3
"""Deviation of the noise that is added to every clip. Clean speech is not recognised without it: of 720 clips of ten
names without a pause around them, 73 % were named right as they are, and all with 0.1 s of this noise around them."""


def available() -> bool:
    """Whether the package ``pocketsphinx`` is installed."""
    return find_spec("pocketsphinx") is not None


def words_of(name: str) -> list[str]:
    """A name as it is spoken: words in lower case, without accents and punctuation.

    >>> words_of("Flag: Côte d'Ivoire")
    ['flag', 'cote', "d'ivoire"]
    """
    plain = unicodedata.normalize("NFKD", name.replace("’", "'"))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", plain.lower())


class Recogniser:
    """Hears one of a closed set of English names, with a grammar that allows nothing else.

    Args:
        names: What may be spoken.

    Attributes:
        sayable: The words that each name is heard as.
        left_out: Names with a word that the dictionary does not have; they are never heard.

    Raises:
        ConfigError: The package is missing, or no name can be heard.

    Source: CMU Sphinx's acoustic model and dictionary of American English, as the package carries them.
    """

    def __init__(self, names: Sequence[str]):
        if not available():
            raise ConfigError("recogniser: the package pocketsphinx is missing; install it: pip install pocketsphinx")
        from pocketsphinx import Decoder

        self._decoder = Decoder(lm=None, samprate=_RATE_HZ, cmn="batch", loglevel="FATAL")
        self.sayable: dict[str, str] = {}
        self.left_out: list[str] = []
        for name in names:
            words = words_of(name)
            if words and all(self._decoder.lookup_word(word) is not None for word in words):
                self.sayable[name] = " ".join(words)
            else:
                self.left_out.append(name)
        if not self.sayable:
            raise ConfigError(f"recogniser: none of the {len(names)} names is in its English dictionary")
        grammar = f"#JSGF V1.0; grammar names; public <name> = {' | '.join(sorted(set(self.sayable.values())))};"
        self._decoder.add_jsgf_string("names", grammar)
        self._decoder.activate_search("names")

    def recognise(self, waveforms: Sequence[Waveform]) -> list[str | None]:
        """The words heard in each clip, None where nothing is; each clip is heard as if it were the first."""
        return [self._hear(waveform) for waveform in waveforms]

    def _hear(self, waveform: Waveform) -> str | None:
        samples = np.clip(waveform.samples, -1, 1).astype(np.float32)
        if waveform.sample_rate_hz != _RATE_HZ:
            samples = soxr.resample(samples, waveform.sample_rate_hz, _RATE_HZ)
        # A recording begins and ends in faint noise, which the model waits for; a clip that is cut tightly has none.
        samples = np.pad(samples, _RATE_HZ // 10)
        samples = samples + np.random.default_rng(0).normal(0, _BACKGROUND, len(samples)).astype(np.float32)
        self._decoder.reinit_feat()  # what it learned of the last clip's noise
        self._decoder.start_utt()
        self._decoder.process_raw((samples * 32767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        return heard.hypstr if heard else None
