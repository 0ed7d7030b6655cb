"""Networks of the inverse task as models: fit labelled cells, score profiles."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from scperturbmamba.engine.inverse.build import Genes, build_inverse
from scperturbmamba.engine.inverse.config import InverseConfig
from scperturbmamba.engine.inverse.fit import Labelled, logits_of, train_inverse
from scperturbmamba.engine.inverse.graph_attention import GeneGraph
from scperturbmamba.engine.task import History
from scperturbmamba.engine.tokens import GeneInputs
from scperturbmamba.models.checkpoint import Checkpoint
from scperturbmamba.models.inverse.base import InverseData, Profiles, Scores
from scperturbmamba.models.inverse.drawn import Drawn, Shares
from scperturbmamba.models.inverse.effects import Effects
from scperturbmamba.models.inverse.gene_graph import gene_features, gene_graph, places
from scperturbmamba.models.inverse.held_profiles import held_profiles
from scperturbmamba.models.inverse.profile_scale import ProfileScale
from scperturbmamba.models.inverse.synthetic import ProfileDraw

_VALIDATED = 1024  # profiles drawn from the validation cells
_GENE_ARRAYS = ("chromosome", "locus", "features", "order", "neighbours", "edges")


@dataclass
class InverseNetwork:
    """A network that gives a logit per candidate, trained on drawn profiles of the training cells.

    Attributes
    ----------
    config
        Which network, and how it is trained.
    random_state
        Seed.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``, for training; scores are made on the CPU.
    """

    config: InverseConfig
    random_state: int = 0
    device: str = "auto"

    def fit(self, data: InverseData, *, callbacks: Sequence[Any] = ()) -> Self:
        """Learn from profiles drawn of training cells; profiles of the validation cells decide when to stop.

        Raises
        ------
        ValueError
            There are no control cells, or no perturbed ones, among the training cells.
        """
        self.n_candidates = len(data.candidates)
        effects = Effects.of(data)
        self.scale = ProfileScale.of(effects)
        self.known = _known_of_genes(data, self.config, self.random_state)
        source = ProfileDraw.of(data, effects)
        self.net = self._build()
        self.history = train_inverse(
            self.net,
            lambda seed: self._labelled(source.draw(self.config.units, self._shares, random_state=seed)),
            self._validation(data),
            self.config,
            positive_weight=self._positive_weight(source),
            device=self.device,
            random_state=self.random_state,
            callbacks=callbacks,
        )
        return self

    def refitted(self, data: InverseData, *, callbacks: Sequence[Any] = ()) -> InverseNetwork:
        """Return a network that learned from all these cells, for as many epochs as the validated training kept.

        What the cells of the validation side tell of the effects is worth more than knowing when to stop exactly. Its
        history is that of the validated training.
        """
        config = self.config.model_copy(update={"epochs": max(1, self.history.best_epoch)})
        again = InverseNetwork(config, random_state=self.random_state, device=self.device)
        again.fit(replace(data, is_val=np.zeros_like(data.is_val)), callbacks=callbacks)
        again.config, again.history = self.config, self.history
        return again

    def scores(self, x: Profiles, n_cells: NDArray[np.int64]) -> Scores:
        """Return a logit (profiles × candidates); a profile is the mean of ``n_cells`` cells."""
        standardised = torch.from_numpy(self.scale.apply(x, n_cells))
        return logits_of(self.net, standardised).double().numpy()

    def state(self) -> Checkpoint:
        """Return what :meth:`from_state` needs: words and numbers as JSON, and arrays."""
        description = {
            "config": self.config.model_dump(),
            "random_state": self.random_state,
            "n_candidates": self.n_candidates,
            "signal": self.scale.signal,
            "history": asdict(self.history),
        }
        arrays = {f"genes.{name}": value for name, value in self.known.items()}
        arrays |= {"scale.centre": self.scale.centre, "scale.spread": self.scale.spread}
        arrays |= {f"net.{name}": value.numpy().copy() for name, value in self._weights().items()}
        return Checkpoint(json.dumps(description), arrays)

    @classmethod
    def from_state(cls, state: Checkpoint) -> Self:
        """Return the model that a state describes."""
        found, arrays = json.loads(state.description), state.arrays
        model = cls(InverseConfig(**found["config"]), random_state=found["random_state"])
        model.n_candidates = found["n_candidates"]
        model.scale = ProfileScale(arrays["scale.centre"], arrays["scale.spread"], found["signal"])
        model.history = History(**found["history"])
        model.known = {name: np.asarray(arrays[f"genes.{name}"]) for name in _GENE_ARRAYS}
        model.net = model._build().eval()
        weights = {name: torch.from_numpy(np.array(arrays[f"net.{name}"])) for name in model._weights()}
        model.net.load_state_dict(weights, strict=False)
        return model

    @property
    def _shares(self) -> Shares:
        return Shares(self.config.doubles, self.config.controls, self.config.cells)

    def _labelled(self, drawn: Drawn) -> Labelled:
        return Labelled(torch.from_numpy(self.scale.apply(drawn.x, drawn.n_cells)), torch.from_numpy(drawn.y))

    def _validation(self, data: InverseData) -> Labelled | None:
        drawn = held_profiles(data, _VALIDATED, self._shares, random_state=self.random_state)
        return None if drawn is None else self._labelled(drawn)

    def _positive_weight(self, source: ProfileDraw) -> torch.Tensor:
        """Return the weight of a 1 per candidate: (share of 0 / share of 1) to the power of ``class_weight``."""
        drawn = source.draw(4 * self.config.units, self._shares, random_state=self.random_state)
        share = drawn.y.mean(0).clip(1 / len(drawn.y), 0.5)
        return torch.from_numpy(((1 - share) / share) ** np.float32(self.config.class_weight))

    def _build(self) -> torch.nn.Module:
        known = {name: torch.from_numpy(np.array(value)) for name, value in self.known.items()}
        inputs = GeneInputs(known["chromosome"], known["locus"], known["features"])
        genes = Genes(inputs, known["order"], GeneGraph(known["neighbours"], known["edges"]))
        with torch.random.fork_rng():
            torch.random.manual_seed(self.random_state)
            return build_inverse(self.config, genes, self.n_candidates)

    def _weights(self) -> dict[str, torch.Tensor]:
        """Return what was learned; what is known of the genes is kept once, beside it."""
        return {name: value.detach().cpu() for name, value in self.net.named_parameters()}


def _known_of_genes(data: InverseData, config: InverseConfig, random_state: int) -> dict[str, NDArray[Any]]:
    """Return what the networks know of the measured genes; a graph only where one is asked for."""
    where = places(data)
    neighbours = np.zeros((len(data.genes), 0), np.int64)
    edges = np.zeros((len(data.genes), 0, 1), np.float32)
    if config.kind == "graph_attention":
        graph = gene_graph(data, config.neighbours, random_state=random_state)
        neighbours, edges = graph.neighbours, graph.weights
    return {
        "chromosome": where.chromosome,
        "locus": where.locus[:, None],
        "features": gene_features(data),
        "order": where.order,
        "neighbours": neighbours,
        "edges": edges,
    }
