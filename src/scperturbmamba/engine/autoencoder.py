"""An autoencoder of control cells whose linear decoder holds a vector per gene.

Shapes: n cells, g genes, k pathways. A linear decoder is at best as good as the projection onto its span, and on the
cells it was fitted to no span is better than that of the principal components. So training starts there (or, with
gene sets, near there), and a change is kept only where it lowers the error of cells that were held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from scperturbmamba.engine.subspaces import (
    along_sets,
    guided_axes,
    masked_axes,
    principal_axes,
    residual_squares,
)

Mode = Literal["data", "init", "mask"]

_STRENGTHS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 0.9)
_FOLDS = 5
_BATCH = 128
_RATE = 1e-3
_PATIENCE = 5  # passes without a gain before training ends
_ROUNDING = 1e-9
_SURE = 3.0  # standard errors by which a gain must exceed zero


@dataclass(frozen=True)
class AutoencoderFit:
    """A trained autoencoder and how it did.

    Attributes
    ----------
    model
        The autoencoder, trained on all cells.
    epochs
        Passes over the cells that lowered the error of held-out cells; 0 keeps the start.
    strength
        Share of the gene sets in the first decoder, chosen on held-out cells; 0 without sets.
    r2, r2_pca
        Share of the squares of held-out cells that is reconstructed, by this way of training and by PCA of equal
        width, both fitted without those cells.
    """

    model: PathwayAutoencoder
    epochs: int
    strength: float
    r2: float
    r2_pca: float


class PathwayAutoencoder(nn.Module):
    """Standardised cells (n, g) to codes (n, k) and back through a linear decoder (g, k).

    The encoder is the projection onto the decoder's span plus a non-linear correction that starts at zero.
    """

    mask: Tensor | None

    def __init__(self, decoder: Tensor, *, mask: Tensor | None = None, hidden: int = 64) -> None:
        super().__init__()
        n_genes, width = decoder.shape
        self.decoder = nn.Parameter(decoder.float().clone())
        self.register_buffer("mask", None if mask is None else (mask != 0).float())
        self.projection = nn.Parameter(torch.linalg.pinv(decoder.double()).T.float())
        self.hidden = nn.Linear(n_genes, hidden)
        self.correction = nn.Linear(hidden, width)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def loadings(self) -> Tensor:
        """Return the decoder (g, k), exactly zero where it is masked."""
        return self.decoder if self.mask is None else self.decoder * self.mask

    def encode(self, x: Tensor) -> Tensor:
        """Return codes (n, k) of cells (n, g)."""
        return x @ self.projection + self.correction(nn.functional.gelu(self.hidden(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Return reconstructed cells (n, g)."""
        return self.encode(x) @ self.loadings().T


def fit_autoencoder(
    x: Tensor,
    *,
    width: int,
    sets: Tensor | None = None,
    mode: Mode = "data",
    max_epochs: int = 60,
    seed: int = 0,
    on_epoch: Callable[[], object] | None = None,
) -> AutoencoderFit:
    """Fit an autoencoder to standardised control cells ``x`` (n, g); the same seed gives the same one.

    Parameters
    ----------
    x
        Cells × genes, each gene with mean 0.
    width
        Number of pathways; with ``sets`` in the modes ``"init"`` and ``"mask"`` their number.
    sets
        Genes × sets, 0/1, without an empty set.
    mode
        ``"data"`` starts from the principal components; ``"init"`` from the sets, laid into the span of the
        principal components as far as held-out cells ask for it; ``"mask"`` leaves only the members' weights free.
    max_epochs
        Passes over the cells, at most.
    seed
        Seed of the folds, the batches and the first weights.
    on_epoch
        Called after each pass.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        order = torch.randperm(len(x))
        n_held = max(1, len(x) // 5)
        held, kept = x[order[:n_held]], x[order[n_held:]]
        strength = _choose_strength(x[order], sets, width) if mode == "init" and sets is not None else 0.0

        trial = _start(kept, width, sets, mode, strength)
        epochs, r2 = _best_epochs(trial, kept, held, max_epochs, on_epoch)
        left = residual_squares(held, principal_axes(kept, width))
        r2_pca = 1 - float(left.sum() / held.double().square().sum())

        model = _start(x, width, sets, mode, strength)
        optimiser = torch.optim.Adam(model.parameters(), lr=_RATE)
        for _ in range(epochs):
            _pass_over(model, optimiser, x, on_epoch)
    return AutoencoderFit(model, epochs, strength, r2, r2_pca)


def explained(model: PathwayAutoencoder, x: Tensor) -> float:
    """Return the share of the squares of cells (n, g) that is reconstructed."""
    return 1 - float(_errors(model, x).sum() / x.double().square().sum())


def _start(x: Tensor, width: int, sets: Tensor | None, mode: Mode, strength: float) -> PathwayAutoencoder:
    if mode == "data" or sets is None:
        axes = principal_axes(x, width)
        return PathwayAutoencoder(nn.functional.pad(axes, (0, width - axes.shape[1])))
    if mode == "mask":
        return PathwayAutoencoder(masked_axes(x, sets), mask=sets)
    return PathwayAutoencoder(along_sets(guided_axes(x, sets, width, [strength])[0], sets))


def _choose_strength(x: Tensor, sets: Tensor, width: int) -> float:
    """Return the largest share of the sets with which held-out cells are reconstructed better than by PCA alone."""
    gains = []
    for held in torch.arange(len(x)).tensor_split(min(_FOLDS, len(x))):
        inside = torch.ones(len(x), dtype=torch.bool)
        inside[held] = False
        axes = guided_axes(x[inside], sets, width, _STRENGTHS)
        left = torch.stack([residual_squares(x[held], one) for one in axes])
        gains.append(left[0] - left)
    gain = torch.cat(gains, dim=1)
    better = [number for number in range(len(_STRENGTHS)) if _is_gain(gain[number])]
    return _STRENGTHS[max(better)] if better else 0.0


def _is_gain(gain: Tensor) -> bool:
    """Tell whether the mean over cells is surely above zero."""
    return bool(gain.mean() > _SURE * gain.std() / len(gain) ** 0.5 + _ROUNDING)


def _best_epochs(
    model: PathwayAutoencoder, x: Tensor, held: Tensor, max_epochs: int, on_epoch: Callable[[], object] | None
) -> tuple[int, float]:
    """Train, and return the best number of passes with the share of ``held`` that is then reconstructed."""
    optimiser = torch.optim.Adam(model.parameters(), lr=_RATE)
    first = _errors(model, held)
    best, best_error = 0, first
    for epoch in range(1, max_epochs + 1):
        _pass_over(model, optimiser, x, on_epoch)
        error = _errors(model, held)
        if error.mean() < best_error.mean() and _is_gain(first - error):
            best, best_error = epoch, error
        if epoch - best >= _PATIENCE:
            break
    return best, 1 - float(best_error.sum() / held.double().square().sum())


def _pass_over(
    model: PathwayAutoencoder, optimiser: torch.optim.Optimizer, x: Tensor, on_epoch: Callable[[], object] | None
) -> None:
    for batch in torch.randperm(len(x)).split(_BATCH):
        cells = x[batch].float()
        loss = (cells - model(cells)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    if on_epoch is not None:
        on_epoch()


@torch.no_grad()
def _errors(model: PathwayAutoencoder, x: Tensor) -> Tensor:
    return (x.double() - model(x.float()).double()).square().sum(1)
