import numpy as np
import pytest

from scperturbmamba.tl._truth import measured_effects


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
