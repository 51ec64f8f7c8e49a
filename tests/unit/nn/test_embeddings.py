import pytest
import torch

from polymodal.nn.embeddings import TimeEmbedding, grid_positions, sinusoidal


@pytest.mark.parametrize("grid", [(), (7,), (4, 5), (2, 3, 4)])
@pytest.mark.parametrize("width", [24, 25])
def test_each_place_of_a_grid_has_its_own_position(grid, width):
    positions = grid_positions(grid, width)
    places = int(torch.tensor(grid).prod()) if grid else 1
    assert positions.shape == (places, width)
    apart = torch.cdist(positions, positions) + 9 * torch.eye(places)
    assert apart.min() > 0.05


def test_positions_run_row_by_row():
    positions = grid_positions((3, 4), 16).view(3, 4, 16)
    assert torch.equal(positions[1, :, :8], positions[1, :1, :8].expand(4, 8))
    assert torch.equal(positions[:, 2, 8:], positions[:1, 2, 8:].expand(3, 8))


def test_sinusoidal_features():
    features = sinusoidal(torch.tensor([0.0, 2.0]), 6, longest=100.0)
    angles = 2.0 * torch.tensor([1.0, 0.1, 0.01])
    torch.testing.assert_close(features[0], torch.tensor([1.0, 1, 1, 0, 0, 0]))
    torch.testing.assert_close(features[1], torch.cat([angles.cos(), angles.sin()]))


def test_near_times_have_near_embeddings():
    torch.manual_seed(0)
    embed = TimeEmbedding(32)
    near, middle, far = embed(torch.tensor([0.5, 0.501, 0.9]))
    assert (near - middle).norm() < 0.5 * (far - middle).norm()
