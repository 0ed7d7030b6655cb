"""The page of the inverse benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from _measure import Row, machine
from anndata import AnnData

SHOWN = ["top1", "top5", "top10", "mrr", "f1_micro", "f1_macro", "calibration_error"]


def part(title: str, adata: AnnData, *, seen: str) -> str:
    """Return a part of the page: every model, by number of cells, masked and not."""
    summary = adata.uns["inverse_evaluation"]["summary"]
    parts = [f"## {title}"]
    for mask, words in (("targets", "Targets masked"), ("none", "Targets shown")):
        some = summary[(summary["mask"] == mask) & (summary["seen"] == seen) & summary["metric"].isin(SHOWN)]
        if not len(some):
            continue
        wide = some.pivot_table(index=["size", "model"], columns="metric", values="value", sort=False)
        wide = wide.reindex(columns=[name for name in SHOWN if name in wide])
        chance = some.groupby("metric")["chance"].mean().reindex(wide.columns)
        wide.loc[("", "chance"), :] = chance
        head = "| cells | model | " + " | ".join(wide.columns) + " |\n|---|---|" + "---:|" * wide.shape[1]
        lines = [
            f"| {size} | {model} | " + " | ".join("" if np.isnan(one) else f"{one:.3f}" for one in row) + " |"
            for (size, model), row in zip(wide.index, wide.to_numpy(float))
        ]
        parts += [f"{words}:", "\n".join([head, *lines])]
    return "\n\n".join(parts)


def cost(seconds: Mapping[str, float], shorter: Mapping[str, Mapping[str, int]]) -> str:
    """Return what the run took and what was made shorter, in a sentence or two."""
    took = ", ".join(f"{name} {value / 60:.0f}" for name, value in seconds.items())
    total = sum(seconds.values()) / 60
    short = "; ".join(f"{name} {one['epochs']} epochs of {one['units']:,} profiles" for name, one in shorter.items())
    return (
        f"The full run took {total:.0f} minutes of one thread ({took}). Networks have the settings of the package, but "
        f"for these, which would take the most and were left out on Norman: {short}."
    )


def write_page(page: Path, rows: Sequence[Row], parts: Sequence[str], *, cost: str) -> None:
    """Write what there is so far: claims, then a part per screen."""
    said = {True: "holds", False: "**missed**", None: ""}
    lines = [f"| {row.name} | {row.target} | {row.measured} | {said[row.holds]} |" for row in rows]
    claims = "\n".join(["| claim | target | measured | |", "|---|---|---|---|", *lines])
    page.write_text("\n\n".join([machine(), *([cost] if cost else []), "## Claims", claims, *parts]) + "\n")
