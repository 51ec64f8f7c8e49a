"""The one training loop, and the stages of a run."""

from polymodal.training.stages import fit

__all__ = ["fit"]
