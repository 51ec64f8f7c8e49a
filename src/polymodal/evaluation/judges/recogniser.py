"""Speech recognisers, not trained on the data, by language: which of a closed set of names is spoken."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np
import soxr

from polymodal.errors import ConfigError
from polymodal.evaluation.judges.language import NAMES, guess_language
from polymodal.modalities.audio import Waveform

_RATE_HZ = 16_000
"""Sample rate of the sound that the package's English model was trained on."""
_BACKGROUND = 1e-3
"""Deviation of the noise that is added to every clip. Clean speech is not recognised without it: of 720 clips of ten
names without a pause around them, 73 % were named right as they are, and all with 0.1 s of this noise around them."""

_KNOWN_WORDS = 0.85
"""Share of distinct words in the dictionary from which names may be of its language: 0.95 of the English names of
emoji are, and 0.5 to 0.75 of such names in French, German and Spanish."""


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
        known_words: The share of all distinct words that the dictionary has.
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
        every = {word: self._decoder.lookup_word(word) is not None for name in names for word in words_of(name)}
        self.known_words = sum(every.values()) / max(len(every), 1)
        for name in names:
            words = words_of(name)
            if words and all(every[word] for word in words):
                self.sayable[name] = " ".join(words)
            else:
                self.left_out.append(name)
        if not self.sayable:
            raise ConfigError(f"recogniser: none of the {len(names)} names is in its English dictionary")
        grammar = f"#JSGF V1.0; grammar names; public <name> = {' | '.join(sorted(set(self.sayable.values())))};"
        self._decoder.add_jsgf_string("names", grammar)
        self._decoder.activate_search("names")

    def recognise(self, waveforms: Sequence[Waveform], tell: Callable[[str], None] | None = None) -> list[str | None]:
        """The words heard in each clip, None where nothing is; each clip is heard as if it were the first.

        Args:
            waveforms: The clips.
            tell: Called before each clip with how far it is.
        """
        heard = []
        for number, waveform in enumerate(waveforms, 1):
            if tell:
                tell(f"pocketsphinx hears {number:,} of {len(waveforms):,}")
            heard.append(self._hear(waveform))
        return heard

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


RECOGNISERS: dict[str, type[Recogniser]] = {"en": Recogniser}
"""By language, as ISO 639-1 has it."""


def choose_recogniser(names: Sequence[str], language: str | None = None) -> tuple[Recogniser | None, str]:
    """The recogniser of the names' language, and a sentence on what it does not hear; None if there is none.

    Args:
        names: What may be spoken.
        language: Its code, as a recipe states it; guessed by the names if not given.
    """
    spoken = language or guess_language(names)
    kind = RECOGNISERS.get(spoken or "en")
    if kind is None:
        why = "are" if language else "seem to be"
        heard = " and ".join(NAMES[code] for code in RECOGNISERS)
        name = NAMES.get(spoken or "", spoken)
        remedy = "" if language else "; fields.NAME.language in the recipe says which it is"
        return None, f"Speech is not scored by pocketsphinx, which hears {heard}: the names {why} {name}{remedy}."
    if not available():
        return None, "Speech is not scored by pocketsphinx: the package is not installed."
    if not any(map(words_of, names)):
        return None, "Speech is not scored by pocketsphinx: the names have no words."
    try:
        listener = kind(names)
    except ConfigError as error:  # names of another language are no mistake; speech is then for the judge alone
        return None, f"Speech is not scored by pocketsphinx: {error}."
    if spoken is None and listener.known_words < _KNOWN_WORDS:
        return None, (
            f"Speech is not scored by pocketsphinx: its English dictionary has {listener.known_words:.0%} of the words "
            "in the names, which seem to be of another language; fields.NAME.language: en in the recipe says if not."
        )
    if not (left_out := listener.left_out):
        return listener, ""
    few = ", ".join(left_out[:5]) + (", ..." if len(left_out) > 5 else "")
    return listener, (
        f"pocketsphinx scores speech on {len(listener.sayable)} of {len(names)} names; "
        f"{len(left_out)} have a word that its dictionary lacks: {few}."
    )
