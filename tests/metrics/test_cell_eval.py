"""The same numbers as cell-eval, the scorer of the Virtual Cell Challenge, row by row."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scperturbmamba import metrics

cell_eval = pytest.importorskip("cell_eval")

GENES = [f"G{number}" for number in range(200)]
LABELS = sorted([f"G{number}" for number in range(9)] + ["G1+G2", "not a gene", "nothing"])
SLOW = ["clustering_agreement", "pearson_edistance"]


def screen(effects, *, seed, n_cells=60):
    """Return log-normalised cells: no gene is silent, for cell-eval's fold changes would be infinite."""
    random = np.random.default_rng(seed)
    labels = np.repeat([*LABELS, "control"], n_cells)
    cells = np.vstack([effects, np.zeros(200)]).repeat(n_cells, axis=0)
    matrix = np.clip(2 + np.sin(np.arange(200)) + cells + random.normal(0, 0.4, cells.shape), 0.01, 10)
    obs = pd.DataFrame({"target": labels}, index=[f"cell{number}" for number in range(len(labels))])
    return ad.AnnData(matrix, obs=obs, var=pd.DataFrame(index=GENES))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """Return both screens and cell-eval's evaluator and results, sorted by label."""
    random = np.random.default_rng(0)
    shared = random.normal(0, 0.4, 200)
    true, wrong = random.normal(0, 0.2, (2, len(LABELS), 200))
    true, made = shared + true, shared + 0.15 * true + 0.6 * wrong
    for row, label in enumerate(LABELS):
        if label in GENES:
            true[row, GENES.index(label)], made[row, GENES.index(label)] = -1.5, 1.5
    true[LABELS.index("nothing")] = 0
    made[LABELS.index("G3")] = 0
    real, predicted = screen(true, seed=1), screen(made, seed=2)
    evaluator = cell_eval.MetricsEvaluator(
        predicted, real, control_pert="control", num_threads=1, outdir=str(tmp_path_factory.mktemp("cell_eval"))
    )
    results, _ = evaluator.compute(skip_metrics=SLOW, write_csv=False, break_on_error=True)
    table = pd.DataFrame(results.to_dict(as_series=False)).set_index("perturbation").loc[LABELS]
    return real, predicted, evaluator.de_comparison, table


@pytest.fixture(scope="module")
def profiles(judged):
    return [one.to_df().groupby(one.obs["target"].to_numpy()).mean() for one in judged[:2]]


@pytest.fixture(scope="module")
def effects(profiles):
    return [(one.loc[LABELS] - one.loc["control"]).to_numpy() for one in profiles]


def wide(results, column):
    table = pd.DataFrame(results.data.to_dict(as_series=False)).astype({"target": str, "feature": str})
    return table.pivot(index="target", columns="feature", values=column).loc[LABELS, GENES].to_numpy(np.float64)


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_errors_of_profiles_and_of_effects(judged, profiles, effects, name):
    score, table = getattr(metrics, name), judged[3]
    np.testing.assert_allclose(score(*(one.loc[LABELS] for one in profiles)), table[name])
    np.testing.assert_allclose(score(*effects), table[f"{name}_delta"])


def test_pearson_of_effects(judged, effects):
    np.testing.assert_allclose(metrics.pearson(*effects), judged[3]["pearson_delta"])


@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_discrimination_leaves_out_the_gene_named_like_the_perturbation(judged, effects, distance):
    wanted = judged[3][f"discrimination_score_{distance}"].to_numpy()
    target = [GENES.index(label) if label in GENES else -1 for label in LABELS]
    np.testing.assert_allclose(metrics.discrimination(*effects, distance=distance, target=target), wanted)
    assert np.abs(metrics.discrimination(*effects, distance=distance) - wanted).max() > 0.1
    assert len(set(wanted)) > 2


@pytest.mark.parametrize("n", [None, 50, 100])
def test_overlap_and_precision_of_significant_genes(judged, n):
    tables, scores = judged[2], judged[3]
    true, made = (wide(one, "log2_fold_change") for one in (tables.real, tables.pred))
    significant, called = (wide(one, "fdr") < 0.05 for one in (tables.real, tables.pred))
    for name, score in (("overlap", metrics.de_overlap), ("precision", metrics.de_precision)):
        found = score(true, made, significant, n=n, predicted_significant=called)
        np.testing.assert_allclose(found, scores[f"{name}_at_{n or 'N'}"])
        assert len(set(found)) > 2


def test_the_example_has_more_and_fewer_significant_genes_than_fifty(judged):
    for side in ("real", "pred"):
        n = judged[3][f"de_nsig_counts_{side}"]
        assert n.min() < 5 and n.max() > 50
