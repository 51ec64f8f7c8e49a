"""Directions of a model as files of ONNX, which run without PyTorch and without polymodal."""

from polymodal.export.companions import write_runner
from polymodal.export.onnx_file import CLOSE, Exported, export_direction, parse_direction

__all__ = ["CLOSE", "Exported", "export_direction", "parse_direction", "write_runner"]
