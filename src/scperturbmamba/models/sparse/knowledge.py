"""The knowledge core for tables with gaps: what is known of genes carries known entries to those that are not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.data.kinds import Kinds
from scperturbmamba.models.sparse.core import Core
from scperturbmamba.models.sparse.elsewhere import Elsewhere
from scperturbmamba.models.sparse.labels import Labels
from scperturbmamba.models.sparse.likeness import Likeness
from scperturbmamba.models.sparse.storage import cores_from, cores_to, likeness_from, likeness_to
from scperturbmamba.models.sparse.vectors import blocks_of

Errors = NDArray[np.float32]


@dataclass
class SparseKnowledge:
    """Predict perturbations never seen from a table of effects or 0/1 calls in which most entries may be unknown.

    Level one: neighbours by each source of features and by all of them, and two Gaussian processes over perturbation ×
    readout gene, in which readout genes share what is known by how alike their features and their responses are.
    Level two: a stack of these with weights that are not negative, fitted to perturbations left out of level one, and a
    small network per pair, used only where cross-validation over the training perturbations supports it by a standard
    error. Without features that tell, every perturbation has the mean of each readout gene.

    Attributes
    ----------
    random_state
        Seed of the folds, the factors and the networks.
    shuffled
        Give every gene the features of another, as a null.
    """

    random_state: int = 0
    shuffled: bool = False

    def fit(self, data: Bundle) -> Self:
        """Learn from the training rows in which one thing was done; the validation rows are not needed."""
        self.genes, self.contexts = data.genes, data.contexts
        self.kinds = Kinds.of(data.conditions)
        blocks, elsewhere = blocks_of(data.features), Elsewhere.of(data.features)
        if self.shuffled:
            blocks = [replace(one, vectors=one.vectors.shuffled(self.random_state)) for one in blocks]
            elsewhere = elsewhere and replace(elsewhere, done=elsewhere.done.shuffled(self.random_state))
        self.likeness = Likeness(tuple(blocks), elsewhere)
        tables = [Labels.of(data, context) for context in range(len(data.contexts))]
        self.cores = [Core.fit(one, self.likeness, self.genes, self.random_state) for one in tables]
        return self

    def learn_features(self, tables: Sequence[FeatureTable]) -> None:
        """Add genes described after training, from tables of the same sources; what is known stays as it is."""
        self.likeness = self.likeness.learn(tables)

    def predict(self, conditions: Sequence[Condition], *, context: int = 0) -> NDArray[np.float32]:
        """Return a score of every readout gene (conditions × genes): the higher, the more likely or the more up.

        Calls: log-odds. Effects: on the scale of the table. What was measured of a perturbation is taken as measured.
        Several perturbations at once add up, calls on the scale of log-odds.
        """
        return self.scores(conditions, context=context)["chosen"]

    def scores(self, conditions: Sequence[Condition], *, context: int = 0) -> dict[str, NDArray[np.float32]]:
        """Return what :meth:`predict` does, as ``"chosen"``, beside the ``"stack"`` without the pair network."""
        core = self.cores[context]
        parts = sorted({part for one in conditions for part in one.parts})
        place = {part: row for row, part in enumerate(parts)}
        start = core.base.score() if core.base.are_calls else np.zeros(len(self.genes), np.float32)
        found = {}
        for kind, alone in core.scores(parts, self.likeness, self.genes).items():
            sums = [sum((alone[place[part]] - start for part in one.parts), start) for one in conditions]
            found[kind] = np.array(sums, np.float32).reshape(len(conditions), len(self.genes))
        return found

    def errors(self, conditions: Sequence[Condition], *, context: int = 0) -> tuple[Errors, Errors]:
        """Return standard deviations (conditions × genes), and how many of them hold each level (conditions × levels).

        Variances of several perturbations add up; nothing is known of calls, and of entries that were measured.
        """
        core = self.cores[context]
        parts = sorted({part for one in conditions for part in one.parts})
        place = {part: row for row, part in enumerate(parts)}
        alone, held = core.errors(parts, self.likeness)
        sd = np.zeros((len(conditions), len(self.genes)), np.float32)
        multiples = np.full((len(conditions), held.shape[1]), np.nan, np.float32)
        for row, condition in enumerate(conditions):
            if condition.parts:
                some = [place[part] for part in condition.parts]
                sd[row], multiples[row] = np.sqrt(np.square(alone[some]).sum(0)), held[some].mean(0)
        return sd, multiples

    def report(self) -> list[str]:
        """Return in words, per context, what is used and what it is expected to gain."""
        return [core.words() for core in self.cores]

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return all that was learned, as words for JSON and arrays."""
        features, feature_arrays = likeness_to(self.likeness)
        cores, core_arrays = cores_to(self.cores)
        words = {
            "random_state": self.random_state,
            "shuffled": self.shuffled,
            "genes": list(self.genes),
            "contexts": list(self.contexts),
            "kinds": [self.kinds.usual, [list(one) for one in self.kinds.own], list(self.kinds.several)],
            "features": features,
            "cores": cores,
        }
        return words, {**feature_arrays, **core_arrays}

    @classmethod
    def from_state(cls, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Return the model of which this is the state; it predicts the same numbers."""
        model = cls(words["random_state"], words["shuffled"])
        model.genes, model.contexts = tuple(words["genes"]), tuple(words["contexts"])
        usual, own, several = words["kinds"]
        model.kinds = Kinds(usual, tuple((name, kind) for name, kind in own), tuple(several))
        model.likeness = likeness_from(words["features"], arrays)
        model.cores = cores_from(words["cores"], arrays)
        return model
