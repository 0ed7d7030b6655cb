import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm

plt.switch_backend("agg")

GENES = [f"G{number}" for number in range(8)]
GUESS = np.array([0.1, -2.0, 0.3, 1.5, 0.0, -0.2, 0.9, 0.4], np.float32)
TRUTH = np.array([0.2, -1.0, 3.0, 1.0, 0.1, -0.3, 0.5, -2.0], np.float32)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def screen(row, **layers):
    obs = pd.DataFrame({"perturbation": ["TP53", "MYC"]}, index=["TP53", "MYC"])
    both = {"delta": np.stack([row, -row]), **{name: np.stack([one, one]) for name, one in layers.items()}}
    return AnnData(np.ones((2, 8), np.float32), obs=obs, var=pd.DataFrame(index=GENES), layers=both)


@pytest.fixture
def predicted():
    return screen(GUESS)


@pytest.fixture
def measured():
    """The same genes in another order, as a pseudobulk may hold them."""
    return screen(TRUTH, se=np.arange(1, 9, dtype=np.float32) / 10)[:, GENES[::-1]].copy()


def marks(ax):
    """Return gene to predicted value, from the strongest at the top to the weakest."""
    (points,) = ax.collections[-1:]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    return {names[int(y)]: float(x) for x, y in reversed(points.get_offsets().tolist())}


def test_the_genes_that_change_most_are_drawn_strongest_at_the_top(predicted):
    ax = spm.pl.effect(predicted, n_genes=3)
    assert ax.get_title(loc="left") == "TP53"
    found = marks(ax)
    assert list(found) == ["G1", "G3", "G6"]
    assert list(found.values()) == pytest.approx([-2.0, 1.5, 0.9])
    assert marks(spm.pl.effect(predicted, "MYC", n_genes=2)) == pytest.approx({"G1": 2.0, "G3": -1.5})


def test_beside_a_measurement_its_genes_are_chosen_and_its_errors_drawn(predicted, measured):
    ax = spm.pl.effect(predicted, "TP53", measured=measured, n_genes=2)
    assert marks(ax) == pytest.approx({"G2": 0.3, "G7": 0.4})
    assert sorted(bar.get_width() for bar in ax.patches) == pytest.approx([-2.0, 3.0])
    segments = [collection.get_segments() for collection in ax.collections if hasattr(collection, "get_segments")]
    spans = sorted((float(s[1, 0] - s[0, 0])) for one in segments for s in one)
    assert spans == pytest.approx([0.6, 1.6])  # twice the standard errors of G2 and G7
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"measured", "predicted"}


def test_measurements_without_errors_are_drawn_without(predicted, measured):
    del measured.layers["se"]
    ax = spm.pl.effect(predicted, "TP53", measured=measured, n_genes=2)
    assert len(ax.patches) == 2 and len(ax.collections) == 1


def test_agreement_shows_a_point_per_gene_and_their_correlation(predicted, measured):
    ax = spm.pl.agreement(predicted, "TP53", measured=measured, n_labels=2)
    points = {(round(x, 4), round(y, 4)) for x, y in ax.collections[0].get_offsets().tolist()}
    assert points == {(round(float(x), 4), round(float(y), 4)) for x, y in zip(TRUTH, GUESS)}
    texts = [text.get_text().strip() for text in ax.texts]
    assert texts[:2] == ["G2", "G7"]
    assert texts[2] == f"r = {np.corrcoef(TRUTH, GUESS)[0, 1]:.2f}"


def test_a_panel_of_the_user_s_is_drawn_into(predicted, measured):
    _, (one, other) = plt.subplots(1, 2)
    assert spm.pl.effect(predicted, ax=one) is one
    assert spm.pl.agreement(predicted, "TP53", measured=measured, ax=other) is other
    assert len(plt.get_fignums()) == 1


def test_more_genes_than_there_are_give_all(predicted):
    assert len(spm.pl.effect(predicted, n_genes=100).get_yticks()) == 8


@pytest.mark.parametrize(
    "call",
    [
        lambda p, m: spm.pl.effect(p, "TP35"),
        lambda p, m: spm.pl.effect(p, "TP53", measured=m[m.obs_names != "TP53"]),
        lambda p, m: spm.pl.agreement(p, "TP35", measured=m),
    ],
)
def test_a_row_that_is_not_there_is_named(predicted, measured, call):
    with pytest.raises(KeyError, match=r"no row 'TP\d+'. Found"):
        call(predicted, measured)


def test_drawing_writes_nothing(predicted, measured):
    spm.pl.effect(predicted, measured=measured)
    spm.pl.agreement(predicted, "TP53", measured=measured)
    assert list(predicted.obs) == ["perturbation"] and not predicted.uns and not measured.uns
    np.testing.assert_array_equal(predicted.layers["delta"][0], GUESS)


def test_effects_need_predictions(predicted):
    del predicted.layers["delta"]
    with pytest.raises(KeyError, match=r"spm\.tl\.predict"):
        spm.pl.effect(predicted)
