"""Weights of the fields' losses, so that none drowns the others."""

from polymodal.training.balancing.base import Balancer, Seen
from polymodal.training.balancing.dwa import DynamicWeightAverage
from polymodal.training.balancing.fixed import Fixed
from polymodal.training.balancing.gradient_share import GradientShare
from polymodal.training.balancing.gradnorm import GradNorm
from polymodal.training.balancing.uncertainty import Uncertainty

BALANCERS: dict[str, type[Balancer]] = {
    "dwa": DynamicWeightAverage,
    "fixed": Fixed,
    "gradient-share": GradientShare,
    "gradnorm": GradNorm,
    "uncertainty": Uncertainty,
}

__all__ = ["BALANCERS", "Balancer", "Seen"]
