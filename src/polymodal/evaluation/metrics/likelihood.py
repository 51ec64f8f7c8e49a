"""Likelihoods as they are compared: perplexity and bits per dimension."""

import math

import numpy as np


def perplexity(log_likelihoods: np.ndarray, tokens: np.ndarray) -> float:
    """exp of the mean negative log-likelihood of a token: among how many the model as good as guesses.

    Args:
        log_likelihoods: Of whole rows (n,), in nats.
        tokens: Of each row (n,).
    """
    return math.exp(-float(log_likelihoods.sum()) / float(tokens.sum()))


def bits_per_dimension(log_likelihoods: np.ndarray, dimensions: np.ndarray) -> float:
    """Negative log-likelihood in bits over the number of dimensions (n,) of the rows. Densities may be below 0."""
    return -float(log_likelihoods.sum()) / float(dimensions.sum()) / math.log(2)
