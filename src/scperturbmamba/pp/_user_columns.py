"""Set a user's column aside where one of our slots bears the same name."""

from __future__ import annotations

from collections.abc import Sequence

from anndata import AnnData


def keep_user_columns(adata: AnnData, slots: Sequence[str], *, written_by: str) -> None:
    """Copy columns of ``obs`` to ``"<name>_original"``, unless ``uns[written_by]`` says that they are ours."""
    if written_by in adata.uns:
        return
    for slot in slots:
        if slot in adata.obs:
            adata.obs[f"{slot}_original"] = adata.obs[slot]
