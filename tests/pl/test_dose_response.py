"""What is drawn of a dose response is what was predicted and measured, each at its dose."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scperturbmamba as spm

plt.switch_backend("agg")

GENES = ["CYP1A1", "CYP2B6", "ALB"]
DOSES = [10.0, 0.1, 1.0]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def predictions(levels=("2h", "24h"), drugs=("omeprazole",)):
    """Effects that say where they are from: 100 × drug + 10 × level + gene, plus a tenth of the dose."""
    rows = [(drug, dose, level) for level in levels for drug in drugs for dose in DOSES]
    delta = np.array(
        [
            [100 * drugs.index(drug) + 10 * levels.index(level) + gene + dose / 10 for gene in range(len(GENES))]
            for drug, dose, level in rows
        ]
    )
    obs = pd.DataFrame(
        {
            "perturbation": pd.Categorical([f"{drug}@{dose:g}" for drug, dose, _ in rows]),
            "context": pd.Categorical([level for *_, level in rows]),
            "seen": [dose != 1 for _, dose, _ in rows],
        },
        index=[f"{drug}@{dose:g} | {level}" for drug, dose, level in rows],
    )
    layers = {"delta": delta, "lower": delta - 2, "upper": delta + 3}
    uns = {"predictor": {"params": {"context": "hours", "split": "split"}}}
    return AnnData(delta, obs=obs, var=pd.DataFrame(index=GENES), layers=layers, uns=uns)


@pytest.fixture
def predicted():
    return predictions()


@pytest.fixture
def cells():
    """Two plates, the second 5 higher in everything; treated cells are above the controls of their own plate."""
    rows, values = [], []
    for level in ("2h", "24h"):
        for plate, shift in (("one", 0.25), ("two", 5.25)):
            for spread in (-0.1, 0.1):
                rows.append(("control", 0.0, level, plate, "train"))
                values.append([shift + spread] * 3)
        for dose, plate, side in ((0.1, "one", "train"), (1, "two", "test"), (30, "two", "test"), (50, "one", "train")):
            for spread in (-0.2, 0.2):
                rows.append(("omeprazole", dose, level, plate, side))
                base = 0.25 if plate == "one" else 5.25
                values.append([base + spread + dose / 10 + (level == "24h"), base + spread, base])
    index = [f"cell{number}" for number in range(24)]
    obs = pd.DataFrame(rows, columns=["drug", "dose", "hours", "plate", "split"], index=index)
    adata = AnnData(np.array(values, np.float64), obs=obs, var=pd.DataFrame(index=GENES))
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="uM")
    spm.pp.match_controls(adata, "plate")
    return adata


def curves(ax):
    found = [line for line in ax.lines if line.get_gid() == "predicted"]
    return [(line.get_xdata().tolist(), line.get_ydata().tolist()) for line in found]


def points(ax):
    """Return {dose: (effect, filled)} of the measured points, each drawn on its own."""
    found = [bars.lines[0] for bars in ax.containers]
    return {
        round(float(one.get_xdata()[0]), 6): (float(one.get_ydata()[0]), one.get_markerfacecolor() != "white")
        for one in found
    }


def effects(ax):
    return {dose: effect for dose, (effect, _) in points(ax).items()}


def errors(ax):
    return [float(np.ptp(bars.lines[2][0].get_segments()[0][:, 1])) / 2 for bars in ax.containers]


def words(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_a_curve_runs_over_rising_doses_with_its_interval(predicted):
    ax = spm.pl.dose_response(predicted, "CYP2B6", context="24h")
    ((x, y),) = curves(ax)
    assert x == [0.1, 1, 10] and y == pytest.approx([11.01, 11.1, 12])
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == pytest.approx(9.01) and corners[:, 1].max() == pytest.approx(15)
    assert ax.get_xscale() == "log" and ax.get_title(loc="left") == "CYP2B6, hours 24h"


def test_the_interval_of_a_training_dose_is_not_mixed_with_that_between_doses(predicted):
    predicted.obs["seen"] = predicted.obs["perturbation"].astype(str) == "omeprazole@1"
    ax = spm.pl.dose_response(predicted, "CYP1A1", context="2h")
    band, bar = ax.collections
    assert set(band.get_paths()[0].vertices[:, 0]) == {0.1, 10}
    (ends,) = bar.get_segments()
    assert ends.tolist() == [[1, pytest.approx(-1.9)], [1, pytest.approx(3.1)]]


def test_contexts_that_are_numbers_come_in_their_order():
    predicted = predictions(levels=("2", "24", "8"))
    assert words(spm.pl.dose_response(predicted, "ALB"))[:3] == ["2", "8", "24"]


def test_the_control_stands_left_of_every_dose_without_effect(predicted):
    ax = spm.pl.dose_response(predicted, "ALB", context="2h")
    (control,) = [line for line in ax.lines if line.get_gid() == "control"]
    ((x, y),) = control.get_xydata().tolist()
    assert y == 0 and 0 < x < 0.1
    ax.figure.canvas.draw()
    ticks = {round(float(place), 9): text.get_text() for place, text in zip(ax.get_xticks(), ax.get_xticklabels())}
    assert ticks.pop(round(x, 9)) == "0"
    assert ticks == {0.1: "0.1", 0.3: "0.3", 1: "1", 3: "3", 10: "10"}


def test_one_gene_has_a_curve_per_context_and_several_genes_one_each(predicted):
    assert [y[0] for _, y in curves(spm.pl.dose_response(predicted, "CYP1A1"))] == pytest.approx([0.01, 10.01])
    ax = spm.pl.dose_response(predicted, ["ALB", "CYP1A1"], context="2h")
    assert [y[0] for _, y in curves(ax)] == pytest.approx([2.01, 0.01])
    assert words(ax)[:2] == ["ALB", "CYP1A1"]
    assert ax.get_title(loc="left") == "omeprazole, hours 2h"


def test_training_doses_are_dots_on_the_curve(predicted):
    ax = spm.pl.dose_response(predicted, "ALB", context="2h")
    (dots,) = [line for line in ax.lines if line.get_gid() == "training"]
    assert dots.get_xdata().tolist() == [0.1, 10]
    assert "training dose" in words(ax)


def test_measured_cells_are_compared_with_the_controls_of_their_plate(predicted, cells):
    ax = spm.pl.dose_response(predicted, "CYP1A1", measured=cells, context="2h")
    assert effects(ax) == pytest.approx({0.1: 0.01, 1: 0.1, 30: 3, 50: 5})
    later = spm.pl.dose_response(predicted, "CYP1A1", measured=cells, context="24h")
    assert effects(later) == pytest.approx({0.1: 1.01, 1: 1.1, 30: 4, 50: 6})
    assert errors(ax) == pytest.approx([np.sqrt(0.04 + 0.01)] * 4)  # two cells and two controls: 0.2 and 0.1


def test_doses_in_training_are_filled_and_others_open(predicted, cells):
    ax = spm.pl.dose_response(predicted, "CYP1A1", measured=cells, context="2h")
    # what the prediction says of 0.1 and 1; the split of the cells for doses that were not predicted
    assert {dose: filled for dose, (_, filled) in points(ax).items()} == {0.1: True, 1: False, 30: False, 50: True}
    assert words(ax)[-2:] == ["measured, training dose", "measured, other dose"]


def test_profiles_are_drawn_as_their_cells(predicted, cells):
    bulk = spm.pp.pseudobulk(cells, context="hours")
    one = spm.pl.dose_response(predicted, "CYP1A1", measured=cells, context="2h")
    other = spm.pl.dose_response(predicted, "CYP1A1", measured=bulk, context="2h")
    assert effects(one) == pytest.approx(effects(other), abs=1e-5)
    assert errors(one) == pytest.approx(errors(other), abs=1e-5)
    assert words(other)[-1] == "measured"  # of doses that were not predicted nothing says what was seen


def test_the_unit_is_that_of_the_screen_or_the_one_given(predicted, cells):
    draw = spm.pl.dose_response
    assert draw(predicted, "ALB", context="2h").get_xlabel() == "dose of omeprazole"
    assert draw(predicted, "ALB", context="2h", measured=cells).get_xlabel() == "dose of omeprazole (µM)"
    assert draw(predicted, "ALB", context="2h", measured=cells, dose_unit="mg/kg").get_xlabel().endswith("(mg/kg)")


def test_of_several_drugs_the_one_named_is_drawn():
    both = predictions(levels=("2h",), drugs=("omeprazole", "TP53+rifampicin"))
    ((_, y),) = curves(spm.pl.dose_response(both, "CYP1A1", drug="TP53+rifampicin"))
    assert y == pytest.approx([100.01, 100.1, 101])
    with pytest.raises(ValueError, match="2 drugs. Name one, such as `drug='omeprazole'`"):
        spm.pl.dose_response(both, "CYP1A1")
    with pytest.raises(KeyError, match="no dose of 'rifampicin'.*'TP53\\+rifampicin'"):
        spm.pl.dose_response(both, "CYP1A1", drug="rifampicin")


def test_what_cannot_be_drawn_is_refused_with_a_way_on(predicted, cells):
    draw = spm.pl.dose_response
    with pytest.raises(KeyError, match="no gene 'CYP1A2'. Did you mean 'CYP1A1'"):
        draw(predicted, "CYP1A2")
    with pytest.raises(KeyError, match="no context '4h'"):
        draw(predicted, "ALB", context="4h")
    with pytest.raises(ValueError, match="3 genes are drawn in one context"):
        draw(predicted, GENES)
    with pytest.raises(ValueError, match="1 to 8 curves; found 0 genes"):
        draw(predicted, [])
    with pytest.raises(KeyError, match="`context='hours'` names no column"):
        draw(predicted, "ALB", measured=AnnData(cells.X, obs=cells.obs.drop(columns="hours"), var=cells.var))
    predicted.obs["perturbation"] = "TP53"
    with pytest.raises(ValueError, match="no label with a dose"):
        draw(predicted, "ALB")
    del predicted.layers["delta"]
    with pytest.raises(KeyError, match=r"spm\.tl\.predict"):
        draw(predicted, "ALB")


def test_a_trained_predictor_is_drawn_beside_its_screen():
    adata = spm.datasets.toy_drugs(n_genes=30, n_drugs=8, cells_per_condition=12)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, "dose")
    spm.tl.train_predictor(adata, preset="fast", context="cell_line")
    predicted = spm.tl.predict(adata, ["compound01@0.1", "compound01@0.5", "compound01@0", "compound01@10"])
    gene = adata.var_names[3]
    ax = spm.pl.dose_response(predicted, gene, measured=adata, context="line_A")
    ((x, y),) = curves(ax)
    assert x == [0.1, 0.5, 10]  # the control has no dose
    rows = [f"compound01@{dose:g} | line_A" for dose in x]
    np.testing.assert_allclose(y, predicted[rows, gene].layers["delta"].ravel())
    bulk = spm.pp.pseudobulk(adata, context="cell_line")
    for dose, (effect, filled) in points(ax).items():
        name = f"compound01@{dose:g}"
        assert effect == pytest.approx(float(bulk[f"{name} | line_A", gene].layers["delta"][0, 0]), abs=1e-5)
        assert filled == (adata.obs.loc[adata.obs["perturbation"] == name, "split"].iloc[0] == "train")


def test_a_panel_of_the_user_s_is_drawn_into_and_nothing_is_written(predicted, cells):
    before = predicted.copy()
    _, (one, other) = plt.subplots(1, 2)
    assert spm.pl.dose_response(predicted, "ALB", measured=cells, ax=other) is other
    assert not one.lines and len(plt.get_fignums()) == 1
    assert predicted.obs.equals(before.obs) and list(predicted.layers) == list(before.layers)
