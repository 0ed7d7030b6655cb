"""What a screen holds, cells or effects, and the one way to read either."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from anndata import AnnData

from scperturbmamba._checks import check_choice
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.effect_table import effect_bundle

Response = Literal["expression", "effect"]
EXPRESSION, EFFECT = "expression", "effect"


def read_bundle(
    adata: AnnData,
    *,
    response: str = EXPRESSION,
    split: str,
    context: str | None = None,
    covariates: Sequence[str] = (),
    features: Sequence[str] | None = (),
    with_cells: bool = False,
) -> Bundle:
    """Read cells (``"expression"``) or a table of effects (``"effect"``).

    Raises
    ------
    ValueError
        ``response`` is neither, or asks of a table of effects what only cells have.
    """
    check_choice(response, (EXPRESSION, EFFECT), "response")
    if response == EFFECT:
        if covariates or with_cells:
            what = f"covariates {list(covariates)}" if covariates else "raw counts, which `net={'head': 'nb'}` needs"
            msg = f"a table of effects (`response='effect'`) has no {what}. Take the linear head, without covariates."
            raise ValueError(msg)
        return effect_bundle(adata, split=split, context=context, features=None if features is None else list(features))
    return Bundle.from_adata(
        adata, split=split, context=context, covariates=covariates, features=features, with_cells=with_cells
    )
