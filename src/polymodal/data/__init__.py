"""Data: sources of rows, splits, the cache, and the batches that models read."""

from polymodal.data.cache import cache_folder
from polymodal.data.columns import Column
from polymodal.data.fields import describe_fields, parse_fields
from polymodal.data.infer import Fields, infer_fields
from polymodal.data.load import Data, load
from polymodal.data.overlap import overlap, overlap_notes
from polymodal.data.report import Report, inspect
from polymodal.data.rows import Rows
from polymodal.data.sharded_rows import ShardedRows
from polymodal.data.shards import first_shard
from polymodal.data.sheet import contact_sheet
from polymodal.data.sources import BUILTIN, Rejection, open_source
from polymodal.data.splits import SPLITS, connected

__all__ = [
    "BUILTIN",
    "SPLITS",
    "Column",
    "Data",
    "Fields",
    "Rejection",
    "Report",
    "Rows",
    "ShardedRows",
    "cache_folder",
    "connected",
    "contact_sheet",
    "describe_fields",
    "first_shard",
    "infer_fields",
    "inspect",
    "load",
    "open_source",
    "overlap",
    "overlap_notes",
    "parse_fields",
]
