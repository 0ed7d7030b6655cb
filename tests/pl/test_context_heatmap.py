"""A heat map over contexts holds the effects, strongest genes first, those alike side by side."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm

plt.switch_backend("agg")

GENES = [f"G{number}" for number in range(8)]
CONTEXTS = ["A549", "K562", "MCF7"]
#                 G0   G1    G2   G3    G4   G5    G6   G7
EFFECTS = np.array(
    [
        [0.0, -2.0, 1.0, 0.1, 2.5, 0.0, -1.8, 0.2],  # A549
        [0.1, -0.2, 0.9, 3.0, 0.4, 0.0, -0.3, 0.1],  # K562, unlike the two others
        [0.0, -2.1, 1.1, 0.2, 2.4, 0.1, -1.7, 0.1],  # MCF7, like A549
    ]
)


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def predictions(labels=("TP53",)):
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical([label for _ in CONTEXTS for label in labels]),
            "context": pd.Categorical([context for context in CONTEXTS for _ in labels]),
            "seen": [context != "MCF7" for context in CONTEXTS for _ in labels],
        },
        index=[f"{label} | {context}" for context in CONTEXTS for label in labels],
    )
    delta = np.repeat(EFFECTS, len(labels), axis=0) * np.tile(1 + np.arange(len(labels)), 3)[:, None]
    uns = {"predictor": {"params": {"context": "cell_line", "split": "split"}}}
    return AnnData(np.abs(delta), obs=obs, var=pd.DataFrame(index=GENES), layers={"delta": delta}, uns=uns)


@pytest.fixture
def predicted():
    return predictions()


@pytest.fixture
def profiles():
    """What was measured in two of the three contexts; G5 answers most."""
    obs = pd.DataFrame({"perturbation": ["TP53", "TP53"], "cell_line": ["K562", "A549"]}, index=["one", "two"])
    delta = EFFECTS[[1, 0]] + np.eye(8)[5] * 9
    found = AnnData(np.abs(delta), obs=obs, var=pd.DataFrame(index=GENES), layers={"delta": delta})
    return found[:, GENES[::-1]].copy()


def _as_profiles(predicted):
    obs = pd.DataFrame({"perturbation": predicted.obs["perturbation"], "cell_line": predicted.obs["context"]})
    return AnnData(predicted.X, obs=obs, var=predicted.var, layers={"delta": predicted.layers["delta"]})


def names(ax):
    """Return the genes and the contexts along a map."""
    return tuple([tick.get_text() for tick in axis.get_ticklabels()] for axis in (ax.yaxis, ax.xaxis))


def values(ax):
    (image,) = ax.images
    return np.ma.filled(np.ma.asarray(image.get_array(), np.float64), np.nan)


def table(ax):
    genes, contexts = names(ax)
    return pd.DataFrame(values(ax), index=genes, columns=contexts)


def test_the_map_holds_the_effects_of_the_strongest_genes(predicted):
    (ax,) = spm.pl.context_heatmap(predicted, "TP53", n_genes=5)
    found = table(ax)
    expected = pd.DataFrame(EFFECTS.T, index=GENES, columns=CONTEXTS)
    assert set(found.index) == {"G1", "G2", "G3", "G4", "G6"} and set(found.columns) == set(CONTEXTS)
    pd.testing.assert_frame_equal(found, expected.loc[found.index, found.columns])
    assert ax.get_title(loc="left") == "TP53" and ax.get_xlabel() == "cell_line"


def test_what_is_alike_stands_side_by_side(predicted):
    (ax,) = spm.pl.context_heatmap(predicted, n_genes=5)
    genes, contexts = names(ax)
    assert contexts in (["A549", "MCF7", "K562"], ["MCF7", "A549", "K562"])
    assert abs(genes.index("G1") - genes.index("G6")) == 1  # the two that fall together
    assert genes.index("G4") < genes.index("G1")  # what rises is above what falls


def test_rows_in_another_order_draw_the_same(predicted):
    (one,) = spm.pl.context_heatmap(predicted, n_genes=6)
    shuffled = predicted[:, [3, 1, 7, 0, 2, 6, 5, 4]].copy()
    (other,) = spm.pl.context_heatmap(shuffled, n_genes=6)
    pd.testing.assert_frame_equal(table(one), table(other))


def test_colours_are_centred_at_zero(predicted):
    (ax,) = spm.pl.context_heatmap(predicted)
    low, high = ax.images[0].get_clim()
    assert low == -high and 2 < high <= 3
    assert min(ax.images[0].cmap(0.5)[:3]) > 0.98  # no effect is white


def test_contexts_not_in_training_are_marked(predicted):
    (ax,) = spm.pl.context_heatmap(predicted)
    (marks,) = [line for line in ax.lines if line.get_gid() == "unseen"]
    _, contexts = names(ax)
    assert [contexts[int(x)] for x in marks.get_xdata()] == ["MCF7"]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["not in training"]
    predicted.obs["seen"] = True
    (ax,) = spm.pl.context_heatmap(predicted)
    assert not ax.figure.legends and not [x for line in ax.lines for x in line.get_xdata()]


def test_measured_stands_beside_predicted_with_the_same_genes_and_contexts(predicted, profiles):
    one, other = spm.pl.context_heatmap(predicted, "TP53", measured=profiles, n_genes=4)
    assert [ax.get_title(loc="left") for ax in (one, other)] == ["TP53\npredicted", "\nmeasured"]
    genes, contexts = names(one)
    assert "G5" in genes  # strong where it was measured
    assert names(other)[1] == contexts
    found = pd.DataFrame(values(other), index=genes, columns=contexts)
    assert found["MCF7"].isna().all()  # not measured
    assert found.loc["G5", "A549"] == pytest.approx(9) and found.loc["G4", "K562"] == pytest.approx(0.4)


def test_cells_are_averaged_in_their_context(predicted):
    rng = np.random.default_rng(0)
    labels, lines = ["control", "TP53"] * 30, np.repeat(["A549", "K562", "MCF7"], 20)
    obs = pd.DataFrame({"condition": labels, "cell_line": lines}, index=[f"cell{number}" for number in range(60)])
    cells = AnnData(rng.random((60, 8)), obs=obs, var=pd.DataFrame(index=GENES))
    spm.pp.perturbation_labels(cells, "condition")
    one, other = spm.pl.context_heatmap(predicted, measured=cells, n_genes=8)
    found = pd.DataFrame(values(other), index=names(one)[0], columns=names(one)[1])
    frame = pd.DataFrame(cells.X, columns=GENES).groupby([lines, labels]).mean()
    expected = (frame.xs("TP53", level=1) - frame.xs("control", level=1)).T
    pd.testing.assert_frame_equal(found, expected.loc[found.index, found.columns], check_names=False, atol=1e-5)


def test_every_perturbation_has_a_panel_with_the_same_genes():
    both = predictions(labels=("TP53", "dasatinib@10"))
    axes = spm.pl.context_heatmap(both, n_genes=4)
    assert [ax.get_title(loc="left") for ax in axes] == ["TP53", "dasatinib@10"]
    np.testing.assert_allclose(values(axes[1]), 2 * values(axes[0]))
    (alone,) = spm.pl.context_heatmap(both, ["dasatinib@10"])
    assert alone.get_title(loc="left") == "dasatinib@10"


def test_genes_may_be_named(predicted):
    (ax,) = spm.pl.context_heatmap(predicted, genes=["G7", "G0"])
    assert sorted(names(ax)[0]) == ["G0", "G7"]


@pytest.mark.parametrize("n", [1, 2])
def test_few_contexts_are_drawn_too(predicted, n):
    (ax,) = spm.pl.context_heatmap(predicted[predicted.obs["context"].isin(CONTEXTS[:n])].copy(), n_genes=3)
    assert values(ax).shape == (3, n)


@pytest.mark.parametrize("labels", [("a_drug_with_a_long_name@0.0001", "b"), ("compound03@1", "compound03@10")])
@pytest.mark.parametrize("beside", [False, True])
def test_nothing_is_cut_off_and_panels_fill_the_page(labels, beside):
    long = predictions(labels=labels)
    long = long[long.obs["context"].isin(CONTEXTS[1:])].copy()
    long.obs["seen"] |= long.obs["perturbation"] == labels[1]  # no circle above the second
    axes = spm.pl.context_heatmap(long, measured=_as_profiles(long) if beside else None)
    figure = axes[0].figure
    figure.canvas.draw()
    widths = [ax.get_window_extent().width for ax in axes]
    assert np.ptp(widths) < 2 and sum(widths) > 0.5 * figure.bbox.width
    for ax in axes:
        box = ax.get_tightbbox()
        assert box.x0 >= -1 and box.x1 <= figure.bbox.x1 + 1 and box.y0 >= -1 and box.y1 <= figure.bbox.y1 + 1
        assert ax.get_window_extent().height > 0.5 * figure.bbox.height


def test_what_cannot_be_drawn_is_refused_with_a_way_on(predicted, profiles):
    with pytest.raises(KeyError, match="no 'TP35'. Did you mean 'TP53'"):
        spm.pl.context_heatmap(predicted, "TP35")
    with pytest.raises(KeyError, match="`predicted` has no gene 'G99'"):
        spm.pl.context_heatmap(predicted, genes=["G99"])
    with pytest.raises(KeyError, match="`measured` has no gene 'G1'"):
        spm.pl.context_heatmap(predicted, genes=["G1"], measured=profiles[:, ["G2"]].copy())
    with pytest.raises(ValueError, match="n_genes"):
        spm.pl.context_heatmap(predicted, n_genes=0)
    with pytest.raises(ValueError, match="at least one gene"):
        spm.pl.context_heatmap(predicted, genes=[])
    with pytest.raises(KeyError, match="`context='cell_line'` names no column"):
        del profiles.obs["cell_line"]
        spm.pl.context_heatmap(predicted, measured=profiles)
