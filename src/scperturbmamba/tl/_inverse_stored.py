"""A trained model of the inverse task, with all that is needed to use it, in ``uns`` and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from scperturbmamba._checks import check_key
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.base import InverseModel, Scores, Sets
from scperturbmamba.models.inverse.posterior import Posterior
from scperturbmamba.tl._inverse_models import restore_model

SCHEMA = 1
_MODEL, _POSTERIOR, _CENTRE = "model.", "posterior.", "centre"


@dataclass(frozen=True)
class Inverse:
    """A trained model, its calibration, and how expression is brought into its form.

    Attributes
    ----------
    name
        Name of the model.
    model, posterior
        What was trained, and what makes probabilities of its scores.
    genes, hidden
        Names of the genes that it sees, and of those whose expression is taken out for everyone.
    candidates
        Parts that may be named, in the order of the scores.
    batch
        Column whose levels are compared with control cells of their own, None without one.
    centre
        (genes,): mean expression of the training control cells, where those of every batch are moved to.
    """

    name: str
    model: InverseModel
    posterior: Posterior
    genes: tuple[str, ...]
    hidden: tuple[str, ...]
    candidates: tuple[Part, ...]
    batch: str | None
    centre: NDArray[np.float32]

    def label(self, one: tuple[int, ...]) -> str:
        """Return the label of a set of candidates."""
        return Condition(tuple(self.candidates[place] for place in one)).label

    def probabilities(self, scores: Scores, sets: Sets, n_cells: NDArray[np.int64]) -> Scores:
        """Return the probability (profiles × sets) of each set."""
        return self.posterior.of_sets(scores, sets, n_cells)


def pack_inverse(trained: Inverse) -> dict[str, Any]:
    """Return a description in JSON, and arrays."""
    state = trained.model.state()
    description = {
        "schema": SCHEMA,
        "name": trained.name,
        "genes": list(trained.genes),
        "hidden": list(trained.hidden),
        "candidates": [part.label for part in trained.candidates],
        "batch": trained.batch,
        "model": json.loads(state.description),
    }
    kept = {_MODEL + name: np.asarray(value) for name, value in state.arrays.items()}
    kept |= {_POSTERIOR + name: value for name, value in trained.posterior.state().items()}
    return {"description": json.dumps(description), "arrays": {**kept, _CENTRE: trained.centre}}


def unpack_inverse(stored: Mapping[str, Any]) -> Inverse:
    """Return what was packed.

    Raises
    ------
    ValueError
        It was saved by a newer version.
    """
    found = json.loads(str(stored["description"]))
    if found.get("schema", 0) > SCHEMA:
        msg = f"the model was saved with schema {found['schema']}; this version reads up to {SCHEMA}. Update it."
        raise ValueError(msg)
    arrays = {name: np.asarray(value) for name, value in stored["arrays"].items()}
    return Inverse(
        name=found["name"],
        model=restore_model(found["name"], Checkpoint(json.dumps(found["model"]), _starting(arrays, _MODEL))),
        posterior=Posterior.from_state(_starting(arrays, _POSTERIOR)),
        genes=tuple(found["genes"]),
        hidden=tuple(found["hidden"]),
        candidates=tuple(Condition.parse(label).parts[0] for label in found["candidates"]),
        batch=found["batch"],
        centre=arrays[_CENTRE],
    )


def find_inverse(adata: AnnData, inverse: AnnData | None, key: str) -> Inverse:
    """Return the trained model in ``uns[key]`` of ``adata``, or of the AnnData that carries it."""
    carrier = adata if inverse is None else inverse
    check_key(carrier, "uns", key, made_by="spm.tl.train_inverse")
    return unpack_inverse(carrier.uns[key]["checkpoint"])


def _starting(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    return {name.removeprefix(prefix): one for name, one in arrays.items() if name.startswith(prefix)}
