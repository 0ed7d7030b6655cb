import warnings

import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.tl._truth import measured_effects, measured_halves, measured_sides


def test_effects_of_a_side_are_against_the_control_cells_of_that_side(screen):
    genes = list(screen.var_names[::-1][:10])
    truth = measured_effects(screen, genes=genes, context=None, split="split", sides=["test"])
    table, obs = screen.to_df()[genes], screen.obs
    on_side = obs["split"] == "test"
    control = table[on_side & obs["is_control"]].mean()
    assert set(truth.rows["label"]) == set(obs.loc[on_side & ~obs["is_control"], "perturbation"])
    for row, label in enumerate(truth.rows["label"]):
        cells = on_side & (obs["perturbation"] == label)
        assert truth.n_cells[row] == cells.sum()
        np.testing.assert_allclose(truth.delta[row], table[cells].mean() - control, atol=1e-5)


def test_without_a_split_all_cells_count(screen):
    truth = measured_effects(screen, genes=list(screen.var_names), context=None, split=None, sides=[])
    assert truth.n_cells.sum() == (screen.obs["perturbation"].notna() & ~screen.obs["is_control"]).sum()


def test_each_context_has_its_own_rows(screen):
    truth = measured_effects(screen, genes=list(screen.var_names), context="cell_line", split="split", sides=["train"])
    assert set(truth.rows["context"]) == {"line_A", "line_B"}
    assert truth.rows.index.str.endswith(("| line_A", "| line_B")).all()


def test_a_side_without_control_cells_is_refused(screen):
    cells = screen[~screen.obs["is_control"].to_numpy()]
    with pytest.raises(ValueError, match="control cells"):
        measured_effects(cells, genes=list(screen.var_names), context=None, split="split", sides=["test"])


def test_after_matching_a_cell_is_compared_with_the_controls_of_its_batch_on_the_same_side(screen):
    spm.pp.match_controls(screen, "batch")
    spm.pp.split_conditions(screen, "condition")
    genes = list(screen.var_names[:8])
    truth = measured_effects(screen, genes=genes, context=None, split="split", sides=["test"])
    obs, table = screen.obs, screen.to_df()[genes]
    on_side = obs["split"] == "test"
    controls = table[on_side & obs["is_control"]].groupby(obs["batch"], observed=True).mean()
    for row, label in enumerate(truth.rows["label"]):
        cells = on_side & (obs["perturbation"] == label)
        differences = table[cells] - controls.loc[obs.loc[cells, "batch"].astype(str)].to_numpy()
        np.testing.assert_allclose(truth.delta[row], differences.mean(), atol=1e-5)


def test_what_shifts_a_whole_batch_changes_no_effect_no_t_and_no_replicate(screen):
    spm.pp.match_controls(screen, "batch")
    spm.pp.split_conditions(screen, "condition")
    screen.X = screen.X.toarray()
    shifted = screen.copy()
    shifted.X = shifted.X + 3 * shifted.obs["batch"].cat.codes.to_numpy(np.float32)[:, None]
    options = {"genes": list(screen.var_names), "context": None, "split": "split", "response": "expression"}
    (one, halves), (other, others) = (measured_sides(adata, **options) for adata in (screen, shifted))
    for mine, theirs in zip((one, *halves), (other, *others)):
        np.testing.assert_allclose(mine.delta, theirs.delta, atol=1e-4)
        for name in ("t", "t_rest"):
            x, y = getattr(mine, name), getattr(theirs, name)
            sure = np.abs(x) < 30  # a gene that hardly varies has an error of rounding
            np.testing.assert_allclose(x[sure], y[sure], atol=0.05, rtol=0.02)


def test_each_half_has_controls_of_every_group(screen):
    spm.pp.match_controls(screen, "batch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        options = {"genes": list(screen.var_names), "context": None, "split": None, "sides": []}
        halves = measured_halves(screen, seed=0, **options)
    whole = measured_effects(screen, **options)
    assert (halves[0].n_cells + halves[1].n_cells == whole.n_cells).all()
    assert np.abs(halves[0].n_cells - halves[1].n_cells).max() <= 1


def test_rows_without_controls_of_their_group_are_told_once(screen):
    spm.pp.match_controls(screen, "batch")
    lone = screen.obs["is_control"] & (screen.obs["batch"] == "batch2") & (screen.obs["split"] == "test")
    part = screen[~lone.to_numpy()].copy()
    options = {"genes": list(part.var_names), "context": None, "split": "split", "response": "expression"}
    with pytest.warns(UserWarning, match="rows of the side 'test' have cells without control cells") as told:
        measured_sides(part, **options)
    assert len(told) == 1


@pytest.mark.parametrize(("scheme", "options"), [("pair", {"context": "cell_line"}), ("perturbation", {})])
def test_a_condition_in_one_context_on_each_side_has_a_row_for_each(screen, scheme, options):
    spm.pp.split_conditions(screen, scheme, **options)
    truth, _ = measured_sides(
        screen, genes=list(screen.var_names), context="cell_line", split="split", response="expression"
    )
    treated = screen.obs[~screen.obs["is_control"]]
    first = treated.groupby(["perturbation", "cell_line"], observed=True)["split"].first()
    for row in truth.rows.itertuples():
        assert row.side == first.loc[(row.label, row.context)]
    several = truth.rows.groupby("label")["side"].nunique().max()
    assert (several > 1) == (scheme == "pair")
