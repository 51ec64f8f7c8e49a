"""Generation as a user sees it: raw objects in, raw objects out."""

from __future__ import annotations

import logging
import math
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage
from torch import Tensor

from polymodal.data import Rows
from polymodal.device import memory_bytes
from polymodal.errors import ConfigError, DataError, unknown
from polymodal.files import atomic_file, file_name, write_file
from polymodal.modalities.base import Modality, read_finite
from polymodal.model import Model
from polymodal.nn.random import make_keys
from polymodal.resolution import untaught
from polymodal.types import Batch, Field

_log = logging.getLogger(__name__)

CHUNK = 64
"""Rows that are generated together."""
_OBJECT_BYTES = 50
"""That the smallest object takes."""
MOST_PIXELS = 512
"""Of a side of a picture in a grid of samples."""


def generate(
    model: Model,
    given: Mapping[str, Any],
    to: Sequence[str],
    *,
    n: int = 1,
    seed: int = 0,
    first: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, list[Any]]:
    """Samples of the fields ``to`` from the values ``given``.

    Several outputs agree with one another: each is conditioned on those drawn before it; see ``Model.sample``.

    Args:
        model: Any.
        given: Raw values by field: a string, a path, bytes, a PIL image, ...; none at all is fine.
        to: Fields to generate.
        n: Number of samples.
        seed: Sample k of a seed is the same however many are drawn.
        first: Number of the first sample.
        options: Options of the heads by field, such as ``{"picture": {"steps": 10}}``.

    Returns:
        By field, ``n`` objects with ``save(path)`` (strings for text and labels).

    Raises:
        ConfigError: A field is unknown or cannot be given or generated, or memory cannot hold ``n`` objects.
        DataError: A given value cannot be read.
    """
    to = [to] if isinstance(to, str) else list(to)
    chunks = stream(model, given, to, n=n, seed=seed, first=first, options=options)
    _check_room(model, to, n)
    out: dict[str, list[Any]] = {name: [] for name in to}
    for chunk in chunks:
        for name in to:
            out[name] += chunk[name]
    return out


def stream(
    model: Model,
    given: Mapping[str, Any],
    to: Sequence[str],
    *,
    n: int = 1,
    seed: int = 0,
    first: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Iterator[dict[str, list[Any]]]:
    """What ``generate`` gives, ``CHUNK`` samples at a time, so that any number is drawn in the memory of these.

    What is wrong with the arguments, which are those of ``generate``, is raised here, before anything is drawn.
    """
    check_fields(model, given, to, options)
    if n < 1:
        raise ConfigError(f"n: {n} is not at least 1")
    fields = {name: read(name, model.modalities[name], raw) for name, raw in given.items() if raw is not None}

    def chunk(start: int) -> dict[str, list[Any]]:
        rows = min(CHUNK, first + n - start)
        everywhere = torch.ones(rows, dtype=torch.bool)
        index = torch.zeros(rows, dtype=torch.int64)
        batch = {name: field.pick(index).to(model.device) for name, field in fields.items()}
        made = model.sample(
            batch,
            dict.fromkeys(fields, everywhere),
            dict.fromkeys(to, everywhere),
            make_keys(seed, rows, start=start).to(model.device),
            options,
        )
        return {name: write(model.modalities[name], made[name]) for name in to}

    return map(chunk, range(first, first + n, CHUNK))


def _check_room(model: Model, to: Sequence[str], n: int) -> None:
    """Whether this machine could hold ``n`` samples of fields, of which a number takes a byte at least.

    Raises:
        ConfigError: It could not.
    """
    least = n * sum(max(_OBJECT_BYTES, prod(model.modalities[name].space.shape)) for name in to)
    if least > (room := memory_bytes()):
        raise ConfigError(
            f"n: {n:,} samples are {least / 1e9:,.0f} GB at least, and this machine's memory is {room / 1e9:,.0f} GB; "
            "ask for fewer at a time, each time with another seed, or let `polymodal generate -n` write them to files"
        )


def generate_batch(
    model: Model,
    rows: Iterable[Mapping[str, Any]],
    to: str | Sequence[str],
    *,
    seed: int = 0,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[dict[str, Any]]:
    """One sample of the fields ``to`` for each of many rows.

    Args:
        model: Any.
        rows: Raw values by field, as of ``generate``; rows may lack any.
        to: Fields to generate, which no row gives.
        seed: Row k, from 0, has sample k of the seed: what ``generate`` gives for it alone with ``first=k``.
        options: Options of the heads by field.

    Returns:
        Of each row, in order, the objects that were generated, by field.

    Raises:
        ConfigError: A field is unknown or cannot be given or generated; names the row, from 1.
        DataError: A row is no mapping, or a value cannot be read; names row and field.
    """
    to = [to] if isinstance(to, str) else list(to)
    check_fields(model, {}, to, options)
    rows, out = list(rows), []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise DataError(f"row {number}: is a {type(row).__name__}; a mapping of fields to values is right")
        try:
            check_fields(model, {name: raw for name, raw in row.items() if raw is not None}, to)
        except ConfigError as error:
            raise ConfigError(f"row {number}: {error}") from None
    for start in range(0, len(rows), CHUNK):
        part = rows[start : start + CHUNK]
        batch = _stacked(model, part, first=start + 1)
        made = model.sample(
            {name: field.to(model.device) for name, field in batch.items()},
            {name: field.present for name, field in batch.items()},
            dict.fromkeys(to, torch.ones(len(part), dtype=torch.bool)),
            make_keys(seed, len(part), start=start).to(model.device),
            options,
        )
        things = {name: write(model.modalities[name], made[name]) for name in to}
        out += [dict(zip(things, row, strict=True)) for row in zip(*things.values(), strict=True)]
    return out


def between(
    model: Model,
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    to: str,
    *,
    n: int = 6,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> list[Any]:
    """Values of a field on the way from what one input gives to what another does.

    What heads are told of the inputs is mixed, and all are drawn with the same random numbers, so that neighbours are
    alike where the model has learned how one thing passes into another.

    Args:
        model: Any.
        one: Raw values by field.
        other: Those that the last one is made from.
        to: Field to generate.
        n: How many, the ends among them.
        seed: The first is sample 0 of this seed, given ``one``; the last that given ``other``.
        options: Options of the field's head.

    Raises:
        ConfigError: A field is unknown, or cannot be given or generated; or ``n`` is less
            than 2, or more than memory holds.
        DataError: A given value cannot be read.
    """
    if n < 2:
        raise ConfigError(f"n: {n} is not at least 2, the ends")
    rows = [one, other]
    for given in rows:
        check_fields(model, {name: raw for name, raw in given.items() if raw is not None}, [to], {to: options or {}})
    _check_room(model, [to], n)
    batch = {name: field.to(model.device) for name, field in _stacked(model, rows, first=1).items()}
    keys = make_keys(seed, 1).to(model.device)
    ends_given = model.condition(batch, {name: field.present.cpu() for name, field in batch.items()}, keys.repeat(2))
    context = ends_given.to_draw(to, torch.ones(2, dtype=torch.bool), ends_given.visible).context
    made: list[Any] = []
    for shares in torch.linspace(0, 1, n, device=model.device).split(CHUNK):
        ends = [context.pick(torch.full((len(shares),), place, device=model.device)) for place in (0, 1)]
        way = model.condition({}, {}, keys.repeat(len(shares)))
        way.context = ends[0].mixed(ends[1], shares)
        made += write(model.modalities[to], way.sample(to, **(options or {})))
    return made


def _stacked(model: Model, rows: Sequence[Mapping[str, Any]], *, first: int) -> Batch:
    """Raw rows, of which the first has this number in messages, as a batch; fields that no row has are left out."""
    given = [_read_row(model, row, number) for number, row in enumerate(rows, first)]
    return {
        name: Field.stack([row.get(name) or Field.absent(modality.space, 1) for row in given])
        for name, modality in model.modalities.items()
        if any(name in row for row in given)
    }


def _read_row(model: Model, row: Mapping[str, Any], number: int) -> dict[str, Field]:
    try:
        return {name: read(name, model.modalities[name], raw) for name, raw in row.items() if raw is not None}
    except DataError as error:
        raise DataError(f"row {number}, {error}") from None


def check_fields(
    model: Model,
    given: Mapping[str, Any],
    to: Sequence[str],
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Whether a model can do this: give and generate these fields, with these options of the heads.

    Raises:
        ConfigError: It cannot; says why.
    """
    for name in given:
        if name not in model.modalities:
            raise ConfigError(unknown("given", name, model.modalities))
        if name not in model.encoders:
            raise ConfigError(f"given: '{name}' is an output only; give {', '.join(model.encoders)}")
    for name in to:
        if name not in model.modalities:
            raise ConfigError(unknown("to", name, model.modalities))
        if name not in model.heads:
            raise ConfigError(f"to: '{name}' is an input only; choose among {', '.join(model.heads)}")
        if name in given:
            raise ConfigError(f"to: '{name}' is given; ask for fields that are not")
    if len(set(to)) < len(to):
        raise ConfigError("to: a field is named twice")
    if not to:
        raise ConfigError(f"to: name at least one field among {', '.join(model.heads)}")
    for name, chosen in (options or {}).items():
        if name not in to:
            raise ConfigError(unknown("options", name, to))
        model.heads[name].options_with(chosen, f"options.{name}")
    for doubt in untaught(model, to, len(given), options):
        warnings.warn(doubt, stacklevel=3)


def read(name: str, modality: Modality, raw: Any) -> Field:
    """One raw value -> a field of one row in model form. A string names a file where the modality is not itself text.

    Raises:
        DataError: It cannot be read; the message names the field.
    """
    if isinstance(raw, str) and modality.names_file(raw):
        raw = Path(raw)
    try:
        stored = read_finite(modality, raw)
    except DataError as error:
        raise DataError(f"{name}: {error}") from None
    value = modality.to_model(torch.from_numpy(np.array(stored))[None])
    return Field.full(value, varies=modality.space.varies)


@lru_cache(maxsize=64)
def _tell_of_infinities(modality: Modality) -> None:
    """Says so, once of each field of a model."""
    kind = type(modality).__name__
    _log.warning("values of type %s that the model generates are not finite: its training diverged", kind)


def write(modality: Modality, field: Field) -> list[Any]:
    """The rows of a field in model form -> objects. What is not finite counts as 0, and is told once."""
    field = field.to("cpu")
    if field.value.is_floating_point() and not bool(field.value.isfinite().all()):
        _tell_of_infinities(modality)
        field = replace(field, value=field.value.nan_to_num(0.0, 0.0, 0.0))
    return [modality.write(value) for value in field.values()]


def generate_rows(
    model: Model,
    batch: Batch,
    visible: Mapping[str, Tensor],
    to: Mapping[str, Tensor],
    keys: Tensor,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Batch:
    """As ``Model.sample``, in chunks; all tensors on the CPU."""
    pieces: list[Batch] = []
    for part in torch.arange(len(keys)).split(CHUNK):
        made = model.sample(
            {name: field.pick(part).to(model.device) for name, field in batch.items()},
            {name: mask[part] for name, mask in visible.items()},
            {name: mask[part] for name, mask in to.items()},
            keys[part].to(model.device),
            options,
        )
        pieces.append({name: field.to("cpu") for name, field in made.items()})
    return {name: Field.stack([piece[name] for piece in pieces]) for name in to}


def sample_grid(
    model: Model, rows: Rows, folder: Path, *, count: int = 6, seed: int = 0, until: float = math.inf
) -> None:
    """Writes what a model makes of a few rows: each field from each other field alone, while it is before ``until``.

    What can be seen becomes one PNG for each direction, the real values above. What a table would hold is listed in
    ``samples.txt``; of anything else, such as sound, the first sample becomes a file.

    Args:
        model: Any.
        rows: Of which the first are taken.
        folder: To write to.
        count: Rows.
        seed: Random seed of the samples.
        until: A time of ``time.monotonic`` after which no direction is begun.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = torch.arange(min(count, len(rows)))
    batch = rows.decode(rows.batch(index))
    keys, lines = make_keys(seed, len(index)), []
    for source in model.encoders:
        for target in model.heads:
            wanted = batch[source].present & batch[target].present
            if source == target or not wanted.any() or time.monotonic() > until:
                continue
            made = generate_rows(model, batch, {source: batch[source].present}, {target: wanted}, keys)[target]
            modality = model.modalities[target]
            shown = wanted.nonzero()[:, 0]
            real, fake = (write(modality, field.pick(shown)) for field in (batch[target], made))
            name = file_name(f"{source}-to-{target}")
            if modality.inline:
                cells = [(modality.cell(r), modality.cell(f)) for r, f in zip(real, fake, strict=True)]
                lines += [f"{name}: {r!r} -> {f!r}" for r, f in cells]
            else:
                write_file(folder / f"{name}{modality.suffix}", modality.encode(fake[0]))
            side = min(MOST_PIXELS, max(modality.space.grid, default=1))
            pictures = [[modality.thumbnail(thing, side) for thing in things] for things in (real, fake)]
            if any(picture for line in pictures for picture in line):
                with atomic_file(folder / f"{name}.png") as png:  # in place of the first sample, where that is a PNG
                    contact(pictures).save(png)
    write_file(folder / "samples.txt", "\n".join(lines) + "\n")


def contact(lines: Sequence[Sequence[PILImage.Image | None]], gap: int = 2) -> PILImage.Image:
    """Pictures in rows, on white, in places of the size of the largest; at least one."""
    sizes = [picture.size for line in lines for picture in line if picture]
    wide, high = (max(sides) for sides in zip(*sizes, strict=True))
    sheet = PILImage.new(
        "RGB", (max(map(len, lines)) * (wide + gap) + gap, len(lines) * (high + gap) + gap), (255, 255, 255)
    )
    for y, line in enumerate(lines):
        for x, picture in enumerate(line):
            if picture:
                sheet.paste(picture.convert("RGB"), (gap + x * (wide + gap), gap + y * (high + gap)))
    return sheet
