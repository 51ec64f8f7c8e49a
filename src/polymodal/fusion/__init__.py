"""FUSION: tokens of many fields -> one context."""

from polymodal.fusion.attention import AttentionFusion
from polymodal.fusion.base import Fusion
from polymodal.fusion.bottleneck import BottleneckFusion
from polymodal.fusion.concatenation import ConcatenationFusion
from polymodal.fusion.gated import GatedFusion
from polymodal.fusion.graph import GraphFusion
from polymodal.fusion.poe import ProductOfExperts
from polymodal.fusion.tensor import TensorFusion

FUSIONS: dict[str, type[Fusion]] = {
    "attention": AttentionFusion,
    "bottleneck": BottleneckFusion,
    "concatenation": ConcatenationFusion,
    "gated": GatedFusion,
    "graph": GraphFusion,
    "poe": ProductOfExperts,
    "tensor": TensorFusion,
}
