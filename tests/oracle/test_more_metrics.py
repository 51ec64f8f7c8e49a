"""Text, picture, sound, retrieval, latent and likelihood metrics against libraries and closed forms."""

import math

import jiwer
import numpy as np
import pytest
import sacrebleu
import scipy.fft
import torch

from polymodal.evaluation import metrics
from polymodal.evaluation.metrics import recall_at_k
from polymodal.types import Field

REFERENCES = ["the cat sat on the mat", "a red apple lies here", "two birds fly over a house", "the sun"]
OUTPUTS = ["the cat sat on a mat", "red apples lie here", "two birds fly over the house now", "moon"]


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_word_error_rate_is_jiwers():
    errors, lengths = metrics.word_errors(REFERENCES, OUTPUTS)
    assert errors.sum() / lengths.sum() == pytest.approx(jiwer.wer(REFERENCES, OUTPUTS), rel=1e-4)
    assert metrics.word_errors([""], ["two words"])[0].tolist() == [2]


def test_bleu_and_chrf_are_sacrebleus():
    assert metrics.bleu(REFERENCES, OUTPUTS) == pytest.approx(
        sacrebleu.BLEU().corpus_score(OUTPUTS, [REFERENCES]).score / 100, rel=1e-4
    )
    assert metrics.chrf(REFERENCES, OUTPUTS) == pytest.approx(
        sacrebleu.CHRF().corpus_score(OUTPUTS, [REFERENCES]).score / 100, rel=1e-4
    )
    assert metrics.bleu(REFERENCES, REFERENCES) == pytest.approx(1)
    assert metrics.chrf(["abc"], ["xyz"]) == 0


def test_distinct_n_counts_runs():
    assert metrics.distinct_n(["a b a b"], 2) == pytest.approx(2 / 3)
    assert metrics.distinct_n(["a b", "a b"], 1) == 0.5
    assert metrics.distinct_n(["a"], 2) == 0


def test_ssim_and_psnr_equal_torchmetrics():
    from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

    first = noise(3, 3, 24, 20).clamp(-1, 1)
    second = (first + 0.3 * noise(3, 3, 24, 20, seed=1)).clamp(-1, 1)
    theirs = structural_similarity_index_measure(second.double(), first.double(), data_range=2.0, reduction="none")
    assert metrics.ssim(first, second).numpy() == pytest.approx(theirs.numpy(), rel=1e-4)
    theirs = [float(peak_signal_noise_ratio(b, a, data_range=2.0)) for a, b in zip(first, second, strict=True)]
    assert metrics.psnr(first, second).tolist() == pytest.approx(theirs, rel=1e-4)
    assert metrics.ssim(first, first).tolist() == pytest.approx([1] * 3)
    assert metrics.psnr(first, first).tolist() == pytest.approx([100] * 3)


def test_perceptual_distance_is_that_of_directions():
    x, y = torch.tensor([[2.0, 0], [1, 0], [1, 0]]), torch.tensor([[5.0, 0], [0, 3], [-1, 0]])
    assert metrics.perceptual_distance(x, y).tolist() == pytest.approx([0, 2, 4])


def test_cepstra_are_scipys_and_distortion_a_closed_form():
    x, mask = noise(2, 20, 7), torch.ones(2, 7, dtype=torch.bool)
    theirs = scipy.fft.dct(x.double().numpy(), axis=1, type=2)[:, 1:14] / 20
    assert metrics.mel_cepstra(x).numpy() == pytest.approx(theirs, rel=1e-6, abs=1e-9)
    # Moved along the third cosine by 0.5: one coefficient differs, by 0.5.
    cosine = torch.cos(3 * math.pi * (torch.arange(20) + 0.5) / 20)[None, :, None]
    moved = metrics.mel_cepstral_distortion(x.double(), x.double() + 0.5 * cosine, mask)
    assert moved.tolist() == pytest.approx([10 / math.log(10) * math.sqrt(2) * 0.5] * 2)
    # All coefficients of sounds of equal loudness are the whole log spectrum (Parseval).
    y = noise(2, 20, 7, seed=1)
    x, y = (z - z.mean(1, keepdim=True) for z in (x, y))
    whole = metrics.mel_cepstral_distortion(x, y, mask, 19)
    assert whole.tolist() == pytest.approx(metrics.log_spectral_distance(x, y, mask).tolist(), rel=1e-5)
    mask[1, 4:] = False
    behind = x.clone()
    behind[1, :, 4:] = 9
    assert metrics.mel_cepstral_distortion(x, behind, mask).tolist() == pytest.approx([0, 0])


def test_log_spectral_distance_of_twice_the_magnitude_is_6_db():
    x, mask = noise(2, 20, 7), torch.ones(2, 7, dtype=torch.bool)
    assert metrics.log_spectral_distance(x, x + math.log(2), mask).tolist() == pytest.approx([20 * math.log10(2)] * 2)


def test_ranks_and_recall_of_known_similarities():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.8, 0.5, 0.1], [0.7, 0.6, 0.5]])
    assert metrics.ranks(similarity).tolist() == [1, 2, 3]
    right = torch.tensor([0, 0, 1])
    assert (
        metrics.ranks(similarity, right).tolist()
        == (1 + (similarity > similarity.gather(1, right[:, None])).sum(1)).tolist()
    )
    assert [recall_at_k(similarity, k).tolist() for k in (1, 2, 9)] == [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    assert metrics.ranks(torch.zeros(3, 3)).tolist() == [2, 2, 2]  # of ties, the mean


def test_likelihoods_of_a_uniform_choice():
    tokens = np.array([3.0, 5.0])
    assert metrics.perplexity(tokens * math.log(1 / 7), tokens) == pytest.approx(7)
    assert metrics.bits_per_dimension(tokens * math.log(1 / 256), tokens) == pytest.approx(8)


def test_linear_probe_reads_what_is_linear_only():
    features = noise(120, 4).numpy()
    linear, square = (features[:, 0] > 0).astype(int), (features[:, 0] * features[:, 1] > 0).astype(int)
    assert metrics.linear_probe(features, linear).mean() > 0.9
    assert metrics.linear_probe(features, square).mean() < 0.7
    assert metrics.linear_probe(features, np.zeros(120)) is None


def test_active_units_are_those_that_vary():
    means = noise(200, 5) * torch.tensor([1.0, 0.5, 0.2, 0.05, 0.0])
    assert metrics.active_units(means) == 3


def test_blur_takes_sharpness_away():
    value = noise(4, 3, 16, 16)
    mask = torch.ones(4, 1, dtype=torch.bool)
    blurred = torch.nn.functional.avg_pool2d(value, 3, 1, 1)
    assert (
        metrics.sharpness(Field(blurred, mask, mask[:, 0])) < 0.2 * metrics.sharpness(Field(value, mask, mask[:, 0]))
    ).all()
    ramp = torch.arange(16.0).expand(1, 1, 16, 16)
    assert metrics.sharpness(Field(ramp, mask[:1], mask[:1, 0])).item() == 0
    sound, real = noise(1, 8, 10), torch.arange(10)[None] < 6
    padded = torch.cat([sound[..., :6], 99 * torch.ones(1, 8, 4)], -1)
    whole = metrics.sharpness(Field(sound[..., :6], real[:, :6], real[:, 0], 1))
    assert metrics.sharpness(Field(padded, real, real[:, 0], 1)).item() == pytest.approx(whole.item())


def test_sharpness_of_a_video_is_the_mean_of_its_frames():
    video, real = noise(1, 3, 5, 8, 8), torch.arange(5)[None] < 3
    frames = metrics.sharpness(Field.full(video[0, :, :3].movedim(1, 0)))
    assert metrics.sharpness(Field(video, real, real[:, 0], 1)).item() == pytest.approx(frames.mean().item())


def test_spread_of_known_points():
    points = torch.tensor([[[0.0, 0]], [[3, 4]], [[0, 0]]])  # three samples of one row
    assert metrics.spread(points).tolist() == pytest.approx([10 / 3])


def test_interval_of_a_set_lies_around_its_value():
    x = np.random.default_rng(0).normal(size=400)
    half = 1.96 * x.std() / 20
    value, low, high = metrics.jackknife_interval(lambda rows: float(x[rows].mean()), np.arange(400), parts=400)
    assert value == pytest.approx(x.mean())
    median, least, most = metrics.resampled_interval(lambda rows: float(np.median(x[rows])), np.arange(400))
    assert least < median < most
    assert most - least == pytest.approx(2 * half * (np.pi / 2) ** 0.5, rel=0.3)
    assert (low, high) == (pytest.approx(x.mean() - half, abs=0.01), pytest.approx(x.mean() + half, abs=0.01))


def test_paired_difference_sees_what_pairing_shows():
    random = np.random.default_rng(0)
    base, ones = random.normal(size=100), np.ones(100)
    better = base + 0.1 + 0.1 * random.normal(size=100)
    difference, low, high, p = metrics.paired_difference((base, ones), (better, ones))
    assert low < difference < high
    assert p < 0.01
    assert metrics.paired_difference((base, ones), (base, ones))[3] == 1
    few = base.copy()
    few[:3] += 1  # three rows of the same sign may be chance: 2 / 2^3
    assert metrics.paired_difference((base, ones), (few, ones))[3] == pytest.approx(0.25, abs=0.03)
    shuffled = random.permutation(better)  # unpaired, the same difference drowns
    assert metrics.paired_difference((base, ones), (shuffled, ones))[3] > 0.05


def test_holm_of_known_values():
    assert metrics.holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
