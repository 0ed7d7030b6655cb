"""What a network adds to the knowledge core, for perturbed genes that were never seen: learned, judged and gated."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.kernels import Engine
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.gate import Gate, Rows
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.models.pair_features import pair_features
from scperturbmamba.models.residual_inputs import single_rows, told_of
from scperturbmamba.models.stored_network import network_from, network_state

FEWEST = 24  # training genes seen alone below which no network is trained
_INTERRUPTED = "interrupted"
_STEPS = 300  # at most so many steps, however many conditions
_MANY_GENES, _PATCH = 1500, 8
_RANK = 50  # directions that a gate judges one by one; all that lies beside them is one more

Callbacks = Callable[[str], Sequence[Any]]


@dataclass
class Residual:
    """Networks trained on what the core leaves over of genes that it had not seen, and a gate.

    Every training row is what the core says of a gene without it; the gate compares, on folds of genes, the network of
    the other folds with what the core of the other folds leaves over. Combinations are sums over their new parts.

    Attributes
    ----------
    net, training
        How the networks are built and trained.
    random_state
        Seed of the first; the others follow.
    device, engine
        Where they run, and what scans.
    networks
        Trained on all folds; the gate was set before.
    interrupted
        Whether the user ended the training.
    """

    net: NetConfig
    training: TrainConfig
    random_state: int = 0
    device: str = "auto"
    engine: Engine = "auto"
    networks: list[BiMamba] = field(default_factory=list)
    interrupted: bool = False

    def fit(self, data: Bundle, core: Knowledge, frame: Frame, *, callbacks: Callbacks = lambda _: ()) -> Self:
        """Train on the genes that were perturbed alone; with fewer than 24 of them there is no network."""
        self.genes, self.frame, self.n_contexts = data.genes, frame, len(frame.contexts)
        rows = single_rows(data)
        train = rows[~data.is_val[rows]]
        self.scale = float(data.delta[train].std()) if len(train) else 1.0
        self.directions = np.zeros((0, len(data.genes)))
        self.gate = Gate.shut(1)
        self.judged: dict[tuple[Part, int], Rows] = {}
        if len(train) < FEWEST:
            return self
        singles = data.take(rows)
        heard = singles.against(core.control)
        told = told_of(heard, core, self.scale)
        names = [f"network {number + 1}" for number in range(self.training.seeds)]
        self.interrupted = not self._judge(singles, callbacks)
        for number, name in enumerate(names):
            if self.interrupted:
                break
            network = self._network(name, self.random_state + number, len(train))
            self.networks.append(network.fit(heard, frame=self.frame, callbacks=callbacks(name), told=told))
            self.interrupted = network.history.stopped == _INTERRUPTED
        return self

    def say(self, parts: Sequence[Part], core: Knowledge, context: int) -> tuple[Rows, Rows]:
        """Return the gated residual of parts never seen alone, and its spread over the networks (parts × genes)."""
        nothing = np.zeros((len(parts), len(self.genes)))
        if not parts or not self.networks or not self.gate.is_open:
            return nothing, nothing
        said = np.stack([self.gated(self._effects(one, parts, core, context)) for one in self.networks])
        return said.mean(0), said.std(0, ddof=1) if len(said) > 1 else nothing

    def foreseen(self, parts: Sequence[Part], context: int) -> Rows:
        """Return the gated residual of training parts by the networks of folds without them (parts × genes)."""
        nothing = np.zeros(len(self.genes))
        return self.gated(np.array([self.judged.get((part, context), nothing) for part in parts]))

    def log_dispersion(self, conditions: Sequence[Condition], core: Knowledge, context: int) -> Rows:
        """Return the log dispersions of the counts (conditions × genes), averaged over the networks."""
        parts = [one.parts[0] for one in conditions]
        base = core.predict(conditions, context=context)
        pairs = pair_features(core, parts, base - core.means(conditions, context), self.genes, context, self.scale)
        return np.mean([one.shifts(conditions, context, pairs)[1] for one in self.networks], axis=0)

    def gated(self, residual: NDArray[np.floating]) -> Rows:
        """Open the directions of a residual (rows × genes) as far as each is believed."""
        inside = residual @ self.directions.T
        beside = residual - inside @ self.directions
        opening = self.gate.opening
        return np.asarray((opening[:-1] * inside) @ self.directions + opening[-1] * beside, np.float64)

    def take_frame(self, frame: Frame) -> None:
        """Take in a frame that knows more genes."""
        self.frame = frame
        for network in self.networks:
            network.frame = frame

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return words that JSON can hold, and arrays, from which it can be made again."""
        stored = [network_state(one) for one in self.networks]
        words = {
            "net": self.net.model_dump(),
            "train": self.training.model_dump(),
            "scale": self.scale,
            "interrupted": self.interrupted,
            "gate": self.gate.state(),
            "networks": [one for one, _ in stored],
        }
        arrays = {"directions": self.directions}
        for number, (_, weights) in enumerate(stored):
            arrays |= {f"{number}.{name}": value for name, value in weights.items()}
        return words, arrays

    @classmethod
    def from_state(cls, frame: Frame, words: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """Make it again."""
        found = cls(NetConfig(**words["net"]), TrainConfig(**words["train"]), interrupted=words["interrupted"])
        found.genes, found.frame, found.scale = frame.encoder.genes, frame, words["scale"]
        found.n_contexts = len(frame.contexts)
        found.directions, found.gate, found.judged = arrays["directions"], Gate.from_state(words["gate"]), {}
        for number, told in enumerate(words["networks"]):
            start = f"{number}."
            weights = {name.removeprefix(start): one for name, one in arrays.items() if name.startswith(start)}
            found.networks.append(network_from(frame, told, weights))
        return found

    def words(self) -> str:
        """Return what the networks add, whether or not it is used."""
        name = {"mamba2": "BiMamba", "lstm": "LSTM", "mlp": "per-token MLP"}[self.net.mixer]
        if not self.networks and self.interrupted:
            return f"the {name} residual is off: training was interrupted before it could be judged"
        if not self.networks:
            return f"no network was trained: it takes {FEWEST} training genes that were perturbed alone"
        told = f"gains {self.gate.words()} of what the core leaves over (ungated {self.gate.score:+.1%})"
        name += f" ({self.net.patch} genes to a token)" if self.net.patch > 1 else ""
        return f"the {name} residual is {'on' if self.gate.is_open else 'off'}: on genes left out it {told}"

    def _judge(self, singles: Bundle, callbacks: Callbacks) -> bool:
        """Fit core and network without each fold of genes, set the gate by what they say of it, and tell if that ended.

        After an interrupt the gate stays shut: nothing is known of the networks.
        """
        train = np.flatnonzero(~singles.is_val)
        names = sorted({singles.conditions[row].parts[0].name for row in train})
        order = np.random.default_rng(self.random_state)
        fold_of = np.empty(len(names), np.int64)
        for number, fold in enumerate(np.array_split(order.permutation(len(names)), self.training.folds)):
            fold_of[fold] = number
        fold = fold_of[[names.index(singles.conditions[row].parts[0].name) for row in train]]
        said, left = np.zeros((2, len(train), len(self.genes)))
        for number in range(self.training.folds):
            out = train[fold == number]
            rest = np.setdiff1d(np.arange(len(singles.conditions)), out)
            core = Knowledge(self.random_state).fit(singles.take(rest))
            heard = singles.against(core.control)
            some = heard.take(rest)
            name = f"fold {number + 1}"
            network = self._network(name, self.random_state, len(train) - len(out))
            network.fit(some, frame=self.frame, callbacks=callbacks(name), told=told_of(some, core, self.scale))
            for context in np.unique(singles.context[out]):
                own = np.flatnonzero((fold == number) & (singles.context[train] == context))
                conditions = [singles.conditions[row] for row in train[own]]
                left[own] = heard.delta[train[own]] - core.predict(conditions, context=int(context))
                said[own] = self._effects(network, [one.parts[0] for one in conditions], core, int(context))
            if network.history.stopped == _INTERRUPTED:
                return False
        known = singles.known[train]
        self.directions = np.linalg.svd(left * known, full_matrices=False)[2][:_RANK]
        rows = zip((singles.conditions[row].parts[0] for row in train), singles.context[train], said)
        self.judged = {(part, int(context)): one for part, context, one in rows}
        self.gate = self._gate(
            said * known, left * known, [np.flatnonzero(fold == n) for n in range(self.training.folds)]
        )
        return True

    def _gate(self, said: Rows, left: Rows, folds: Sequence[NDArray[np.int64]]) -> Gate:
        both = []
        for values in (said, left):
            inside = values @ self.directions.T
            both.append(np.concatenate([inside, values - inside @ self.directions], axis=1))
        widths = [1] * len(self.directions) + [left.shape[1]]
        trust = 1 / (np.square(left).sum(1) + np.square(left).sum(1).mean())
        return Gate.fit(both[0], both[1], folds, trust, widths=widths)

    def _network(self, name: str, seed: int, n_rows: int) -> BiMamba:
        """Return an untrained network that knows no gene by heart, and stops after some hundred steps."""
        training = short(self.training, n_rows)
        if training.folder is not None:
            training = training.model_copy(update={"folder": f"{training.folder}/{name.replace(' ', '-')}"})
        return BiMamba(self.net, training, random_state=seed, device=self.device, engine=self.engine)

    def _effects(self, network: BiMamba, parts: Sequence[Part], core: Knowledge, context: int) -> Rows:
        """Return the residual of one network on the scale of X (parts × genes)."""
        conditions = [Condition((part,)) for part in parts]
        base = core.predict(conditions, context=context)
        pairs = pair_features(core, parts, base - core.means(conditions, context), self.genes, context, self.scale)
        shift, log_r = network.shifts(conditions, context, pairs)
        counts = self.frame.count_model
        if counts is None:
            return shift.astype(np.float64)
        start = counts.to_shift(base, np.full(len(base), context))
        ends = [counts.deltas(one, log_r, context) for one in (start + shift, start)]
        return np.asarray(ends[0] - ends[1], np.float64)


def residual_config(net: NetConfig, n_genes: int) -> NetConfig:
    """Return the network that learns what is left over: small unless asked for, and it knows no perturbed gene by name.

    Above 1,500 genes eight neighbours share a token, unless another ``patch`` is asked for.
    """
    usual = {"width": 32, "head_width": 16, "layers": 1, "patch": _PATCH if n_genes > _MANY_GENES else 1}
    chosen = {name: value for name, value in usual.items() if name not in net.model_fields_set}
    return NetConfig(**{**net.model_dump(), **chosen, "memory": 0, "identity_dropout": 1.0})


def short(training: TrainConfig, n_rows: int) -> TrainConfig:
    """Return a training of six hundred steps at most, validated ten times or more."""
    epochs = min(training.epochs, math.ceil(_STEPS / math.ceil(n_rows / training.batch_conditions)))
    every = max(1, min(training.every_n_epochs, epochs // 10))
    return training.model_copy(update={"epochs": epochs, "every_n_epochs": every})
