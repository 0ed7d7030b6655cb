"""A view becomes an object of its own before anything is written into it."""

from __future__ import annotations

from anndata import AnnData


def own(adata: AnnData) -> None:
    """Turn a view into an object with arrays of its own, in place; the AnnData it was cut from is left alone."""
    if adata.is_view:
        adata._init_as_actual(adata.copy())
