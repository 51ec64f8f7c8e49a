"""Models of Hugging Face as parts: one loader for encoders, codecs, heads and judges."""

from polymodal.pretrained.adapters import Lora, LoraArguments
from polymodal.pretrained.device_map import DeviceMapArgument
from polymodal.pretrained.lazy import LazyNetwork
from polymodal.pretrained.source import PretrainedSource

__all__ = ["DeviceMapArgument", "LazyNetwork", "Lora", "LoraArguments", "PretrainedSource"]
