import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import scperturbmamba as spm


@pytest.fixture(scope="module")
def ranked():
    adata = spm.datasets.toy(n_genes=60, n_singles=8, n_doubles=0, cells_per_condition=60, n_control=150)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    spm.tl.train_inverse(adata, key=None)
    spm.tl.rank_perturbations(adata, groupby="perturbation")
    spm.tl.evaluate_inverse(adata, ["dictionary", "knn"], hold_out="batch", cells=[1, 10])
    yield adata
    plt.close("all")


def test_bars_are_the_probabilities_of_the_best_answers(ranked):
    axes = spm.pl.inverse_ranking(ranked, ["control"], n_top=3)
    table = ranked.uns["perturbation_scores"]["ranking"].query("group == 'control'").head(3)
    assert [bar.get_width() for bar in axes[0].patches] == pytest.approx(table["probability"].tolist())
    assert [tick.get_text() for tick in axes[0].get_yticklabels()] == table["perturbation"].tolist()
    assert any("answer: control" in text.get_text() for text in axes[0].texts)


def test_only_groups_that_were_ranked_can_be_drawn(ranked):
    assert len(spm.pl.inverse_ranking(ranked)) == 6
    with pytest.raises(ValueError, match="groups"):
        spm.pl.inverse_ranking(ranked, "TP99")
    cells = ranked.copy()
    spm.tl.rank_perturbations(cells)
    with pytest.raises(KeyError, match="groupby"):
        spm.pl.inverse_ranking(cells)


def test_shares_of_the_answers_to_a_condition_sum_to_one(ranked):
    ax = spm.pl.inverse_confusion(ranked, "knn", cells=10, mask=None)
    shares = np.asarray(ax.collections[0].get_array()).reshape(len(ax.get_yticks()), -1)
    np.testing.assert_allclose(shares.sum(1), 1)
    rows, columns = ([tick.get_text() for tick in ticks] for ticks in (ax.get_yticklabels(), ax.get_xticklabels()))
    assert rows[0] == "control"
    table = ranked.uns["inverse_evaluation"]["answers"].query("model == 'knn' and size == '10' and mask == 'none'")
    own = table[table["condition"] == rows[1]]
    expected = own.set_index("inferred")["n_units"].groupby(level=0).sum() / own["n_units"].sum()
    assert pd.Series(shares[1], columns)[expected.index].to_numpy() == pytest.approx(expected.to_numpy())
    with pytest.raises(ValueError, match="cells"):
        spm.pl.inverse_confusion(ranked, cells=7)


def test_a_line_per_model_and_one_for_chance(ranked):
    axes = spm.pl.inverse_f1(ranked, average="micro")
    assert [line.get_label() for line in axes[0].lines] == ["dictionary", "knn", "chance"]
    table = ranked.uns["inverse_evaluation"]["summary"].query("metric == 'f1_micro' and mask == 'targets'")
    drawn = table.query("model == 'knn' and size != 'every'")["value"]
    assert axes[0].lines[1].get_ydata() == pytest.approx(drawn.to_numpy())


def test_the_training_of_a_network_is_drawn_over_its_epochs(ranked):
    trained = ranked.copy()
    with pytest.raises(KeyError, match="history of a network"):
        spm.pl.inverse_f1(trained, key="inverse")
    tiny = {"width": 8, "heads": 2, "epochs": 4, "units": 64}
    spm.tl.train_inverse(trained, model="mlp", config=tiny, key=None)
    (ax,) = spm.pl.inverse_f1(trained, key="inverse")
    history = trained.uns["inverse"]["history"]
    assert ax.lines[1].get_ydata() == pytest.approx(history["val_f1"].to_numpy())
