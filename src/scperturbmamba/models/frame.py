"""What every trained predictor knows of its screen: genes, conditions, contexts, controls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.kinds import Kinds
from scperturbmamba.models.counts import CountModel
from scperturbmamba.models.encoding import Encoder


@dataclass(frozen=True)
class Frame:
    """What stands around a predictor.

    Attributes
    ----------
    encoder
        Names and features of genes, and how conditions become arrays.
    kinds
        Which kind of perturbation goes with which name.
    seen
        Cells per (label, context) of the training conditions.
    contexts
        Names of the contexts.
    control
        (contexts × genes): mean of the training control cells, scale of X.
    covariate_names, control_covariates
        Technical covariates, and their average over the control cells.
    count_model
        Rates and dispersions of the control cells, for the ``nb`` head.
    """

    encoder: Encoder
    kinds: Kinds
    seen: dict[tuple[str, str], int]
    contexts: tuple[str, ...]
    control: NDArray[np.float32]
    covariate_names: tuple[str, ...]
    control_covariates: NDArray[np.float32]
    count_model: CountModel | None

    @classmethod
    def of(cls, data: Bundle, *, order: str = "genome") -> Self:
        """Read the training rows and the controls; genes stand along the ``"genome"`` or at ``"random"``."""
        kinds = Kinds.of(data.conditions)
        covariates: Covariates = data.covariates
        return cls(
            encoder=Encoder.fit(data, order=order),
            kinds=kinds,
            seen={
                (kinds.label(data.conditions[row]), data.contexts[data.context[row]]): int(data.n_cells[row])
                for row in data.training()
            },
            contexts=data.contexts,
            control=data.control,
            covariate_names=covariates.names,
            control_covariates=covariates.control,
            count_model=CountModel.fit(data.cells, len(data.contexts)) if data.cells is not None else None,
        )

    def with_context(self, name: str, control: NDArray[np.float32]) -> Frame:
        """Return the frame with one more context, of which the control (genes,) is known."""
        return replace(self, contexts=(*self.contexts, name), control=np.vstack([self.control, control[None]]))

    def with_encoder(self, encoder: Encoder) -> Frame:
        """Return the frame with another encoder."""
        return replace(self, encoder=encoder)
