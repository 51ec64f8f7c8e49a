"""Models of Hugging Face as parts: one loader for encoders, codecs, heads and judges."""

from polymodal.pretrained.adapters import Lora, LoraArguments
from polymodal.pretrained.source import PretrainedSource

__all__ = ["Lora", "LoraArguments", "PretrainedSource"]
