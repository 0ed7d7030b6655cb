"""A generated screen of drugs at several doses, whose targets and dose responses are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_positive, check_whole
from scperturbmamba.data.conditions import Part
from scperturbmamba.datasets._toy_genome import gene_table
from scperturbmamba.datasets._toy_network import Network, make_network, noisy_gene_sets
from scperturbmamba.datasets._toy_smiles import N_SCAFFOLDS, PER_SCAFFOLD, draw_smiles

_LINES = ("line_A", "line_B")
_N_PATHWAYS = 8
_SECOND_TARGET = 0.3  # share of the drugs that inhibit a second pathway, which the structure does not tell
_BATCH_SHIFT = 0.4  # standard deviation over genes, in natural log units
_VEHICLE = "CS(C)=O"


def toy_drugs(
    *,
    n_genes: int = 100,
    n_drugs: int = 24,
    doses: Sequence[float] = (0.1, 1.0, 10.0),
    cells_per_condition: int = 20,
    n_control: int = 240,
    plates: int = 3,
    random_state: int = 0,
) -> AnnData:
    """Make a small screen of drugs at several doses whose truth is known, in a second.

    A drug inhibits one pathway of a regulatory network, and some a second one. Its effect on the log mean of a gene is
    a profile of that line of cells times ``dose**slope / (ec50**slope + dose**slope)``. Drugs of one (first) pathway
    share a scaffold, so that structure tells part of the target. Each drug is on one plate; each plate has vehicle
    cells of its own, and shifts the log means of all its cells alike, so that only the controls of the same plate show
    the effect. Two lines of cells answer with different gains.

    Parameters
    ----------
    n_genes
        Measured genes.
    n_drugs
        Drugs; each is given at every dose.
    doses
        Doses in micromolar.
    cells_per_condition
        Mean number of cells of a drug at a dose, over both lines.
    n_control
        Cells with the vehicle alone, over all plates.
    plates
        Plates over which drugs and vehicle cells are divided evenly.
    random_state
        Seed; the same seed gives the same world.

    Returns
    -------
    AnnData of cells × genes
        ``X``
            Raw counts, CSR.
        ``obs``
            ``drug`` (``"control"`` for the vehicle), ``dose`` (0 for the vehicle), ``dose_unit`` (``"uM"``),
            ``smiles`` (that of dimethyl sulfoxide for the vehicle), ``cell_line``, ``plate``.
        ``var``
            ``ensembl_id``, ``chromosome``, ``start``, ``end`` (invented).
        ``uns["toy"]``
            ``effects``, ``effects_second`` (``drug@dose`` × genes: true change of the log mean in ``line_A`` and in
            ``line_B``), ``ec50`` (drug → micromolar), ``slope`` (drug → number), ``pathways`` (drug → those that it
            inhibits, the one that its scaffold tells first), ``gains`` (pathways × lines), ``gene_sets`` (a noisy copy
            of the pathways).

    Raises
    ------
    ValueError
        A number is not above zero, a dose occurs twice, or there are more plates than drugs or vehicle cells.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy_drugs(n_genes=40, n_drugs=8, doses=(1, 10), cells_per_condition=10)
    >>> adata.uns["toy"]["effects"].shape
    (16, 40)
    >>> spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    >>> adata.obs["perturbation"].cat.categories[1]
    'compound01@1'
    """
    whole = {"n_genes": n_genes, "n_drugs": n_drugs, "cells_per_condition": cells_per_condition}
    _check_sizes(doses, {**whole, "n_control": n_control, "plates": plates})
    rng = np.random.default_rng(random_state)

    table = gene_table(n_genes, rng)
    network = make_network(table, _N_PATHWAYS, rng)
    drugs = _draw_drugs(n_drugs, plates, rng)
    gains = np.stack([np.ones(_N_PATHWAYS), rng.uniform(0.4, 1.4, _N_PATHWAYS)])
    effects = np.stack([_effects(network, drugs, gain, doses) for gain in gains])
    plan = _plan_cells(drugs, len(doses), cells_per_condition, n_control, plates, rng)

    adata = AnnData(_draw_counts(plan, effects, plates, rng), obs=_obs(plan, drugs, doses), var=table)
    sets = noisy_gene_sets(network.membership, list(table.index), rng)
    adata.uns["toy"] = _truth(drugs, doses, effects, gains, sets, list(table.index))
    return adata


@dataclass(frozen=True)
class _Drugs:
    """What is true of the drugs; one entry, or row, per drug."""

    names: list[str]
    smiles: list[str]
    targets: list[list[int]]
    activity: NDArray[np.float64]
    ec50: NDArray[np.float64]
    slope: NDArray[np.float64]
    plate: NDArray[np.int64]


def _check_sizes(doses: Sequence[float], whole: dict[str, int]) -> None:
    for name, value in whole.items():
        check_whole(value, name)
    for dose in doses:
        check_positive(dose, "doses")
    if not len(doses) or len(set(doses)) < len(doses):
        msg = f"`doses` must be one or more numbers, all different; found {list(doses)}."
        raise ValueError(msg)
    most = {"plates": min(whole["n_drugs"], whole["n_control"]), "n_drugs": _N_PATHWAYS * PER_SCAFFOLD}
    for name, limit in most.items():
        if whole[name] > limit:
            msg = f"`{name}` must be at most {limit} in a screen of this size; found {whole[name]}."
            raise ValueError(msg)


def _draw_drugs(n_drugs: int, plates: int, rng: np.random.Generator) -> _Drugs:
    """Draw targets, molecules and dose responses; pathways and plates are used evenly, and not side by side."""
    first = rng.permutation(np.arange(n_drugs) % _N_PATHWAYS)
    scaffold = rng.permutation(N_SCAFFOLDS)[:_N_PATHWAYS]
    activity, targets = np.zeros((n_drugs, _N_PATHWAYS)), []
    for drug, pathway in enumerate(first):
        others = rng.permutation(np.delete(np.arange(_N_PATHWAYS), pathway))
        targets.append([int(pathway), *(int(one) for one in others[: int(rng.random() < _SECOND_TARGET)])])
        activity[drug, targets[drug]] = -rng.lognormal(0.2, 0.2, len(targets[drug]))
    digits = max(2, len(str(n_drugs)))
    return _Drugs(
        names=[f"compound{number + 1:0{digits}d}" for number in range(n_drugs)],
        smiles=draw_smiles([int(scaffold[pathway]) for pathway in first], rng),
        targets=targets,
        activity=activity,
        ec50=np.exp(rng.normal(0, 1.2, n_drugs)),
        slope=rng.uniform(0.8, 2.0, n_drugs),
        plate=rng.permutation(np.arange(n_drugs) % plates),
    )


def _effects(network: Network, drugs: _Drugs, gain: NDArray[np.float64], doses: Sequence[float]) -> NDArray[np.float64]:
    """Return the change of the log means, (1 + drugs × doses) × genes; the first row is the vehicle."""
    profile = network.through_pathways(drugs.activity @ network.reach, gain)
    dose = np.asarray(doses, np.float64)
    power = (dose / drugs.ec50[:, None]) ** drugs.slope[:, None]
    effects = (power / (1 + power))[..., None] * profile[:, None]
    return np.vstack([np.zeros((1, profile.shape[1])), effects.reshape(-1, profile.shape[1])])


def _plan_cells(
    drugs: _Drugs, n_doses: int, per_condition: int, n_control: int, plates: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Return a row per cell: its condition (0 is the vehicle), plate and line."""
    n_conditions = len(drugs.names) * n_doses
    sizes = rng.poisson(per_condition, n_conditions).clip(min=2)
    condition = np.concatenate([np.zeros(n_control, int), np.repeat(1 + np.arange(n_conditions), sizes)])
    plate = np.concatenate([np.arange(n_control) % plates, np.repeat(np.repeat(drugs.plate, n_doses), sizes)])
    plan = pd.DataFrame({"condition": condition, "plate": plate, "line": rng.integers(0, 2, len(condition))})
    return plan.iloc[rng.permutation(len(plan))].reset_index(drop=True)


def _draw_counts(
    plan: pd.DataFrame, effects: NDArray[np.float64], plates: int, rng: np.random.Generator
) -> sp.csr_matrix:
    n_genes = effects.shape[2]
    line = np.stack([np.zeros(n_genes), rng.normal(0, 0.3, n_genes)])
    batch = rng.normal(0, _BATCH_SHIFT, (plates, n_genes))
    base, dispersion = rng.normal(0.4, 1.0, n_genes), np.exp(rng.normal(1.2, 0.4, n_genes))
    log_mean = base + line[plan["line"]] + batch[plan["plate"]] + effects[plan["line"], plan["condition"]]
    mean = rng.lognormal(0, 0.35, (len(plan), 1)) * np.exp(log_mean)
    counts = rng.negative_binomial(dispersion, dispersion / (dispersion + mean))
    return sp.csr_matrix(counts.astype(np.float32))


def _obs(plan: pd.DataFrame, drugs: _Drugs, doses: Sequence[float]) -> pd.DataFrame:
    treated = plan["condition"].to_numpy() > 0
    drug, dose = np.divmod(plan["condition"].to_numpy() - 1, len(doses))
    columns = {
        "drug": pd.Categorical(np.where(treated, np.array(drugs.names)[drug], _keys.CONTROL)),
        "dose": np.where(treated, np.asarray(doses, np.float64)[dose], 0.0),
        "dose_unit": pd.Categorical(["uM"] * len(plan)),
        "smiles": pd.Categorical(np.where(treated, np.array(drugs.smiles)[drug], _VEHICLE)),
        "cell_line": pd.Categorical(np.array(_LINES)[plan["line"]]),
        "plate": pd.Categorical([f"plate{number + 1}" for number in plan["plate"]]),
    }
    return pd.DataFrame(columns, index=[f"cell{number:05d}" for number in range(len(plan))])


def _truth(
    drugs: _Drugs,
    doses: Sequence[float],
    effects: NDArray[np.float64],
    gains: NDArray[np.float64],
    sets: dict[str, list[str]],
    genes: list[str],
) -> dict[str, object]:
    labels = [Part(name, dose=float(dose)).label for name in drugs.names for dose in doses]
    first, second = (pd.DataFrame(one[1:], index=labels, columns=genes) for one in effects)
    pathways = list(sets)
    return {
        "effects": first,
        "effects_second": second,
        "ec50": dict(zip(drugs.names, map(float, drugs.ec50))),
        "slope": dict(zip(drugs.names, map(float, drugs.slope))),
        "pathways": {name: [pathways[one] for one in found] for name, found in zip(drugs.names, drugs.targets)},
        "gains": pd.DataFrame(gains.T, index=pathways, columns=list(_LINES)),
        "gene_sets": sets,
    }
