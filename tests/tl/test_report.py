import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition
from scperturbmamba.tl._stored import find_predictor
from scperturbmamba.tl._support import support

FIELDS = {
    "words", "baselines",
    "n_genes", "n_train", "n_val", "n_parameters", "engine", "best_epoch", "stopped", "train_pearson_delta",
    "train_r2", "val_pearson_delta", "val_r2", "similarity",
    "measured_similarity", "spread", "collapsed",
}  # fmt: skip


@pytest.mark.parametrize(("which", "context"), [("trained", None), ("counted", "cell_line")])
def test_the_report_is_what_predictions_and_cells_say(request, which, context):
    adata = request.getfixturevalue(which)
    report, bundle = adata.uns["predictor"]["report"], Bundle.from_adata(adata, context=context)
    assert set(report) == FIELDS
    assert (report["n_genes"], report["n_train"], report["n_val"]) == (40, (~bundle.is_val).sum(), bundle.is_val.sum())
    labels = sorted({one.without_kinds().label for one in bundle.conditions})
    table = spm.tl.predict(adata, labels).to_df(layer="delta")
    several = len(bundle.contexts) > 1
    names = [
        one.without_kinds().label + (f" | {bundle.contexts[level]}" if several else "")
        for one, level in zip(bundle.conditions, bundle.context)
    ]
    predicted, truth = table.loc[names].to_numpy(np.float64), bundle.delta.astype(np.float64)
    centre = truth[~bundle.is_val].mean(0)
    for side, rows in (("train", ~bundle.is_val), ("val", bundle.is_val)):
        r = np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(truth[rows], predicted[rows])])
        assert report[f"{side}_pearson_delta"] == pytest.approx(r, abs=1e-4)
        r2 = 1 - ((truth[rows] - predicted[rows]) ** 2).sum() / ((truth[rows] - centre) ** 2).sum()
        assert report[f"{side}_r2"] == pytest.approx(r2, abs=1e-4)
    pairs = np.corrcoef(predicted[~bundle.is_val])
    upper = np.triu_indices(len(pairs), 1)
    assert report["similarity"] == pytest.approx(pairs[upper].mean(), abs=1e-3)
    train = truth[~bundle.is_val]
    assert report["measured_similarity"] == pytest.approx(np.corrcoef(train)[upper].mean(), abs=1e-3)
    assert report["spread"] == pytest.approx(predicted[~bundle.is_val].var(0).sum() / train.var(0).sum(), rel=1e-3)


def test_a_network_that_says_the_same_of_everything_is_told(screen, train_tiny, caplog):
    with caplog.at_level("WARNING", logger="scperturbmamba"):
        train_tiny(screen, train={"epochs": 1})
    assert screen.uns["predictor"]["report"]["collapsed"]
    assert "the predictor acts as the mean" in caplog.text


def test_the_report_agrees_with_the_history(trained):
    report, history = trained.uns["predictor"]["report"], spm.get.history(trained)
    best = history.set_index("epoch").loc[report["best_epoch"]]
    assert report["val_r2"] == pytest.approx(best["val_r2"], abs=1e-4)
    assert report["train_r2"] == pytest.approx(best["train_r2"], abs=1e-4)
    assert report["stopped"] == "epochs" and "torch scan" in report["engine"]


def test_the_number_of_parameters_is_that_of_the_weights(trained):
    arrays = trained.uns["predictor"]["checkpoint"]["arrays"]
    prefix = "speaker.net."
    buffers = [prefix + name for name in ("state", "scale", "genes.chromosome", "genes.locus", "genes.features")]
    weights = [value for name, value in arrays.items() if name.startswith(prefix) and name not in buffers]
    assert trained.uns["predictor"]["report"]["n_parameters"] == sum(np.size(one) for one in weights)


@pytest.mark.parametrize(
    ("label", "n_cells", "expected"),
    [
        ("GATA2", 5, "seen"),
        ("control", 0, "seen"),
        ("GATA2", 0, "parts seen"),
        ("GATA2+KLF6", 0, "parts seen"),
        ("GATA2+KLF15", 0, "features"),
        ("IRF7", 0, "parts seen"),  # in a pair
        ("TP53", 0, "features"),
        ("NOWHERE", 0, "none"),
        ("GATA2+NOWHERE", 0, "none"),
    ],
)
def test_support_names_the_weakest_ground_a_prediction_stands_on(trained, label, n_cells, expected):
    model = find_predictor(trained, None, "predictor")[0]
    assert support(model, Condition.parse(label), n_cells) == expected
