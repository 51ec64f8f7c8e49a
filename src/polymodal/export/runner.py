"""Runs a model that polymodal exported. It needs NumPy and onnxruntime, and nothing else; copy it where you like.

    python runner.py model.onnx --name "red apple" -n 4 --seed 0 -o out
    python runner.py model.onnx --help-fields

    from runner import Direction
    pictures = Direction("model.onnx")({"name": "red apple"}, n=4, seed=0)

Sample k of a seed is the one that polymodal draws: random numbers are drawn in the file, from keys that are made here.
Given values are texts and class names; lists of numbers; pictures as arrays of bytes (height, width[, 3]) of the size
of the model, or files, if Pillow is installed; sound as arrays of samples at the rate of the model, or WAV files; and
whatever else as arrays in the model's form, or NPY files. A field that is not given is absent.
"""

import argparse
import json
import re
import struct
import sys
import unicodedata
import wave
import zlib
from pathlib import Path

import numpy as np
import onnxruntime

PAD, END, SHIFT = 0, 1, 3
GOLDEN, MIX_1, MIX_2 = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mix(x):
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), of unsigned 64-bit integers."""
    x = (x ^ (x >> np.uint64(30))) * MIX_1
    x = (x ^ (x >> np.uint64(27))) * MIX_2
    return x ^ (x >> np.uint64(31))


def make_keys(seed, count, start=0):
    """Keys (count,) of samples ``start ... start + count`` of a seed."""
    index = np.arange(start, start + count).astype(np.uint64)
    return mix(mix(np.full_like(index, seed % 2**64) + GOLDEN) + GOLDEN * (index + np.uint64(1)))


def uniform(keys, shape):
    """Numbers in [0, 1) of shape (B, *shape), with 24 random bits."""
    counter = np.arange(1, int(np.prod(shape)) + 1).astype(np.uint64) * GOLDEN
    bits = mix(keys[:, None] + counter) >> np.uint64(40)
    return (bits.astype(np.float32) * np.float32(2.0**-24)).reshape(len(keys), *shape)


class Direction:
    """One direction: given fields -> samples of one field.

    Args:
        path: The file.
        threads: Threads of onnxruntime.
    """

    def __init__(self, path, threads=1):
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads, settings.log_severity_level = threads, 3
        self.session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        self.facts = json.loads(self.session.get_modelmeta().custom_metadata_map["polymodal"])
        self.inputs = {field["name"]: FORMS[field["form"]](field) for field in self.facts["inputs"]}
        self.output = FORMS[self.facts["output"]["form"]](self.facts["output"])
        self.asked = {value.name for value in self.session.get_inputs()}

    def __call__(self, given, n=1, seed=0):
        """``n`` samples, as objects: texts, or arrays.

        Args:
            given: Raw values by field; fields may be left out.
            n: Number of samples.
            seed: Sample k of a seed is the same however many are drawn.
        """
        unknown = sorted(set(given) - set(self.inputs))
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no input of this file; its inputs are {', '.join(self.inputs)}")
        values = {name: form.model_form(given.get(name)) for name, form in self.inputs.items()}
        rows, made = self.facts["rows"], []
        for start in range(0, n, rows):
            value, mask = self.draw(values, make_keys(seed, rows, start))
            made += [self.output.thing(*row) for row in zip(value, mask, strict=True)]
        return made[:n]

    def draw(self, values, keys):
        """Values and masks (rows, ...) in the model's form, of keys (rows,)."""
        feed = {"keys": keys.view(np.int64)}
        for name, (value, mask) in values.items():
            feed[f"{name}.value"] = np.repeat(value[None], len(keys), 0)
            feed[f"{name}.mask"] = np.repeat(mask[None], len(keys), 0)
        return self.session.run(["value", "mask"], {name: feed[name] for name in self.asked})


class Array:
    """A field whose raw values are arrays in the model's form. Others differ in ``read``, ``write`` and ``save``."""

    suffix = ".npy"

    def __init__(self, facts):
        self.facts, self.shape, self.varies = facts, tuple(facts["shape"]), facts["varies"]
        self.dtype = np.float32 if facts["kind"] == "continuous" else np.int64

    def read(self, raw):
        """Raw -> the model's form, as long as it is."""
        return np.load(raw) if isinstance(raw, (str, Path)) else np.asarray(raw)

    def write(self, value):
        """The model's form, cut to its length -> an object."""
        return value

    def save(self, thing, path):
        """Writes an object."""
        np.save(path, thing)

    def model_form(self, raw):
        """Value and mask, padded; of None those of a field that is absent."""
        length = 1 if self.varies is None else self.shape[self.varies]
        value, mask = np.zeros(self.shape, self.dtype), np.zeros(length, bool)
        if raw is None:
            return value, mask
        read = np.asarray(self.read(raw)).astype(self.dtype)
        wrong = read.ndim != len(self.shape) or any(
            own > most if axis == self.varies else own != most
            for axis, (own, most) in enumerate(zip(read.shape, self.shape, strict=True))
        )
        if wrong or not read.size:
            raise ValueError(
                f"{self.facts['name']}: of shape {read.shape} in the model's form, which takes {self.shape}"
            )
        value[tuple(slice(side) for side in read.shape)] = read
        mask[: 1 if self.varies is None else read.shape[self.varies]] = True
        return value, mask

    def thing(self, value, mask):
        """What the model drew -> an object."""
        return self.write(value if self.varies is None else np.take(value, np.flatnonzero(mask), self.varies))


class Text(Array):
    """Texts, by their bytes or by byte pairs."""

    suffix = ".txt"

    def __init__(self, facts):
        super().__init__(facts)
        self.pairs = BytePairs(json.loads(facts["tokenizer"])) if facts.get("tokenizer") else None

    def read(self, raw):
        ids = self.pairs.encode(raw) if self.pairs else list(raw.encode())
        return np.array([*(number + SHIFT for number in ids), END])

    def write(self, value):
        ids = value.tolist()
        ids = [number - SHIFT for number in ids[: ids.index(END) if END in ids else None] if number >= SHIFT]
        return self.pairs.decode(ids) if self.pairs else bytes(ids).decode(errors="replace")

    def save(self, thing, path):
        Path(path).write_text(f"{thing}\n", encoding="utf-8")


class Names(Text):
    """Class names."""

    def read(self, raw):
        if str(raw) not in self.facts["names"]:
            raise ValueError(f"{self.facts['name']}: '{raw}' is none of {', '.join(self.facts['names'])}")
        return np.array([self.facts["names"].index(str(raw))])

    def write(self, value):
        return self.facts["names"][int(value.reshape(-1)[0])]


class Symbols(Text):
    """Texts of known symbols, such as molecules in the notation of the model, which has to be given canonical."""

    def read(self, raw):
        known = self.facts["symbols"]
        pattern = "|".join(re.escape(symbol) for symbol in sorted(known, key=len, reverse=True))
        found = re.findall(pattern, raw)
        if "".join(found) != raw:
            raise ValueError(f"{self.facts['name']}: '{raw}' has symbols that the model does not know")
        return np.array([*(known.index(symbol) + self.facts["shift"] for symbol in found), END])

    def write(self, value):
        ids, shift = value.tolist(), self.facts["shift"]
        ids = ids[: ids.index(END) if END in ids else None]
        return "".join(self.facts["symbols"][number - shift] for number in ids if number >= shift)


class Pixels(Array):
    """Pictures: arrays of bytes (height, width) or (height, width, 3)."""

    suffix = ".png"

    def read(self, raw):
        channels, height, width = self.shape
        if isinstance(raw, (str, Path)) and not str(raw).endswith(".npy"):
            from PIL import Image  # only to read files of pictures

            raw = Image.open(raw).convert("RGB" if channels == 3 else "L").resize((width, height))
        pixels = np.load(raw) if isinstance(raw, (str, Path)) else np.asarray(raw)
        pixels = pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)
        return pixels.astype(np.float32) * np.float32(1 / 127.5) - 1

    def write(self, value):
        pixels = np.clip(np.round((value + 1) * np.float32(127.5)), 0, 255).astype(np.uint8)
        return pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))

    def save(self, thing, path):
        Path(path).write_bytes(png(thing))


class Numbers(Array):
    """Vectors, each number on a scale of its own: linear, logarithmic or by quantiles."""

    suffix = ".txt"

    def __init__(self, facts):
        super().__init__(facts)
        self.kinds = np.array(facts["scale"])
        self.mean, self.std = (np.array(facts[name], np.float64) for name in ("mean", "std"))

    def read(self, raw):
        numbers = [float(word) for word in re.split(r"[,\s]+", raw.strip())] if isinstance(raw, str) else raw
        out = np.array(numbers, np.float64).reshape(-1)
        for place, kind in enumerate(self.kinds):
            if kind == "log":
                least = np.exp(floor := self.facts["floor"][place])
                x = out[place]
                out[place] = np.log(max(x, least)) if x > least else floor + (x - least) / least
            if kind == "quantile":
                out[place] = line(out[place], *self.facts["knots"][place])
        return (out - self.mean) / self.std

    def write(self, value):
        out = np.asarray(value, np.float64) * self.std + self.mean
        for place, kind in enumerate(self.kinds):
            if kind == "log":
                least = np.exp(floor := self.facts["floor"][place])
                x = out[place]
                out[place] = np.exp(min(x, 88.0)) if x > floor else least + (x - floor) * least
            if kind == "quantile":
                out[place] = line(out[place], *self.facts["knots"][place][::-1])
        return out

    def save(self, thing, path):
        Path(path).write_text(" ".join(f"{number:.7g}" for number in thing) + "\n")


class Sound(Array):
    """Sound: samples (T,) in [-1, 1] at the model's own rate, by its log-mel spectrogram and Griffin and Lim (1984)."""

    suffix = ".wav"

    def __init__(self, facts):
        super().__init__(facts)
        self.n_fft, self.hop = facts["n_fft"], facts["hop_length"]
        self.left = (self.n_fft - self.hop) // 2
        self.window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.n_fft) / self.n_fft)).astype(np.float32)
        self.filters = mel_filters(facts)

    def read(self, raw):
        if isinstance(raw, (str, Path)):
            with wave.open(str(raw)) as file:
                if file.getsampwidth() != 2 or file.getframerate() != self.facts["sample_rate_hz"]:
                    raise ValueError(f"{raw}: a WAV of 16 bits at {self.facts['sample_rate_hz']} Hz is right")
                channels, raw = file.getnchannels(), file.readframes(file.getnframes())
            raw = np.frombuffer(raw, "<i2").reshape(-1, channels).mean(1) / 32768
        samples = np.asarray(raw, np.float32)
        frames = -(-len(samples) // self.hop)
        spectrum = np.fft.rfft(
            self.cut(np.pad(samples, (self.left, frames * self.hop - len(samples) + self.n_fft - self.hop - self.left)))
        )
        log_mel = np.log(np.maximum(self.filters @ np.abs(spectrum).T, 1e-5))
        return (log_mel - self.facts["mel_mean"]) / self.facts["mel_scale"]

    def write(self, value):
        mel = np.exp(value.T.astype(np.float32) * self.facts["mel_scale"] + self.facts["mel_mean"])
        linear = np.maximum(mel @ np.linalg.pinv(self.filters).T, 1e-5)
        target = mel @ self.filters
        for _ in range(30):  # multiplicative updates, Lee and Seung (2001)
            linear *= target / np.maximum(linear @ self.filters.T @ self.filters, 1e-16)
        phases = uniform(make_keys(0, 1), linear.shape)[0] * (2 * np.pi)
        spectrum = linear * np.exp(1j * phases)
        previous = np.zeros_like(spectrum)
        for _ in range(32):
            rebuilt = np.fft.rfft(self.cut(self.overlapped(spectrum)))
            spectrum = rebuilt - (0.99 / 1.99) * previous
            previous = rebuilt
            spectrum = spectrum * (linear / np.maximum(np.abs(spectrum), 1e-16))
        samples = self.overlapped(spectrum)[self.left : self.left + len(linear) * self.hop].astype(np.float32)
        samples = samples[: self.facts.get("most_samples")]  # the last frame may end behind the longest sound
        return samples / max(1.0, np.abs(samples).max(initial=0.0))

    def cut(self, padded):
        """Padded samples -> windowed frames (L, n_fft)."""
        return np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop] * self.window

    def overlapped(self, spectrum):
        """Spectrum (L, F) -> padded samples."""
        frames, pieces = len(spectrum), np.fft.irfft(spectrum, self.n_fft) * self.window
        total, weight = (np.zeros((frames - 1) * self.hop + self.n_fft) for _ in range(2))
        for place in range(frames):
            here = slice(place * self.hop, place * self.hop + self.n_fft)
            total[here] += pieces[place]
            weight[here] += self.window**2
        return total / np.maximum(weight, 1e-8)

    def save(self, thing, path):
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(self.facts["sample_rate_hz"])
            file.writeframes((np.clip(thing, -1, 1) * 32767).astype("<i2").tobytes())


FORMS = {
    "array": Array,
    "text": Text,
    "names": Names,
    "symbols": Symbols,
    "pixels": Pixels,
    "numbers": Numbers,
    "sound": Sound,
}


class BytePairs:
    """A byte-level tokenizer by byte pair encoding (Sennrich et al. 2016), from its JSON.

    Args:
        document: As the library ``tokenizers`` writes it.
    """

    def __init__(self, document):
        self.ids = document["model"]["vocab"]
        self.tokens = {number: token for token, number in self.ids.items()}
        pairs = (pair if isinstance(pair, list) else pair.split(" ") for pair in document["model"]["merges"])
        self.ranks = {tuple(pair): rank for rank, pair in enumerate(pairs)}
        plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
        others = [byte for byte in range(256) if byte not in plain]
        self.letters = {byte: chr(byte) for byte in plain} | {byte: chr(256 + n) for n, byte in enumerate(others)}
        self.bytes = {letter: byte for byte, letter in self.letters.items()}

    def encode(self, text):
        """Ids of a text."""
        return [
            self.ids[token]
            for word in split_words(text)
            for token in self.merge([self.letters[b] for b in word.encode()])
        ]

    def merge(self, parts):
        """Letters of a word, joined in the order that was learned."""
        while len(parts) > 1:
            rank, place = min(
                (self.ranks.get(pair, 1 << 40), n) for n, pair in enumerate(zip(parts[:-1], parts[1:], strict=True))
            )
            if rank == 1 << 40:
                break
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        return parts

    def decode(self, ids):
        """The text of ids."""
        return bytes(self.bytes[letter] for number in ids for letter in self.tokens[number]).decode(errors="replace")


def split_words(text):
    """A text cut as GPT-2 cuts it: contractions, runs of letters, numbers or others, each with a space before it."""
    kinds = "".join(
        "s" if sign.isspace() else {"L": "l", "N": "n"}.get(unicodedata.category(sign)[0], "o") for sign in text
    )
    words, place = [], 0
    while place < len(text):
        contraction = re.match(r"'(?:s|t|re|ve|m|ll|d)", text[place:])
        run = re.match(r"l+|n+|o+", kinds[place + (text[place] == " ") :])
        if contraction:
            end = place + contraction.end()
        elif run:
            end = place + (text[place] == " ") + run.end()
        else:  # spaces; the last of them belongs to what follows
            spaces = len(kinds) - place - len(kinds[place:].lstrip("s"))
            end = place + spaces - (place + spaces < len(text) and spaces > 1)
        words.append(text[place:end])
        place = end
    return words


def line(x, start, end):
    """Piecewise linear from ``start`` to ``end``; beyond the ends by the mean slope of all."""
    start, end = np.asarray(start), np.asarray(end)
    slope = (end[-1] - end[0]) / (start[-1] - start[0])
    return np.interp(x, start, end) + slope * (min(x - start[0], 0) + max(x - start[-1], 0))


def mel_filters(facts):
    """Triangular filters (M, F), evenly spaced in Slaney's mel, each of unit area over Hz."""

    def mel(hertz):
        return hertz * 0.015 if hertz < 1000 else 15 + 27 / np.log(6.4) * np.log(hertz / 1000)

    marks = np.linspace(mel(facts["f_min_hz"]), mel(facts["f_max_hz"]), facts["mels"] + 2)
    corners = np.where(marks < 15, marks / 0.015, 1000 * np.exp((marks - 15) * np.log(6.4) / 27))[:, None]
    bins = np.linspace(0, facts["sample_rate_hz"] / 2, facts["n_fft"] // 2 + 1)
    low, peak, high = corners[:-2], corners[1:-1], corners[2:]
    triangles = np.maximum(np.minimum((bins - low) / (peak - low), (high - bins) / (high - peak)), 0)
    return (triangles * (2 / (high - low))).astype(np.float32)


def png(pixels):
    """An array of bytes (H, W) or (H, W, 3) as a file."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width = pixels.shape[:2]
    lines = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def main(arguments=None):
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="the file")
    parser.add_argument("-n", type=int, default=1, help="samples")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", default="out", help="folder")
    parser.add_argument("--given", metavar="FIELD=VALUE", action="append", default=[], help="as --FIELD VALUE")
    parser.add_argument("--help-fields", action="store_true", help="say what can be given and what is drawn")
    known, rest = parser.parse_known_args(arguments)
    direction = Direction(known.model)
    if known.help_fields:
        print(json.dumps({key: direction.facts[key] for key in ("direction", "inputs", "output")}, ensure_ascii=False))
        return 0
    fields = argparse.ArgumentParser(prog=f"{parser.prog} {known.model}")
    for name in direction.inputs:
        fields.add_argument(f"--{name}", dest=name)
    given = {name: raw for name, raw in vars(fields.parse_args(rest)).items() if raw is not None}
    given |= {name: raw for name, _, raw in (text.partition("=") for text in known.given)}
    folder, form = Path(known.output), direction.output
    folder.mkdir(parents=True, exist_ok=True)
    for number, thing in enumerate(direction(given, known.n, known.seed)):
        path = folder / f"{form.facts['name']}-{number}{form.suffix}"
        form.save(thing, path)
        print(f"{path}: {thing}" if isinstance(thing, str) else path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
