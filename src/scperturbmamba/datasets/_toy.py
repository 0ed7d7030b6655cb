"""A generated Perturb-seq screen whose regulatory network is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_positive
from scperturbmamba.datasets._toy_genome import gene_table
from scperturbmamba.datasets._toy_network import Network, make_network, noisy_gene_sets

_GUIDES_PER_GENE = 2
_CONTROL_GUIDES = 8


def toy(
    *,
    n_genes: int = 200,
    n_singles: int = 60,
    n_doubles: int = 12,
    n_outside: int = 4,
    cells_per_condition: int = 40,
    n_control: int = 300,
    n_pathways: int = 12,
    neighbours: float = 0.5,
    random_state: int = 0,
) -> AnnData:
    """Make a small Perturb-seq screen (CRISPRi) whose truth is known, in a second.

    Silencing a gene changes the activity of its pathways and of those downstream, dims its neighbours on the
    chromosome, and lowers itself; pairs that drive one pathway saturate. Two cell contexts answer with
    different gains. Counts are negative binomial with size factors; guides come with ambient noise,
    multiplets and cells without a guide. Symbols look real, places and pathways are invented.

    Parameters
    ----------
    n_genes
        Measured genes.
    n_singles
        Single-gene conditions.
    n_doubles
        Pairs, each of two genes that are also perturbed alone.
    n_outside
        How many of the perturbed genes are not measured.
    cells_per_condition
        Mean number of cells of a condition.
    n_control
        Cells with a non-targeting guide.
    n_pathways
        Pathways of the network.
    neighbours
        By how much, in natural log units, silencing a gene dims one at no distance on the chromosome; it falls to 0
        over three million bases.
    random_state
        Seed; the same seed gives the same world.

    Returns
    -------
    AnnData of cells × genes
        ``X``
            Raw counts, CSR.
        ``obs``
            ``condition`` (the true label: ``"KLF1"``, ``"KLF1+TP53"``, ``"control"``, missing without a guide,
            ``"multiplet"``), ``cell_line`` (two contexts), ``batch``.
        ``obsm["guide_counts"]``
            Guide UMIs, a DataFrame with a column per guide (``"TP53_g1"``, ``"non-targeting_g1"``).
        ``var``
            ``ensembl_id``, ``chromosome``, ``start``, ``end`` (invented).
        ``uns["toy"]``
            ``gene_sets`` (a noisy copy of the pathways), ``outside`` (places of the perturbed genes that are not
            measured), ``effects`` (conditions × genes, true change of the log mean in the first context).

    Raises
    ------
    ValueError
        A number is not above zero, or there are fewer genes, singles or pairs than asked for.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=60, n_singles=10, n_doubles=2, cells_per_condition=20)
    >>> adata.n_vars
    60
    >>> adata.uns["toy"]["effects"].shape
    (12, 60)
    """
    more = {"cells_per_condition": cells_per_condition, "n_pathways": n_pathways}
    _check_sizes(n_genes, n_singles, n_doubles, n_outside, **more)
    rng = np.random.default_rng(random_state)

    table = gene_table(n_genes + n_outside, rng)
    network = make_network(table, n_pathways, rng, neighbours=neighbours)
    targets, pairs = _draw_targets(n_genes, n_outside, n_singles, n_doubles, rng)
    gains = np.stack([np.ones(n_pathways), rng.uniform(0.4, 1.4, n_pathways)])
    labels, effects = _condition_effects(network, table, targets, pairs, gains)
    plan = _plan_cells(labels, cells_per_condition, n_control, rng)
    counts = _draw_counts(plan, effects, table, rng)
    guides = _draw_guides(plan, labels, rng)

    measured = slice(0, n_genes)
    adata = AnnData(sp.csr_matrix(counts[:, measured]), obs=_obs(plan, labels), var=table.iloc[measured].copy())
    adata.obs_names = [f"cell{number:05d}" for number in range(adata.n_obs)]
    guides.index = adata.obs_names
    adata.obsm[_keys.GUIDE_COUNTS] = guides
    adata.uns["toy"] = {
        "gene_sets": noisy_gene_sets(network.membership, list(table.index), rng),
        "outside": table.iloc[n_genes:].copy(),
        "effects": pd.DataFrame(effects[0][1:, measured], index=labels[1:], columns=table.index[measured]),
    }
    return adata


def _check_sizes(n_genes: int, n_singles: int, n_doubles: int, n_outside: int, **others: int) -> None:
    for name, value in {"n_genes": n_genes, "n_singles": n_singles, **others}.items():
        check_positive(value, name)
    pairs = n_singles * (n_singles - 1) // 2
    limits = {"n_outside": (n_outside, n_singles), "n_doubles": (n_doubles, pairs), "n_singles": (n_singles, n_genes)}
    for name, (value, most) in limits.items():
        if not 0 <= value <= most:
            msg = (
                f"`{name}` must be from 0 to {most}, for {n_genes} genes and {n_singles} single perturbations; "
                f"found {value}."
            )
            raise ValueError(msg)


def _draw_targets(
    n_genes: int, n_outside: int, n_singles: int, n_doubles: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the genes perturbed alone, the last ``n_outside`` of them not measured, and pairs of their places."""
    inside = rng.choice(n_genes, n_singles - n_outside, replace=False)
    targets = np.concatenate([inside, np.arange(n_genes, n_genes + n_outside)])
    every = np.array([(a, b) for a in range(n_singles) for b in range(a + 1, n_singles)]).reshape(-1, 2)
    return targets, every[rng.choice(len(every), n_doubles, replace=False)]


def _condition_effects(
    network: Network,
    table: pd.DataFrame,
    targets: NDArray[np.int64],
    pairs: NDArray[np.int64],
    gains: NDArray[np.float64],
) -> tuple[list[str], NDArray[np.float64]]:
    """Return labels (the control first) and their effects, contexts × conditions × genes."""
    symbols = table.index
    doubles = ["+".join(sorted((symbols[targets[a]], symbols[targets[b]]))) for a, b in pairs]
    labels = [_keys.CONTROL, *symbols[targets], *doubles]
    per_context = []
    for gain in gains:
        single = network.effects(targets, gain)
        extra = [network.interaction(targets[a], targets[b], gain) for a, b in pairs]
        double = [single[a] + single[b] + more for (a, b), more in zip(pairs, extra)]
        per_context.append(np.vstack([np.zeros((1, len(table))), single, *double]))
    return labels, np.stack(per_context)


def _plan_cells(labels: list[str], per_condition: int, n_control: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return a row per cell: its condition, a second one in a multiplet, whether its guide was seen, context, batch."""
    sizes = rng.poisson(per_condition, len(labels) - 1).clip(min=2)
    condition = np.repeat(np.arange(len(labels)), [n_control, *sizes])
    n = len(condition)
    second = np.where(rng.random(n) < 0.08, rng.permutation(condition), -1)
    second[second == condition] = -1
    plan = pd.DataFrame({"condition": condition, "second": second, "guided": rng.random(n) >= 0.03})
    plan["context"] = rng.integers(0, 2, n)
    plan["batch"] = rng.integers(0, 3, n)
    return plan.iloc[rng.permutation(n)].reset_index(drop=True)


def _draw_counts(
    plan: pd.DataFrame, effects: NDArray[np.float64], table: pd.DataFrame, rng: np.random.Generator
) -> NDArray[np.float32]:
    n_genes = len(table)
    base = rng.normal(0.2, 1.1, n_genes)
    shift = np.stack([np.zeros(n_genes), rng.normal(0, 0.3, n_genes)])
    dispersion = np.exp(rng.normal(1.2, 0.4, n_genes))
    context = plan["context"].to_numpy()
    change = effects[context, plan["condition"]]
    is_multiplet = (plan["second"] >= 0).to_numpy()
    change[is_multiplet] += effects[context[is_multiplet], plan["second"][is_multiplet]]
    size = rng.lognormal(0, 0.35, (len(plan), 1)) * np.where(is_multiplet, 1.7, 1.0)[:, None]
    mean = size * np.exp(base + shift[context] + change)
    return rng.negative_binomial(dispersion, dispersion / (dispersion + mean)).astype(np.float32)


def _draw_guides(plan: pd.DataFrame, labels: list[str], rng: np.random.Generator) -> pd.DataFrame:
    """Return guide UMIs: a strong mode for the guides of the cell, ambient noise for the rest."""
    genes = sorted({name for label in labels[1:] for name in label.split("+")})
    names = [f"{gene}_g{number + 1}" for gene in genes for number in range(_GUIDES_PER_GENE)]
    names += [f"non-targeting_g{number + 1}" for number in range(_CONTROL_GUIDES)]
    first = {gene: _GUIDES_PER_GENE * number for number, gene in enumerate(genes)}
    umi = rng.poisson(0.03, (len(plan), len(names)))
    for cell, (condition, second, guided) in enumerate(zip(plan["condition"], plan["second"], plan["guided"])):
        for one in (condition, second) if guided else ():
            for guide in _guides_of(labels[one], first, rng) if one >= 0 else ():
                umi[cell, guide] += 4 + rng.poisson(rng.lognormal(2.6, 0.5))
    return pd.DataFrame(umi.astype(np.int32), columns=names)


def _guides_of(label: str, first: dict[str, int], rng: np.random.Generator) -> list[int]:
    if label == _keys.CONTROL:
        return [_GUIDES_PER_GENE * len(first) + int(rng.integers(_CONTROL_GUIDES))]
    return [first[gene] + int(rng.integers(_GUIDES_PER_GENE)) for gene in label.split("+")]


def _obs(plan: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    label = np.array(labels, dtype=object)[plan["condition"]]
    label[plan["second"] >= 0] = "multiplet"
    label[~plan["guided"]] = None
    return pd.DataFrame(
        {
            "condition": pd.Categorical(label),
            "cell_line": pd.Categorical(np.array(["line_A", "line_B"])[plan["context"]]),
            "batch": pd.Categorical([f"batch{number + 1}" for number in plan["batch"]]),
        },
        index=[str(number) for number in range(len(plan))],
    )
