"""Search: the real values that lie nearest to what is given, in the space of a model's alignment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file

from polymodal.checkpoint import digest_of
from polymodal.data import Rows, cache_folder, load, open_source
from polymodal.embedding import AlignedEmbedder, Moments, aligned_fields, alignment_of
from polymodal.errors import CheckpointError, ConfigError, DataError
from polymodal.files import atomic_folder, read_json, remove_partials, write_tensors
from polymodal.generation import read
from polymodal.model import Model

FORMAT = 1
"""Of an index on disk."""


@dataclass(frozen=True)
class Hit:
    """A real value that was found.

    Attributes:
        rank: From 1.
        similarity: Cosine in [-1, 1].
        row: Number of the first row with this value in its source, from 1.
        value: The value as an object.
        fields: All of the row as objects, None where absent.
    """

    rank: int
    similarity: float
    row: int
    value: Any
    fields: dict[str, Any]


class Index:
    """The distinct values of every aligned field of some rows, embedded: a ``faiss`` index for each, searched exactly.

    Source: Douze et al., "The faiss library", 2024; flat index of inner products.

    Args:
        embedder: That embedded them.
        rows: That the values are of.
        flat: By field, a ``faiss.IndexFlatIP`` of ``rows.unique(field)``, in that order.
    """

    def __init__(self, embedder: AlignedEmbedder, rows: Rows, flat: Mapping[str, Any]):
        self.embedder, self.rows, self.flat = embedder, rows, dict(flat)

    @classmethod
    def build(cls, model: Model, rows: Rows, reference: Rows) -> Index:
        """Embeds all values, in memory.

        Args:
            model: Trained with an alignment.
            rows: To be found; they may lack fields.
            reference: Rows whose encodings are typical, best those of training: they tell the scale of a query.

        Raises:
            ConfigError: The model has no alignment that tells rows apart, or ``faiss`` is not installed.
            DataError: The rows have none of its fields.
        """
        faiss, embedder = _faiss(), AlignedEmbedder.measure(model, reference)
        flat = {}
        for name in embedder.fields:
            if name in rows.columns and len(own := rows.unique(name)):
                vectors = embedder.embed_rows(name, own).numpy()
                flat[name] = faiss.IndexFlatIP(vectors.shape[1])
                flat[name].add(vectors)
        if not flat:
            raise DataError(f"index: no row has an aligned field ({', '.join(embedder.fields)})")
        return cls(embedder, rows, flat)

    @classmethod
    def open(cls, model: Model, rows: Rows, reference: Rows, folder: Path) -> Index:
        """The index of these rows by these weights: from disk if it is there, else built and kept.

        It has a folder of its own, named after what it depends on, which is there whole or not at all.

        Args:
            model: Trained with an alignment.
            rows: To be found; they may lack fields.
            reference: Rows whose encodings are typical, best those of training: they tell the scale of a query.
            folder: Folder of all indexes of a run.

        Raises:
            ConfigError: The model has no alignment that tells rows apart, or ``faiss`` is not installed.
            DataError: The rows have none of its fields.
        """
        _faiss()
        final = folder / fingerprint(model, rows, reference)
        if not final.exists():
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{final}.lock"):
                if not final.exists():
                    remove_partials(folder)
                    cls.build(model, rows, reference)._save(final)
        with _kept_at(final):
            return cls._load(model, rows, final)

    @classmethod
    def _load(cls, model: Model, rows: Rows, final: Path) -> Index:
        faiss, names = _faiss(), read_json(final / "fields.json")
        flat = {name: faiss.read_index(str(final / f"{i}.faiss")) for i, name in enumerate(names["indexed"])}
        return cls(AlignedEmbedder(model, _stored_moments(final)), rows, flat)

    def _save(self, final: Path) -> None:
        faiss, moments = _faiss(), self.embedder.moments
        tensors = {f"{name}.{part}": getattr(m, part) for name, m in moments.items() for part in ("mean", "variance")}
        names = {"embedded": list(moments), "indexed": list(self.flat)}
        with atomic_folder(final) as partial:
            for number, index in enumerate(self.flat.values()):  # a field's name need not be one of a file
                content = faiss.serialize_index(index)  # the library's own writer makes a RuntimeError of a full disk
                (partial / f"{number}.faiss").write_bytes(content)
            write_tensors(partial / "moments.safetensors", tensors)
            (partial / "fields.json").write_text(json.dumps(names), encoding="utf-8")

    def search(self, given: Mapping[str, Any], to: str, *, k: int = 10) -> list[Hit]:
        """The values of field ``to`` that are nearest to what is given, nearest first.

        Args:
            given: Raw values by field; the embeddings of several are averaged.
            to: Field to look in; it may be one that is given.
            k: Most values to find. A value that many rows share is found once.

        Raises:
            ConfigError: A field is unknown or not aligned.
            DataError: Nothing is given, a value cannot be read, or no row has ``to``.
        """
        if k < 1:
            raise ConfigError(f"k: {k} is not at least 1")
        model = self.embedder.model
        given = {name: raw for name, raw in given.items() if raw is not None}
        self.embedder.check(list(given), "given")
        self.embedder.check([to], "to")
        if to not in self.flat:
            raise DataError(f"to: no row of the index has '{to}'; they have {', '.join(self.flat)}")
        fields = {name: read(name, model.modalities[name], raw) for name, raw in given.items()}
        query = self.embedder.embed_together(fields).numpy()
        similarities, places = self.flat[to].search(query, min(k, self.flat[to].ntotal))
        found = self.rows.unique(to).written_by(model.modalities).select(places[0])
        return [
            Hit(rank, float(similarity), int(found.index[rank - 1]) + 1, fields[to], fields)
            for rank, (similarity, fields) in enumerate(zip(similarities[0], found, strict=True), 1)
        ]

    def paths(self, to: str, hits: Sequence[Hit]) -> list[str]:
        """The file of each value that was found; empty where it has none of its own, or that can no longer be read."""
        place = {number: place for place, number in enumerate(self.rows.index.tolist())}
        found = self.rows.select([place[hit.row - 1] for hit in hits])  # type: ignore[arg-type]
        try:
            raws = list(found.raws(to))
        except DataError:  # one of them has gone since
            raws = []
            for i in range(len(found)):
                with suppress(DataError):
                    raws.append(None)
                    raws[-1:] = found.select([i]).raws(to)  # type: ignore[arg-type]
        return [str(raw) if isinstance(raw, Path) else "" for raw in raws]


def rows_of(source: Any, fields: Mapping[str, Mapping[str, Any]]) -> Rows:
    """All rows of a source, with those of some fields that it has.

    Args:
        source: What ``load`` takes: a file, a folder, a data set's name, or rows in memory.
        fields: By name; each names its ``column``.

    Raises:
        DataError: It cannot be read, or has none of the columns.
    """
    origin = open_source(source, cache_folder())
    there = origin.columns()
    found = {name: field for name, field in fields.items() if field["column"] in there}
    if not found:
        wanted = ", ".join(field["column"] for field in fields.values())
        raise DataError(f"{origin.name}: has none of the run's columns ({wanted})")
    return load(origin, found, validation=0, test=0).rows


def stored_embedder(model: Model, run: Path | None) -> AlignedEmbedder | None:
    """An embedder with the moments of the newest index in a run's folder, for which no data are read.

    Args:
        model: Of the run.
        run: Its folder.

    Returns:
        None if there is no index.

    Raises:
        CheckpointError: The index is damaged.
        ConfigError: The model has no alignment that tells rows apart.
    """
    alignment_of(model)
    stored = sorted(run.glob("index/*/moments.safetensors"), key=lambda path: path.stat().st_mtime) if run else []
    if not stored:
        return None
    with _kept_at(stored[-1].parent):
        return AlignedEmbedder(model, _stored_moments(stored[-1].parent))


@contextmanager
def _kept_at(folder: Path) -> Iterator[None]:
    """Whatever is met in an index that was damaged is a ``CheckpointError``."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder}: the index cannot be read ({error}); delete it, and it is built anew"
        ) from None


def _stored_moments(folder: Path) -> dict[str, Moments]:
    tensors = load_file(folder / "moments.safetensors")
    names = read_json(folder / "fields.json")["embedded"]
    return {name: Moments(tensors[f"{name}.mean"], tensors[f"{name}.variance"]) for name in names}


def fingerprint(model: Model, rows: Rows, reference: Rows) -> str:
    """Names an index: equal where format, weights and data are."""
    names = aligned_fields(model)
    weights = digest_of(*(model.encoders[n] for n in names), *model.projections.values(), alignment_of(model))
    data = (rows.only(*(name for name in names if name in rows.columns)).fingerprint for rows in (rows, reference))
    return hashlib.sha256(" ".join((str(FORMAT), weights, *data)).encode()).hexdigest()[:32]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise ConfigError("search: the package faiss-cpu is not installed; `pip install 'polymodal[search]'`") from None
    return faiss
