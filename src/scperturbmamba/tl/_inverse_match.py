"""Find the perturbations whose effect looks like a signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba import _keys
from scperturbmamba._checks import check_choice, check_whole
from scperturbmamba.features.names import resolve_genes
from scperturbmamba.metrics import cosine
from scperturbmamba.models.inverse.effects import EffectModel
from scperturbmamba.models.inverse.pairs import MOST_PARTS, sets_of
from scperturbmamba.tl._inverse_library import with_library
from scperturbmamba.tl._inverse_stored import find_inverse

Signature: TypeAlias = Mapping[str, Any] | pd.Series | pd.DataFrame
_CHANGES = ("logfoldchanges", "logfoldchange", "log2foldchange", "logfc", "log2fc", "lfc", "avg_log2fc", "delta")
_NAMES = ("names", "gene", "genes", "symbol", "gene_name")
_FEWEST = 3  # genes of the signature that the model must know


def match_signature(
    adata: AnnData,
    signature: Signature,
    *,
    max_parts: int = 1,
    max_candidates: int = 50,
    library: AnnData | Sequence[str] | None = None,
    n_permutations: int = 1000,
    random_state: int = 0,
    key: str = _keys.INVERSE,
) -> pd.DataFrame:
    """Rank perturbations by how much their effect looks like a signature, such as that of a disease.

    The first rows act like the signature: one of them may be its cause. The last act against it.

    Parameters
    ----------
    adata
        The screen that carries a model that compares effects in ``uns[key]``; it is not changed.
    signature
        ``{"up": [...], "down": [...]}``, or changes per gene: a mapping, a Series, or a table indexed by genes (or with
        a column ``names``) with one column of log fold changes. Aliases and Ensembl ids in ``var`` are resolved.
    max_parts
        1, or 2 to add pairs of the ``max_candidates`` singles most alike, whose effects are added.
    max_candidates
        See above.
    library
        More candidates, as in :func:`rank_perturbations`.
    n_permutations
        Times the genes of the signature are permuted for the p value.
    random_state
        Seed of the permutations.
    key
        Name of the slot with the model.

    Returns
    -------
    DataFrame
        ``perturbation``, ``n_parts``, ``similarity`` (cosine over the genes that the model sees, from -1 to 1),
        ``p_value`` (share of permuted signatures that are as similar or opposite; it takes genes for independent, which
        they are not, so it is too small), ``n_genes`` (genes of the signature that the model sees); the most alike
        first.

    Raises
    ------
    KeyError
        There is no trained model.
    ValueError
        Fewer than three genes of the signature are known.
    TypeError
        The signature cannot be read, or the model does not compare effects.

    References
    ----------
    Lamb et al. (2006), The Connectivity Map. Science.

    Examples
    --------
    >>> import scperturbmamba as spm
    >>> adata = spm.datasets.toy(n_genes=40, n_singles=8, n_doubles=1, cells_per_condition=30)
    >>> spm.pp.perturbation_labels(adata, "condition")
    >>> spm.pp.normalize(adata)
    >>> spm.tl.train_inverse(adata, key=None)
    >>> effect = spm.pp.pseudobulk(adata)["IRF8"].to_df(layer="delta").iloc[0]
    >>> spm.tl.match_signature(adata, effect)["perturbation"].iloc[0]
    'IRF8'
    """
    check_choice(max_parts, (1, MOST_PARTS), "max_parts")
    check_whole(max_candidates, "max_candidates")
    check_whole(n_permutations, "n_permutations")
    trained = with_library(find_inverse(adata, None, key), library, adata)
    if not isinstance(trained.model, EffectModel):
        msg = (
            f"a signature needs a model that compares effects; found {trained.name!r}. Train it: "
            '`spm.tl.train_inverse(adata, model="dictionary")`.'
        )
        raise TypeError(msg)
    wanted = _on_genes(read_signature(signature), trained.genes, adata.var)

    effects = trained.model.effects
    single = sets_of(range(len(effects.effect)), fewest=1)
    similarity = _similarity(effects.effect, wanted)
    best = [int(one) for one in np.argsort(-similarity, kind="stable")[:max_candidates]]
    sets = [*single, *(sets_of(best, fewest=2, most=2) if max_parts == MOST_PARTS else [])]
    rows = effects.of_sets(sets)[0]
    found = _similarity(rows, wanted)
    p_value = _permuted(rows, wanted, found, n_permutations, np.random.default_rng(random_state))

    table = pd.DataFrame({_keys.PERTURBATION: [trained.label(one) for one in sets]})
    table["n_parts"] = [len(one) for one in sets]
    table["similarity"], table["p_value"], table["n_genes"] = found, p_value, int((wanted != 0).sum())
    return table.sort_values("similarity", ascending=False, kind="stable").reset_index(drop=True)


def read_signature(signature: Signature) -> pd.Series:
    """Return the change per gene: 1 and -1 for lists of genes.

    Raises
    ------
    TypeError
        It is neither lists, nor a change per gene, nor a table with such a column.
    """
    if isinstance(signature, pd.DataFrame):
        return _column(signature)
    if isinstance(signature, pd.Series):
        return pd.to_numeric(signature)
    if isinstance(signature, Mapping) and set(signature) & {"up", "down"} and set(signature) <= {"up", "down"}:
        return pd.Series(
            {**_signs(signature.get("up", ()), 1.0), **_signs(signature.get("down", ()), -1.0)}, dtype=np.float64
        )
    if isinstance(signature, Mapping) and all(isinstance(one, (int, float, np.number)) for one in signature.values()):
        return pd.Series(dict(signature), dtype=np.float64)
    msg = (
        'expected {"up": [...], "down": [...]}, a change per gene, or a table with a column of log fold changes; '
        f"found {type(signature).__name__}."
    )
    raise TypeError(msg)


def _signs(genes: Iterable[str], sign: float) -> dict[str, float]:
    return {str(gene): sign for gene in genes}


def _column(table: pd.DataFrame) -> pd.Series:
    by_word = {str(name).lower().replace(" ", ""): name for name in table.columns}
    names = next((by_word[word] for word in _NAMES if word in by_word), None)
    genes = table.index if names is None else table[names]
    numeric = list(table.select_dtypes("number").columns)
    change = next((by_word[word] for word in _CHANGES if word in by_word), numeric[0] if len(numeric) == 1 else None)
    if change is None:
        msg = f"expected one column of log fold changes, such as 'logfoldchanges'; found columns {list(table.columns)}."
        raise TypeError(msg)
    return pd.Series(pd.to_numeric(table[change]).to_numpy(), index=pd.Index(genes.astype(str)))


def _on_genes(signature: pd.Series, genes: Sequence[str], var: pd.DataFrame) -> NDArray[np.float64]:
    """Return the change of each gene of the model, 0 where the signature says nothing."""
    known = var[~var.index.duplicated()].reindex(list(genes))
    resolved, _ = resolve_genes(list(signature.index.astype(str)), known)
    named = pd.Series(signature.to_numpy(np.float64), index=pd.Index(resolved.to_numpy(), dtype=object))
    named = named[named.index.notna() & np.isfinite(named.to_numpy())]
    wanted = named.groupby(level=0).mean().reindex(list(genes)).fillna(0).to_numpy(np.float64)
    if (wanted != 0).sum() < _FEWEST:
        msg = (
            f"expected at least {_FEWEST} genes of the signature among the {len(genes)} that the model sees; found "
            f"{int((wanted != 0).sum())} of {len(signature)}. Perturbed genes are hidden unless it was trained with "
            "`mask=None`."
        )
        raise ValueError(msg)
    return wanted


def _similarity(rows: NDArray[np.float64], wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cosine(rows, np.broadcast_to(wanted, rows.shape)), dtype=np.float64)


def _permuted(
    rows: NDArray[np.float64],
    wanted: NDArray[np.float64],
    found: NDArray[np.float64],
    n: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return the share of permuted signatures (and the given one) that are at least as similar or opposite."""
    length = np.sqrt(np.square(rows).sum(1))
    unit = np.divide(rows, length[:, None], out=np.zeros_like(rows), where=length[:, None] > 0)
    drawn = np.stack([rng.permutation(wanted) for _ in range(n)], axis=1) / np.sqrt(np.square(wanted).sum())
    as_far = np.abs(unit @ drawn) >= np.abs(found)[:, None] - 1e-12
    return np.asarray((1 + as_far.sum(1)) / (n + 1), dtype=np.float64)
