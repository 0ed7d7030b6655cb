"""Every metric of a benchmark, of every row: which they are, and which way is good."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from scperturbmamba import metrics
from scperturbmamba.tl._truth import Truth

TOPS: Final = (20, 50, 100, 200)
_SIGNIFICANT = 0.05

ERROR, LIKENESS, CENTRED, RANK, CHANGED = "error", "likeness", "centred", "rank", "changed genes"
FAMILIES: Final[Mapping[str, str]] = {
    **dict.fromkeys(["mse", "mae", "l2", "wmse"], ERROR),
    **dict.fromkeys(["pearson_delta", "spearman_delta", "cosine_delta", "r2_delta"], LIKENESS),
    **dict.fromkeys(
        ["pearson_delta_centred", "spearman_delta_centred", "r2_delta_centred", "weighted_r2_centred"], CENTRED
    ),
    **dict.fromkeys(["pds_l1", "pds_l2", "pds_cosine", "centroid_accuracy", "rank"], RANK),
    **{f"mse_top{n}": ERROR for n in TOPS},
    **{f"pearson_delta_top{n}": LIKENESS for n in TOPS},
    **{f"direction_top{n}": CHANGED for n in TOPS},
    **dict.fromkeys(["de_overlap", "de_precision_50"], CHANGED),
}
METRICS: Final = tuple(FAMILIES)
LOW_IS_GOOD: Final = frozenset({name for name, family in FAMILIES.items() if family == ERROR} | {"rank"})


@dataclass(frozen=True)
class Reference:
    """What a row is measured by beside the truth.

    Attributes
    ----------
    centre
        (rows × genes): mean effect of the training conditions in the row's context.
    control
        (rows × genes): control expression of the row's context, which chooses the genes of L2.
    targets
        (rows × genes): True where a gene is perturbed in that row.
    """

    centre: NDArray[np.float32]
    control: NDArray[np.float32]
    targets: NDArray[np.bool_]

    def take(self, place: NDArray[np.int64]) -> Reference:
        """Return some of the rows."""
        return Reference(self.centre[place], self.control[place], self.targets[place])


def score_rows(
    truth: Truth,
    predicted: NDArray[np.float32],
    reference: Reference,
    *,
    expression: NDArray[np.float32] | None = None,
    with_targets: bool = True,
) -> pd.DataFrame:
    """Return the metrics of each row, with or without the genes that are perturbed in it.

    Errors are of the expression, the training control plus the predicted effect, and so free of the noise of the
    controls on the test side; likeness is of effects, each side against control cells of its own. The metrics that tell
    rows apart never count the perturbed genes, and compare the rows of a context.

    Parameters
    ----------
    truth, reference
        What is known of the rows.
    predicted
        (rows × genes) effects.
    expression
        (rows × genes) predicted expression, where it is not the training control plus the effect.
    with_targets
        Whether the perturbed genes count.
    """
    level = reference.control + predicted if expression is None else expression
    hidden = np.zeros_like(reference.targets) if with_targets else reference.targets
    mean, level, a, b = (np.where(hidden, np.nan, one) for one in (truth.mean, level, truth.delta, predicted))
    blind_truth, blind = (np.where(reference.targets, np.nan, one) for one in (truth.delta, predicted))
    table = {**_errors(mean, level, truth, reference), **_likeness(a, b, truth, reference), **_changed(a, b, truth)}
    table |= _told_apart(blind_truth, blind, truth.rows["context"].to_numpy())
    return pd.DataFrame(table)[list(METRICS)]


def _errors(a: NDArray, b: NDArray, truth: Truth, reference: Reference) -> dict[str, NDArray]:
    high = np.stack([metrics.highest_genes(row) for row in reference.control]) if len(a) else np.zeros((0, 0), int)
    top_a, top_b = (np.take_along_axis(one, high, axis=1) for one in (a, b))
    weights = metrics.effect_weights(np.where(np.isfinite(a), truth.t_rest, np.nan))
    return {
        "mse": metrics.mse(a, b),
        "mae": metrics.mae(a, b),
        "l2": metrics.l2(top_a, top_b),
        "wmse": metrics.weighted_mse(a, b, weights),
        **{f"mse_top{n}": metrics.mse(*pair) for n, pair in _tops(a, b, truth).items()},
    }


def _likeness(a: NDArray, b: NDArray, truth: Truth, reference: Reference) -> dict[str, NDArray]:
    rest_a, rest_b = a - reference.centre, b - reference.centre
    weights = metrics.effect_weights(np.where(np.isfinite(a), truth.t_rest, np.nan))
    return {
        "weighted_r2_centred": metrics.weighted_r2(rest_a, rest_b, weights),
        "pearson_delta": metrics.pearson(a, b),
        "spearman_delta": metrics.spearman(a, b),
        "cosine_delta": metrics.cosine(a, b),
        "r2_delta": metrics.r2_score(a, b),
        "pearson_delta_centred": metrics.pearson_centred(a, b, reference.centre),
        "spearman_delta_centred": metrics.spearman(rest_a, rest_b),
        "r2_delta_centred": metrics.r2_score(rest_a, rest_b),
        **{f"pearson_delta_top{n}": metrics.pearson(*pair) for n, pair in _tops(a, b, truth).items()},
    }


def _changed(a: NDArray, b: NDArray, truth: Truth) -> dict[str, NDArray]:
    tops = _tops(a, b, truth)
    significant = significant_genes(truth) & np.isfinite(a)
    return {
        **{f"direction_top{n}": metrics.direction_accuracy(*pair, n_top_genes=n) for n, pair in tops.items()},
        "de_overlap": metrics.de_overlap(a, b, significant),
        "de_precision_50": metrics.de_precision(a, b, significant, n=50),
    }


def _tops(a: NDArray, b: NDArray, truth: Truth) -> dict[int, tuple[NDArray, NDArray]]:
    """Return both sides at the genes of the largest t, by how many."""
    first, second = metrics.on_top_genes(a, b, n=max(TOPS), strength=truth.t)
    return {n: (first[:, :n], second[:, :n]) for n in TOPS}


def _told_apart(truth: NDArray, predicted: NDArray, context: NDArray) -> dict[str, NDArray]:
    measures: dict[str, Callable[[NDArray, NDArray], NDArray]] = {
        "pds_l1": lambda a, b: metrics.discrimination(a, b, distance="l1"),
        "pds_l2": lambda a, b: metrics.discrimination(a, b, distance="l2"),
        "pds_cosine": lambda a, b: metrics.discrimination(a, b, distance="cosine"),
        "centroid_accuracy": metrics.centroid_accuracy,
        "rank": metrics.rank,
    }
    result = {name: np.full(len(truth), np.nan) for name in measures}
    for one in pd.unique(context):
        own = np.flatnonzero(context == one)
        if len(own) > 1:
            for name, measure in measures.items():
                result[name][own] = measure(truth[own], predicted[own])
    return result


def significant_genes(truth: Truth) -> NDArray[np.bool_]:
    """Return (rows × genes): changed at a false discovery rate of 5 % within the row (normal test)."""
    p = np.where(np.isfinite(truth.t), 2 * stats.norm.sf(np.abs(truth.t)), 1.0)
    return stats.false_discovery_control(p, axis=1) < _SIGNIFICANT if p.size else p.astype(bool)
