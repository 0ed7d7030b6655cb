import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from scperturbmamba.engine import subspaces
from scperturbmamba.engine.subspaces import along_sets, guided_axes, masked_axes, principal_axes, residual_squares


def cells(n, g, seed=0):
    x = torch.randn(n, g, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x = x + 2 * torch.outer(x[:, 0], torch.linspace(-1, 1, g, dtype=torch.float64))
    return x - x.mean(0)


def projector(axes):
    return axes @ axes.T


@pytest.mark.parametrize("shape", [(40, 15), (15, 40), (30, 30)])
def test_principal_axes_span_what_sklearn_s_do(shape):
    x = cells(*shape)
    axes = principal_axes(x, 5)
    expected = torch.from_numpy(PCA(5, svd_solver="full").fit(x.numpy()).components_.T)
    torch.testing.assert_close(projector(axes), projector(expected), atol=1e-8, rtol=0)
    torch.testing.assert_close(axes.T @ axes, torch.eye(5, dtype=torch.float64), atol=1e-8, rtol=0)
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()


def test_the_randomised_decomposition_spans_the_same_where_the_spectrum_falls(monkeypatch):
    x = cells(60, 50) * torch.linspace(4, 0.1, 50, dtype=torch.float64) ** 2
    x = x - x.mean(0)
    exact = principal_axes(x, 3)
    monkeypatch.setattr(subspaces, "_EXACT", 10)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.testing.assert_close(projector(principal_axes(x, 3)), projector(exact), atol=1e-6, rtol=0)


def test_there_are_no_more_axes_than_the_cells_span():
    x = torch.outer(torch.tensor([1.0, -1.0, 2.0, -2.0]), torch.tensor([1.0, 2.0, 3.0]))
    assert principal_axes(x, 3).shape == (3, 1)
    assert principal_axes(torch.zeros(4, 3), 2).shape == (3, 0)


def test_strength_runs_from_the_principal_components_to_the_sets():
    x = cells(60, 20)
    sets = torch.zeros(20, 3, dtype=torch.float64)
    sets[:6, 0], sets[4:12, 1], sets[15:, 2] = 1, 1, 1
    none, some, all_ = guided_axes(x, sets, 3, [0.0, 0.3, 1.0])
    torch.testing.assert_close(projector(none), projector(principal_axes(x, 3)), atol=1e-8, rtol=0)
    span = torch.linalg.qr(sets)[0]
    torch.testing.assert_close(projector(all_), projector(span), atol=1e-8, rtol=0)
    kept = [float((axes.T @ span).square().sum()) for axes in (none, some, all_)]
    assert kept[0] < kept[1] < kept[2] == pytest.approx(3)
    left = [float(residual_squares(x, axes).sum()) for axes in (none, some, all_)]
    assert left[0] < left[1] < left[2]


def test_columns_along_the_sets_span_the_axes_and_lean_to_their_own_set():
    x, sets = cells(60, 20), (torch.rand(20, 4, generator=torch.Generator().manual_seed(1)) < 0.4).double()
    axes = principal_axes(x, 4)
    columns = along_sets(axes, sets)
    span = torch.linalg.qr(columns)[0]
    torch.testing.assert_close(projector(span), projector(axes), atol=1e-8, rtol=0)
    own = (columns * sets).sum(0)
    assert (own > 0).all()


def test_masked_axes_are_zero_outside_their_set_and_the_best_single_axis_inside():
    x, mask = cells(50, 12), torch.zeros(12, 2)
    mask[:5, 0], mask[5:, 1] = 1, 1
    columns = masked_axes(x, mask)
    assert (columns[mask == 0] == 0).all()
    expected = PCA(1).fit(x[:, :5].numpy()).components_[0]
    assert abs(float(columns[:5, 0] @ torch.from_numpy(expected))) == pytest.approx(1)
    assert (columns.sum(0) >= 0).all()


def test_what_is_left_over_is_the_squared_distance_to_the_span():
    x = cells(10, 6)
    axes = principal_axes(x, 2).numpy()
    coefficients = np.linalg.lstsq(axes, x.numpy().T, rcond=None)[0]
    expected = np.square(x.numpy().T - axes @ coefficients).sum(0)
    np.testing.assert_allclose(residual_squares(x, torch.from_numpy(axes)), expected)
