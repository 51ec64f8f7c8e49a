"""Metrics, one in each file."""

from polymodal.evaluation.metrics.active_units import active_units
from polymodal.evaluation.metrics.bleu import bleu
from polymodal.evaluation.metrics.chemnet import chemnet_distance
from polymodal.evaluation.metrics.chrf import chrf
from polymodal.evaluation.metrics.correlation import correlation
from polymodal.evaluation.metrics.distinct import distinct_n
from polymodal.evaluation.metrics.distributions import (
    extrapolated_frechet_distance,
    frechet_distance,
    precision_and_recall,
)
from polymodal.evaluation.metrics.dtw import dtw
from polymodal.evaluation.metrics.error_rates import character_errors, word_errors
from polymodal.evaluation.metrics.intervals import (
    bootstrap_interval,
    holm,
    jackknife_interval,
    paired_difference,
    resampled_interval,
    share_interval,
)
from polymodal.evaluation.metrics.kernel_distance import kernel_distance
from polymodal.evaluation.metrics.likelihood import bits_per_dimension, perplexity
from polymodal.evaluation.metrics.linear_probe import linear_probe
from polymodal.evaluation.metrics.log_spectral import log_spectral_distance
from polymodal.evaluation.metrics.mel_cepstral import mel_cepstra, mel_cepstral_distortion
from polymodal.evaluation.metrics.novelty import novelty, uniqueness, validity
from polymodal.evaluation.metrics.others import other_rows, other_values
from polymodal.evaluation.metrics.perceptual import perceptual_distance
from polymodal.evaluation.metrics.point_sets import (
    chamfer_distance,
    chamfer_matrix,
    matched_share,
    matching_distance,
    nearest_neighbour_accuracy,
)
from polymodal.evaluation.metrics.psnr import psnr
from polymodal.evaluation.metrics.rank import ranks, recall_at_k
from polymodal.evaluation.metrics.rmse import rmse
from polymodal.evaluation.metrics.shares import best_function_share, exact_match, most_frequent_share
from polymodal.evaluation.metrics.sharpness import sharpness
from polymodal.evaluation.metrics.spread import spread
from polymodal.evaluation.metrics.ssim import ssim

__all__ = [
    "active_units", "best_function_share", "bits_per_dimension", "bleu", "bootstrap_interval", "chamfer_distance",
    "chamfer_matrix", "character_errors", "chemnet_distance", "chrf", "correlation", "distinct_n", "dtw",
    "exact_match", "extrapolated_frechet_distance", "frechet_distance", "holm", "jackknife_interval",
    "kernel_distance", "linear_probe", "log_spectral_distance", "matched_share", "matching_distance", "mel_cepstra",
    "mel_cepstral_distortion", "most_frequent_share", "nearest_neighbour_accuracy", "novelty", "other_rows",
    "other_values",
    "paired_difference", "perceptual_distance", "perplexity", "precision_and_recall", "psnr", "ranks", "recall_at_k",
    "resampled_interval", "rmse", "share_interval", "sharpness", "spread", "ssim", "uniqueness", "validity",
    "word_errors",
]  # fmt: skip
