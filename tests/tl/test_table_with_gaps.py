"""The call of the issue: a table of calls with gaps in, unseen genes out, without control rows."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm

N, N_READOUT, N_UNSEEN = 90, 40, 20


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Six groups of genes that are linked, annotated and listed together, and that change the same readout genes."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("knowledge")
    genes = [f"GENE{number}" for number in range(N + N_UNSEEN)]
    group = np.arange(len(genes)) % 6
    pairs = [(a, b) for a in range(len(genes)) for b in range(a) if group[a] == group[b] and rng.random() < 0.3]
    links = pd.DataFrame(
        [(genes[a], genes[b], 900) for a, b in pairs], columns=["symbol_a", "symbol_b", "combined_score"]
    )
    links.to_csv(folder / "string.csv", index=False)
    sets = {f"SET{number}": [genes[one] for one in np.flatnonzero(group == number)] for number in range(6)}
    terms = pd.DataFrame(
        [
            (f"GO:{n}", name, "biological_process", len(one), "|".join(one))
            for n, (name, one) in enumerate(sets.items())
        ],
        columns=["go_id", "name", "go_domain", "size", "genes"],
    )
    terms.to_csv(folder / "go.tsv", sep="\t", index=False)
    lines = ["\t".join([name, "", *one]) for name, one in sets.items()]
    (folder / "reactome.gmt").write_text("\n".join(lines) + "\n")
    rate = rng.choice([0.1, 0.8], size=(6, N_READOUT))
    calls = (rng.random((len(genes), N_READOUT)) < rate[group]).astype(np.float32)
    return genes, calls, folder


def test_gaps_in_unseen_genes_out(world):
    genes, calls, folder = world
    known, unseen = genes[:N], genes[N:]
    values = calls[:N].copy()
    values[np.random.default_rng(1).random(values.shape) < 0.6] = np.nan
    perturbation = pd.DataFrame({"perturbation": known}, index=known)
    var = pd.DataFrame(index=[f"READ{number}" for number in range(N_READOUT)])
    paths = {"string": folder / "string.csv", "go": folder / "go.tsv", "reactome": folder / "reactome.gmt"}

    a = ad.AnnData(values, obs=perturbation, var=var)
    with pytest.warns(UserWarning):  # there are no control rows
        spm.pp.perturbation_labels(a, "perturbation")
    spm.tl.gene_features(a, ["string", "go", "reactome"], files=paths, genes=unseen)
    spm.tl.train_predictor(a, response="effect")
    p = spm.tl.predict(a, unseen)

    assert list(p.obs_names) == unseen and list(p.var_names) == list(var.index)
    score = np.asarray(p.layers["delta"], np.float64)
    readout = np.broadcast_to(np.asarray(var.index, str), score.shape).ravel()
    auc = spm.metrics.mean_auc_per_gene(readout, calls[N:].ravel(), score.ravel())
    assert auc > 0.65
    terms = sum(np.asarray(p.layers[name], np.float64) for name in ("mean", "core", "residual"))
    np.testing.assert_allclose(terms, score, atol=1e-5)
    assert (p.obs["support"] == "features").all()
    assert "stack" in a.uns["predictor"]["report"]["words"][0]
