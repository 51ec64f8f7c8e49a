"""Likelihoods in the units in which they are compared: perplexity and bits per dimension."""

import math

import numpy as np


def perplexity(log_likelihoods: np.ndarray, tokens: np.ndarray) -> float:
    """exp of the mean negative log-likelihood of a token.

    Args:
        log_likelihoods: (n,) of whole rows, in nats.
        tokens: (n,) number of tokens of each row.
    """
    return math.exp(-float(log_likelihoods.sum()) / float(tokens.sum()))


def bits_per_dimension(log_likelihoods: np.ndarray, dimensions: np.ndarray) -> float:
    """Negative log-likelihood in bits over the number of dimensions (n,) of the rows, below 0 for great densities."""
    return -float(log_likelihoods.sum()) / float(dimensions.sum()) / math.log(2)
