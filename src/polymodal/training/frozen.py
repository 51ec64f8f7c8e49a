"""What frozen parts make of training rows: computed once for each distinct value, and mapped from the run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from polymodal.checkpoint import digest_of
from polymodal.data import Column, Rows
from polymodal.data.columns import ColumnWriter
from polymodal.encoders import Encoder
from polymodal.files import atomic_folder, file_name, remove_partials, short_digest
from polymodal.model import FEATURES, LATENT, Model
from polymodal.training.engines import Engine
from polymodal.types import Field

CHUNK = 128
"""Values that a frozen part is given at a time."""


def with_frozen(model: Model, rows: Rows, run: Path, engine: Engine) -> Rows:
    """Rows that hold, beside their values, the codes of codecs and the tokens of encoders that do not learn.

    Args:
        model: Whose codecs have learned.
        rows: Training rows.
        run: Folder of the run, which keeps what is computed.
        engine: Of its processes the first one computes.
    """
    there = {name for name, present in rows.present.items() if present.any()}
    for name, codec in model.codecs.items():
        if name in there:
            column = _computed(
                name, rows, run / "latents" / file_name(name), codec, codec.encode, codec.latent.varies, engine
            )
            rows = rows.with_column(name + LATENT, column)
    for name, encoder in model.encoders.items():
        if name in there and not encoder.trains:
            column = _computed(
                name, rows, run / "features" / file_name(name), encoder, partial(_tokens, encoder), 0, engine
            )
            rows = rows.with_column(name + FEATURES, column)
            encoder.release()
    return rows


def _tokens(encoder: Encoder, field: Field) -> Field:
    """Tokens (B, N, D) as a field whose first axis varies."""
    tokens = encoder(field)
    return Field(tokens.x, tokens.mask, field.present, varies=0)


@torch.no_grad()
def _computed(
    name: str,
    rows: Rows,
    folder: Path,
    part: nn.Module,
    compute: Callable[[Field], Field],
    varies: int | None,
    engine: Engine,
) -> Column:
    """What a part makes of the values of a field; of these and of its weights the folder's ``key`` is a digest."""
    source = rows.columns[name]
    distinct, slots = np.unique(source.slots, return_inverse=True)
    slots = np.where(source.slots >= 0, slots - int(distinct[0] < 0), -1)
    key = short_digest([digest_of(part).encode(), source.key.encode(), distinct.tobytes()])
    if engine.main and not ((folder / "key").exists() and (folder / "key").read_text() == key):
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_partials(folder.parent)
        own = rows.unique(name).only(name)
        order = np.argsort(own.columns[name].slots)
        with atomic_folder(folder, replace=True) as unfinished, ColumnWriter(unfinished) as writer:
            for index in np.array_split(order, -(-len(order) // CHUNK)):
                made = compute(own.decode({name: own.batch(index)[name].to(engine.device)})[name])
                value = (made.value.float() if made.value.is_floating_point() else made.value.int()).cpu()
                if varies is None:
                    writer.write(value.numpy())
                else:
                    writer.write(value.movedim(1 + varies, 1)[made.mask.cpu()].numpy(), made.lengths.tolist())
            (unfinished / "key").write_text(key)
    engine.wait()
    return Column.open(folder, slots, key, varies)
