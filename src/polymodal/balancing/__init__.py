"""Weights of the fields' losses, so that none drowns the others."""

from polymodal.balancing.base import Balancer, Seen
from polymodal.balancing.dwa import DynamicWeightAverage
from polymodal.balancing.fixed import Fixed
from polymodal.balancing.gradient_share import GradientShare
from polymodal.balancing.gradnorm import GradNorm
from polymodal.balancing.uncertainty import Uncertainty

BALANCERS: dict[str, type[Balancer]] = {
    "dwa": DynamicWeightAverage,
    "fixed": Fixed,
    "gradient-share": GradientShare,
    "gradnorm": GradNorm,
    "uncertainty": Uncertainty,
}

__all__ = ["BALANCERS", "Balancer", "Seen"]
