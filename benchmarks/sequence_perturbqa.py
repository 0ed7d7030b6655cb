"""What a sequence adds on PerturbQA: a token per readout gene, over the stack, in folds of training perturbations.

``python benchmarks/sequence_perturbqa.py [--quick] [--json FILE] [--page FILE]``. Level one and the stack of
``models/sparse`` are fitted without each fold of perturbations; a network then reads, for one perturbation, the same
numbers of every readout gene as the pair network does, and corrects the stack. It starts at no correction, learns from
the other folds and is judged on the one left out. All perturbations have the same tokens, those of the genes with most
entries: which entries are in the table would tell how strong a perturbation is. The test side is not touched.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _measure import TOLD, Row, machine, options, report
from _variants import varied
from accuracy import DATA, FOLDER, KNOWLEDGE
from numpy.typing import NDArray
from perturbqa import OTHER, described, read, sources
from torch.nn.functional import binary_cross_entropy_with_logits

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.effect_table import effect_bundle
from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.lightning_run import adamw
from scperturbmamba.metrics._auc import areas_per_group
from scperturbmamba.models.frame import Frame
from scperturbmamba.models.neural import build_predictor
from scperturbmamba.models.residual import residual_config
from scperturbmamba.models.sparse.axes import Axes
from scperturbmamba.models.sparse.evidence import Evidence
from scperturbmamba.models.sparse.gate import Gain
from scperturbmamba.models.sparse.labels import Labels
from scperturbmamba.models.sparse.likeness import Likeness
from scperturbmamba.models.sparse.pairs import Moments, pair_numbers
from scperturbmamba.models.sparse.vectors import blocks_of
from scperturbmamba.models.sparse.weigh import weigh

NETWORKS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "BiMamba": ({"mixer": "mamba2"}, set()),
    "no sequence (MLP)": ({"mixer": "mlp"}, set()),
    "random order": ({"mixer": "mamba2", "order": "random"}, set()),
    "LSTM": ({"mixer": "lstm"}, set()),
    "MLP, mean over tokens": ({"mixer": "mlp"}, {"pool"}),
}
FOLDS, GENES = 3, 384
EPOCHS, BATCH, RATE, DECAY = 4, 16, 2e-3, 1e-2  # the same for every network, tuned for none

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Pairs:
    """What is known of every training perturbation and readout gene, without the perturbation (p × g).

    Attributes
    ----------
    data
        The perturbations, and the readout genes that are tokens.
    fold
        (p,).
    numbers
        (p × g × f), standardised; the scores of level one come first.
    start
        Log-odds of the base rate.
    n_scores
        How many numbers are scores.
    """

    data: Bundle
    fold: NDArray[np.int64]
    numbers: Rows
    start: Rows
    n_scores: int

    @classmethod
    def of(cls, line: str, n_genes: int) -> Pairs:
        """Fit level one without each fold."""
        adata = described(read(line, "de"), None)
        adata = adata[adata.obs["published"] == "train"].copy()
        places = KNOWLEDGE / "grch38_protein_coding_genes.csv.gz"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            spm.tl.gene_features(adata, ["position"], files={"position": places})
        most = np.sort(np.argsort(-np.isfinite(adata.X).sum(0), kind="stable")[:n_genes])
        everything = effect_bundle(adata, split="split", context=None, features=list(sources()))
        data = effect_bundle(adata[:, most].copy(), split="split", context=None, features=["position", "string"])
        labels, genes = Labels.of(everything, 0), everything.genes
        assert [part.name for part in labels.parts] == [one.parts[0].name for one in data.conditions]
        likeness = Likeness(tuple(blocks_of(everything.features)))
        axes = Axes.of(likeness, [part.name for part in labels.parts], genes)
        rng = np.random.default_rng(0)
        fold = rng.permutation(len(labels.parts)) % FOLDS
        start, numbers = np.zeros((len(fold), len(most)), np.float32), None
        for number in range(FOLDS):
            held = np.flatnonzero(fold == number)
            evidence = Evidence.fit(labels.take(np.flatnonzero(fold != number)), likeness, axes, rng)
            found = pair_numbers(evidence, likeness, [labels.parts[row].name for row in held], genes)
            numbers = np.zeros((*start.shape, len(found)), np.float32) if numbers is None else numbers
            for place, one in enumerate(found.values()):
                numbers[held, :, place] = one[:, most] if one.shape[1] > 1 else one
            start[held] = evidence.base.score()[most]
        moments = Moments.of(numbers[data.known])
        return cls(data, fold, moments.standardise(numbers), start, evidence.n_scores(likeness))

    def stack(self, rest: NDArray[np.bool_]) -> Rows:
        """Return the scores of the stack that was fitted to some perturbations (p × g)."""
        known = self.data.known & rest[:, None]
        x = self.numbers[..., : self.n_scores]
        ones = np.ones(known.sum(), np.float32)
        weights = weigh(x[known], self.start[known], self.data.delta[known], ones, are_calls=True).astype(np.float32)
        return np.asarray(self.start + x @ weights[:-1] + weights[-1], np.float32)


def scores(pairs: Pairs) -> dict[str, Rows]:
    """Return the scores of the stack and of every network, out of fold (p × g)."""
    frames = {order: Frame.of(pairs.data, order=order) for order in ("genome", "random")}
    found = {name: np.zeros_like(pairs.start) for name in ("stack", *NETWORKS)}
    for number in range(FOLDS):
        rest = pairs.fold != number
        base = pairs.stack(rest)
        found["stack"][~rest] = base[~rest]
        for name, (chosen, variants) in NETWORKS.items():
            net = residual_config(NetConfig(**chosen), len(pairs.data.genes))
            with varied(variants):
                said = correction(pairs, frames[net.order], net, base, rest)
            found[name][~rest] = base[~rest] + said
    return found


def correction(pairs: Pairs, frame: Frame, net: NetConfig, base: Rows, rest: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return what a network that learned from some perturbations adds to the others (others × g)."""
    data, order = pairs.data, frame.encoder.order
    nothing = np.zeros((len(data.conditions), 0), np.float32)
    inputs = frame.encoder.encode(data.conditions, data.context, nothing, pairs.numbers)
    offset, target, known = (
        torch.from_numpy(one[:, order].astype(np.float32)) for one in (base, data.delta, data.known)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build_predictor(net, frame, 1.0, pairs.numbers.shape[2])
        some = torch.from_numpy(np.flatnonzero(rest))
        steps = [rows for _ in range(EPOCHS) for rows in some[torch.randperm(len(some))].split(BATCH)]
        recipe = adamw(network, lr=RATE, weight_decay=DECAY, warmup=0.1, n_steps=len(steps))
        for rows in steps:
            loss = binary_cross_entropy_with_logits(
                network(inputs[rows]).shift + offset[rows], target[rows], weight=known[rows], reduction="sum"
            )
            recipe["optimizer"].zero_grad()
            (loss / known[rows].sum()).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            recipe["optimizer"].step()
            recipe["lr_scheduler"]["scheduler"].step()
    network.eval()
    said = np.empty((int((~rest).sum()), len(order)), np.float32)
    with torch.no_grad():
        others = torch.from_numpy(np.flatnonzero(~rest)).split(BATCH)
        said[:, order] = torch.cat([network(inputs[rows]).shift for rows in others]).numpy()
    return said


def judged(pairs: Pairs, found: dict[str, Rows]) -> dict[str, dict[str, Any]]:
    """Return, per network, the area under the curve per gene, its gain over the stack, and that of BiMamba over it."""
    row, column = np.nonzero(pairs.data.known)
    called = pairs.data.delta[row, column]
    group = pairs.fold[row] * len(pairs.data.genes) + column
    at = {name: one[row, column] for name, one in found.items()}
    table = {}
    for name, one in at.items():
        area = np.nanmean(areas_per_group(group, called, one, n_groups=FOLDS * len(pairs.data.genes)))
        gain, behind = (Gain.of_calls(group, row, called, *two) for two in ((one, at["stack"]), (at["BiMamba"], one)))
        table[name] = {"area": float(area), "gain": gain, "behind": behind}
    return table


def in_words(gain: Gain) -> str:
    """Return a gain with its interval."""
    error = 1.96 * gain.error
    return f"{gain.mean:+.4f} ({gain.mean - error:+.4f} to {gain.mean + error:+.4f})"


def rows_of(line: str, table: dict[str, dict[str, Any]]) -> list[Row]:
    """Return what each network gains, and what the sequence adds."""
    rows = []
    for name, one in table.items():
        if name != "stack":
            rows.append(Row(f"PerturbQA {line}: {name} over the stack", TOLD, in_words(one["gain"]), None))
        if name not in ("stack", "BiMamba"):
            rows.append(Row(f"PerturbQA {line}: BiMamba over {name}", TOLD, in_words(one["behind"]), None))
    return rows


def page(found: dict[str, tuple[Pairs, dict[str, dict[str, Any]]]]) -> str:
    """Return the results as a page."""
    parts = [machine()]
    for line, (pairs, table) in found.items():
        n, genes, entries = *pairs.data.delta.shape, pairs.data.known.sum()
        parts += [
            f"### PerturbQA {line.upper()}, changed or not",
            f"{n:,} training perturbations in {FOLDS} folds, the {genes} readout genes with most entries, {entries:,} "
            "entries; area under the curve per gene and fold.",
            "| network | area | gain over the stack | BiMamba gains more by |\n|---|---:|---:|---:|\n"
            + "\n".join(
                f"| {name} | {one['area']:.3f} | {'' if name == 'stack' else in_words(one['gain'])} | "
                f"{'' if name in ('stack', 'BiMamba') else in_words(one['behind'])} |"
                for name, one in table.items()
            ),
        ]
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Run both lines, print, and write what was asked for."""
    given = options(__doc__, quick="one line, 64 genes")
    if not DATA.is_dir():
        print(f"skipped: no data at {FOLDER}; set SPM_DATA to the folder that holds data/ and knowledge/")
        return
    found, rows = {}, []
    for line in ("hepg2",) if given.quick else OTHER:
        pairs = Pairs.of(line, 64 if given.quick else GENES)
        found[line] = pairs, judged(pairs, scores(pairs))
        rows += rows_of(line, found[line][1])
    report(rows, given, page=lambda: page(found))


if __name__ == "__main__":
    spm.settings.progress = False
    main()
