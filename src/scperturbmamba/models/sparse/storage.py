"""What a sparse knowledge core learned, as words for JSON and plain arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import starmap
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scperturbmamba.data.conditions import Part
from scperturbmamba.engine.pair_net import PairNet
from scperturbmamba.models.gene_vectors import GeneVectors
from scperturbmamba.models.sparse.axes import Axes
from scperturbmamba.models.sparse.core import Core, Learned
from scperturbmamba.models.sparse.elsewhere import Elsewhere
from scperturbmamba.models.sparse.evidence import Evidence
from scperturbmamba.models.sparse.gate import Gain
from scperturbmamba.models.sparse.labels import Base, Labels
from scperturbmamba.models.sparse.likeness import Likeness
from scperturbmamba.models.sparse.pairs import Moments
from scperturbmamba.models.sparse.spread import Spread
from scperturbmamba.models.sparse.vectors import Block

Arrays = Mapping[str, NDArray[Any]]

_BLOCK_ARRAYS = ("centre", "scale", "axes", "middle")
_LABEL_ARRAYS = ("row", "column", "value", "weight")
_SPREAD = ("sd", "multiples")


def likeness_to(likeness: Likeness) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return words and arrays of all blocks, and of another screen."""
    words, arrays = [], dict[str, NDArray[Any]]()
    for number, one in enumerate(likeness.blocks):
        columns = list(one.columns)
        words.append({"source": one.source, "name": one.name, "columns": columns, "genes": list(one.vectors.place)})
        arrays |= {f"block{number}.{name}": getattr(one, name) for name in _BLOCK_ARRAYS}
        arrays[f"block{number}.vectors"] = _values(one.vectors)
    other = likeness.elsewhere
    if other is None:
        return {"blocks": words}, arrays
    arrays |= {"elsewhere.done": _values(other.done), "elsewhere.responds": _values(other.responds)}
    return {
        "blocks": words,
        "elsewhere": {"done": list(other.done.place), "responds": list(other.responds.place)},
    }, arrays


def likeness_from(words: Mapping[str, Any], arrays: Arrays) -> Likeness:
    """Return the likeness of these words and arrays."""
    blocks, elsewhere = [], None
    for number, one in enumerate(words["blocks"]):
        kept = {name: np.asarray(arrays[f"block{number}.{name}"]) for name in _BLOCK_ARRAYS}
        vectors = _vectors(one["genes"], arrays[f"block{number}.vectors"])
        blocks.append(Block(one["source"], one["name"], tuple(one["columns"]), **kept, vectors=vectors))
    if "elsewhere" in words:
        names = words["elsewhere"]
        elsewhere = Elsewhere(*(_vectors(names[one], arrays[f"elsewhere.{one}"]) for one in ("done", "responds")))
    return Likeness(tuple(blocks), elsewhere)


def _values(vectors: GeneVectors) -> NDArray[np.float32]:
    """Return the vectors in the order of their names."""
    return vectors.take(list(vectors.place))[0].astype(np.float32)


def _vectors(names: Sequence[str], values: NDArray[Any]) -> GeneVectors:
    return GeneVectors({name: row for row, name in enumerate(names)}, np.asarray(values, np.float64))


def cores_to(cores: Sequence[Core]) -> tuple[list[dict[str, Any]], dict[str, NDArray[Any]]]:
    """Return words per context, and the arrays of all."""
    words, arrays = [], dict[str, NDArray[Any]]()
    for number, core in enumerate(cores):
        described = {} if core.learned is None else {"known": list(core.learned.evidence.names)}
        parts = [[part.name, part.kind, part.dose] for part in core.labels.parts]
        n_nets = 0 if core.learned is None else len(core.learned.nets)
        gains = [asdict(one) for one in core.gains]
        words.append({"parts": parts, "n_genes": core.labels.n_genes, "gains": gains, "n_nets": n_nets, **described})
        found = {f"labels.{name}": getattr(core.labels, name) for name in _LABEL_ARRAYS}
        found |= {} if core.learned is None else _learned_to(core.learned)
        if core.spreads:
            found |= {f"spread.{name}": np.stack([getattr(one, name) for one in core.spreads]) for name in _SPREAD}
        arrays |= {f"core{number}.{name}": value for name, value in found.items()}
    return words, arrays


def cores_from(words: Sequence[Mapping[str, Any]], arrays: Arrays) -> list[Core]:
    """Return the cores of these words and arrays."""
    cores = []
    for number, one in enumerate(words):
        prefix = f"core{number}."
        own = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
        parts = tuple(Part(*part) for part in one["parts"])
        entries = {name: np.asarray(own[f"labels.{name}"]) for name in _LABEL_ARRAYS}
        labels = Labels(parts, **entries, n_genes=one["n_genes"])
        learned = _learned_from(one, labels, own) if "known" in one else None
        spreads = tuple(starmap(Spread, zip(*(own.get(f"spread.{name}", ()) for name in _SPREAD))))
        gains = tuple(Gain(**gain) for gain in one["gains"])
        cores.append(Core(labels, Base.of(labels), learned, gains, spreads))
    return cores


def _learned_to(learned: Learned) -> dict[str, NDArray[Any]]:
    evidence = learned.evidence
    found = {
        "genes": evidence.axes.genes,
        "directions": evidence.axes.directions,
        "responses": evidence.responses,
        "described": _entries(evidence.described.own, evidence.neighbours.weight),
        "responding": _entries(evidence.responding.own, evidence.neighbours.weight),
        "doubts": evidence.doubts,
        "moments.mean": learned.moments.mean,
        "moments.spread": learned.moments.spread,
        "weights": learned.weights,
    }
    for number, net in enumerate(learned.nets):
        found |= {f"net{number}.{name}": value.numpy() for name, value in net.state_dict().items()}
    return found


def _learned_from(words: Mapping[str, Any], labels: Labels, arrays: Arrays) -> Learned:
    known = set(words["known"])
    described = labels.take(np.flatnonzero([part.name in known for part in labels.parts]))
    by_features, by_responses = (described.matrix(np.asarray(arrays[name])) for name in ("described", "responding"))
    axes = Axes(np.asarray(arrays["genes"]), np.asarray(arrays["directions"]))
    moments = Moments(np.asarray(arrays["moments.mean"]), np.asarray(arrays["moments.spread"]))
    nets = tuple(_net(arrays, f"net{number}.", len(moments.mean)) for number in range(words["n_nets"]))
    responses, doubts = np.asarray(arrays["responses"]), np.asarray(arrays["doubts"])
    evidence = Evidence.of(described, axes, responses, by_features, by_responses, doubts)
    return Learned(evidence, moments, np.asarray(arrays["weights"]), nets)


def _entries(matrix: Any, weight: Any) -> NDArray[np.float32]:
    """Return the numbers of a matrix at the known entries, in their order: by row, then by gene."""
    row, column = weight.nonzero()
    return np.asarray(matrix[row, column], np.float32).ravel()


def _net(arrays: Arrays, prefix: str, n_numbers: int) -> PairNet:
    net = PairNet(n_numbers)
    weights = {name.removeprefix(prefix): value for name, value in arrays.items() if name.startswith(prefix)}
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
    return net.eval()
