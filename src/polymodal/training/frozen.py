"""What frozen parts make of training rows: computed once for each distinct value, and mapped from the run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from polymodal.checkpoint import digest_of
from polymodal.codecs import Codec
from polymodal.condition import FEATURES, LATENT
from polymodal.data import Column, Rows
from polymodal.data.columns import ColumnWriter, stored
from polymodal.encoders import Encoder
from polymodal.files import atomic_folder, file_name, remove_partials, short_digest
from polymodal.model import Model
from polymodal.training.engines import Engine
from polymodal.types import Field

CHUNK = 128
"""Values that a frozen part is given at a time."""


def with_frozen(model: Model, rows: Rows, run: Path, engine: Engine) -> Rows:
    """Rows that hold, beside their values, the codes of codecs and the tokens of encoders that do not learn.

    Numbers are kept in ``train.cache_precision``. A tower is in memory while it reads, and not when rows are there.

    Args:
        model: Whose codecs have learned.
        rows: Training rows.
        run: Folder of the run, which keeps what is computed.
        engine: Of its processes the first one computes, but for rows in shards: of these, whoever has fetched one.
    """
    there = {name for name, present in rows.present.items() if present.any()}
    parts: list[tuple[str, str, str, Codec | Encoder, Callable[[Field], Field], int | None]] = [
        (name, LATENT, "latents", codec, codec.encode, codec.latent.varies) for name, codec in model.codecs.items()
    ]
    parts += [
        (name, FEATURES, "features", encoder, partial(_tokens, encoder), 0)
        for name, encoder in model.encoders.items()
        if not encoder.trains
    ]
    for name, ending, family, part, compute, varies in parts:
        if name in there:
            folder = run / family / file_name(name)
            dtype = torch.float32 if model.recipe.train.cache_precision == "no" else torch.bfloat16
            derive = partial(_computed, name, part, digest_of(part), compute, varies, engine.device, dtype, folder)
            if engine.main:
                rows.with_derived(name + ending, derive, folder)
            engine.wait()
            rows = rows.with_derived(name + ending, derive, folder)
    return rows


def _tokens(encoder: Encoder, field: Field) -> Field:
    """Tokens (B, N, D) as a field whose first axis varies."""
    tokens = encoder(field)
    return Field(tokens.x, tokens.mask, field.present, varies=0)


@torch.no_grad()
def _computed(
    name: str,
    part: Codec | Encoder,
    digest: str,
    compute: Callable[[Field], Field],
    varies: int | None,
    device: torch.device,
    dtype: torch.dtype,
    own_folder: Path,
    rows: Rows,
    folder: Path,
) -> Column:
    """What a part, of that digest, makes of the values of a field; the folder's ``key`` names both, and the type."""
    source = rows.columns[name]
    distinct, slots = np.unique(source.slots, return_inverse=True)
    slots = np.where(source.slots >= 0, slots - int(distinct[0] < 0), -1)
    key = short_digest([digest.encode(), source.key.encode(), distinct.tobytes()])
    wanted = key if dtype == torch.float32 else f"{key} {dtype}"
    there = (folder / "key").read_text() if (folder / "key").exists() else ""
    # What an earlier version left in the run's own folder in 32 bits stays, so that the run ends as it would have.
    if there != wanted and not (there == key and folder == own_folder):
        there = wanted
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_partials(folder.parent)
        own = rows.unique(name).only(name)
        order = np.argsort(own.columns[name].slots)
        with atomic_folder(folder, replace=True) as unfinished, ColumnWriter(unfinished) as writer:
            for index in np.array_split(order, -(-len(order) // CHUNK) or 1):
                if not len(order):  # a shard without the field has columns of the same form
                    made = compute(Field.blank(rows.fields[name].space, device))
                    made = replace(made, value=made.value[:0], mask=made.mask[:0], present=made.present[:0])
                else:
                    made = compute(own.decode({name: own.batch(index)[name].to(device)})[name])
                value = made.value.to(dtype if made.value.is_floating_point() else torch.int32).cpu()
                if varies is None:
                    writer.write(stored(value))
                else:
                    writer.write(stored(value.movedim(1 + varies, 1)[made.mask.cpu()]), made.lengths.tolist())
            (unfinished / "key").write_text(there)
        part.release()  # a tower is loaded again where it is needed
    return Column.open(folder, slots, there, varies)
