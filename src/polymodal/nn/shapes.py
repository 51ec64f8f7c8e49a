"""Whether a batch is cut to its longest row, which saves work, or keeps the shapes of its spaces.

Kernels of matrix products add in another order for other shapes, so a row's result depends on the lengths of its
neighbours in the last bits. A server, whose answers must not depend on who else asks, keeps the shapes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

from polymodal.types import Field, Space

_FIXED: ContextVar[bool] = ContextVar("fixed_shapes", default=False)


@contextmanager
def fixed_shapes() -> Iterator[None]:
    """Within it, in this thread, nothing is cut to the longest row of a batch.

    Rows that are sampled in batches of one size, with the same fields given, are then equal to the last bit whatever
    the other rows are.
    """
    token = _FIXED.set(True)
    try:
        yield
    finally:
        _FIXED.reset(token)


def shapes_are_fixed() -> bool:
    """Whether this is within ``fixed_shapes``, where a row's result may not depend on how many are computed with it."""
    return _FIXED.get()


def longest(mask: Tensor) -> int:
    """How many places (L,) of a mask (B, L) some row needs: all of them where shapes are fixed."""
    return mask.shape[1] if _FIXED.get() or not len(mask) else int(mask.sum(1).max())


def keep_shape(field: Field, space: Space) -> Field:
    """A field as it is, padded to the longest value of its space where shapes are fixed."""
    return field.pad(space.max_length) if _FIXED.get() else field
