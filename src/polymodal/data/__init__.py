"""Data: sources of rows, splits, the cache, and the batches that models read."""

from polymodal.data.columns import Column
from polymodal.data.load import Data, load, parse_fields
from polymodal.data.rows import Rows
from polymodal.data.sources import Rejection

__all__ = ["Column", "Data", "Rejection", "Rows", "load", "parse_fields"]
