"""FUSION: tokens of many fields -> one context."""

from polymodal.fusion.attention import AttentionFusion
from polymodal.fusion.base import Fusion

FUSIONS: dict[str, type[Fusion]] = {"attention": AttentionFusion}
