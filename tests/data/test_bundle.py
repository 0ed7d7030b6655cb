import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_h5ad

import scperturbmamba as spm
from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.bundle_cells import cell_sizes
from scperturbmamba.data.conditions import Part
from scperturbmamba.data.screen_kinds import gene_kind


@pytest.fixture(scope="module")
def screen():
    adata = spm.datasets.toy(n_genes=30, n_singles=12, n_doubles=3, n_outside=2, cells_per_condition=12, n_control=90)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata, context="cell_line")
    adata.obs["depth"] = adata.X.sum(1).A1 if hasattr(adata.X.sum(1), "A1") else np.asarray(adata.X.sum(1)).ravel()
    table = pd.DataFrame({"x": np.arange(30.0)}, index=adata.var_names)
    adata.varm["gene_identity"] = table
    outside = pd.DataFrame({"x": [50.0, 60.0]}, index=adata.uns["toy"]["outside"].index)
    adata.uns["gene_identity"] = {"targets": outside, "provenance": "made for the test"}
    return adata


@pytest.fixture
def adata(screen):
    return screen.copy()


def read(adata, **options):
    everything = {"context": "cell_line", "covariates": ["depth", "batch"], "features": None, "with_cells": True}
    return Bundle.from_adata(adata, **{**everything, **options})


def assert_equal(one, other):
    for name in ("genes", "conditions", "contexts"):
        assert getattr(one, name) == getattr(other, name)
    for name in ("context", "delta", "se", "n_cells", "is_val", "control"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.covariates.names == other.covariates.names
    np.testing.assert_array_equal(one.covariates.rows, other.covariates.rows)
    np.testing.assert_array_equal(one.covariates.control, other.covariates.control)
    np.testing.assert_array_equal(one.cells.counts.toarray(), other.cells.counts.toarray())
    np.testing.assert_array_equal(one.cells.size, other.cells.size)
    np.testing.assert_array_equal(one.cells.row, other.cells.row)


def test_a_bundle_holds_the_training_and_validation_conditions_and_no_other(adata):
    bundle = read(adata)
    for side, rows in {"train": ~bundle.is_val, "val": bundle.is_val}.items():
        cells = adata.obs[(adata.obs["split"] == side) & ~adata.obs["is_control"]]
        labels = {bundle.conditions[row].without_kinds().label for row in np.flatnonzero(rows)}
        assert labels == set(cells["perturbation"].astype(str))
    held_out = set(adata.obs.loc[adata.obs["split"] == "test", "perturbation"].astype(str))
    assert held_out.isdisjoint(one.without_kinds().label for one in bundle.conditions)
    assert not any(one.is_control for one in bundle.conditions)


def test_the_cells_of_the_test_side_never_change_a_bundle(adata):
    before = read(adata)
    test = (adata.obs["split"] == "test").to_numpy()
    assert (adata.obs["is_control"].to_numpy() & test).any()
    counts = adata.layers["counts"].toarray()
    counts[test] = np.random.default_rng(0).poisson(50, counts[test].shape)
    x = adata.X.toarray()
    x[test] = np.random.default_rng(1).gamma(2, 2, x[test].shape)
    adata.layers["counts"], adata.X = sp.csr_matrix(counts), sp.csr_matrix(x.astype(np.float32))
    adata.obs.loc[test, "depth"] = -1.0
    adata.obs["batch"] = adata.obs["batch"].astype(object)
    adata.obs.loc[test, "batch"] = "another"
    assert_equal(before, read(adata))


def test_removing_the_test_cells_never_changes_a_bundle(adata):
    assert_equal(read(adata), read(adata[(adata.obs["split"] != "test").to_numpy()].copy()))


def test_effects_are_against_the_controls_of_the_same_side_and_context(adata):
    bundle = read(adata)
    cells = adata.to_df().groupby(
        [adata.obs["split"], adata.obs["cell_line"], adata.obs["perturbation"]], observed=True
    )
    mean, size = cells.mean(), cells.size()
    for row, condition in enumerate(bundle.conditions):
        side = "val" if bundle.is_val[row] else "train"
        where = (side, bundle.contexts[bundle.context[row]])
        label = condition.without_kinds().label
        np.testing.assert_allclose(
            bundle.delta[row], mean.loc[(*where, label)] - mean.loc[(*where, "control")], atol=1e-5
        )
        assert bundle.n_cells[row] == size.loc[(*where, label)]
    for place, name in enumerate(bundle.contexts):
        np.testing.assert_allclose(bundle.control[place], mean.loc[("train", name, "control")], atol=1e-5)


def test_after_matching_effects_are_against_the_controls_of_the_same_batch_side_and_context(adata):
    spm.pp.match_controls(adata, "batch")
    spm.pp.split_conditions(adata, context="cell_line")
    bundle = read(adata)
    obs = adata.obs[["split", "cell_line", "batch"]].astype(str)
    control = adata.to_df()[adata.obs["is_control"]].groupby([obs[name] for name in obs]).mean()
    differences = adata.to_df() - control.reindex(pd.MultiIndex.from_frame(obs)).to_numpy()
    effect = differences.groupby([obs["split"], obs["cell_line"], adata.obs["perturbation"]], observed=True).mean()
    mean = adata.to_df()[adata.obs["is_control"]].groupby([obs["split"], obs["cell_line"]]).mean()
    for row, condition in enumerate(bundle.conditions):
        where = ("val" if bundle.is_val[row] else "train", bundle.contexts[bundle.context[row]])
        np.testing.assert_allclose(bundle.delta[row], effect.loc[(*where, condition.without_kinds().label)], atol=1e-5)
    for place, name in enumerate(bundle.contexts):
        np.testing.assert_allclose(bundle.control[place], mean.loc[("train", name)], atol=1e-5)


def test_the_cells_behind_the_rows_are_those_of_the_condition_side_and_context(adata):
    bundle = read(adata)
    counts = pd.DataFrame(adata.layers["counts"].toarray(), index=adata.obs_names, columns=adata.var_names)
    for row, condition in enumerate(bundle.conditions):
        own = (adata.obs["perturbation"] == condition.without_kinds().label) & (
            adata.obs["cell_line"] == bundle.contexts[bundle.context[row]]
        )
        np.testing.assert_array_equal(bundle.cells.counts[bundle.cells.row == row].toarray(), counts[own])
    for place, name in enumerate(bundle.contexts):
        own = adata.obs["is_control"] & (adata.obs["split"] == "train") & (adata.obs["cell_line"] == name)
        np.testing.assert_array_equal(bundle.cells.counts[bundle.cells.row == -1 - place].toarray(), counts[own])


def test_selected_genes_are_modelled_and_size_factors_still_use_all_genes(adata):
    whole = read(adata)
    selected = np.arange(30) % 3 == 0
    adata.var["selected"] = selected
    part = read(adata)
    assert part.genes == tuple(adata.var_names[selected])
    np.testing.assert_array_equal(part.delta, whole.delta[:, selected])
    np.testing.assert_array_equal(part.cells.counts.toarray(), whole.cells.counts.toarray()[:, selected])
    np.testing.assert_array_equal(part.cells.size, whole.cells.size)
    totals = np.asarray(adata.layers["counts"].sum(1)).ravel()
    used = (adata.obs["split"] == "train") | ((adata.obs["split"] == "val") & ~adata.obs["is_control"])
    np.testing.assert_allclose(whole.cells.size, totals[used] / 1e4, rtol=1e-6)


def test_a_view_gives_the_bundle_of_its_copy(adata):
    adata.var["selected"] = np.arange(30) < 20
    order = np.random.default_rng(0).permutation(adata.n_obs)
    for cells in (order, order[: adata.n_obs * 4 // 5]):
        view = adata[cells]
        assert view.is_view
        assert_equal(read(view), read(view.copy()))


def test_features_of_measured_genes_that_are_not_modelled_are_kept(adata):
    adata.var["selected"] = np.arange(30) >= 10
    (table,) = read(adata).features
    assert table.names[:20] == tuple(adata.var_names[10:])
    assert set(table.names) == {*adata.var_names, *adata.uns["toy"]["outside"].index}


def test_every_part_carries_the_kind_of_its_cells(adata):
    assert {part.kind for one in read(adata).conditions for part in one.parts} == {"CRISPRi"}
    del adata.obs["perturbation_type"]
    assert {part.kind for one in read(adata).conditions for part in one.parts} == {""}


def test_a_condition_whose_cells_have_no_type_is_read_without_a_kind(adata):
    label = next(one for one in read(adata).conditions if not one.is_control).without_kinds().label
    adata.obs.loc[adata.obs["perturbation"] == label, "perturbation_type"] = np.nan
    kinds = {one.without_kinds().label: {part.kind for part in one.parts} for one in read(adata).conditions}
    assert kinds.pop(label) == {""}
    assert all(kind == {"CRISPRi"} for kind in kinds.values())


def test_in_a_mixed_condition_the_dose_tells_the_drug():
    labels = np.repeat(["control", "TP53_KO+dasatinib@10", "TP53_KO", "dasatinib@10", "X", "Y"], 6)
    x = np.random.default_rng(0).poisson(4, (len(labels), 3)).astype(np.float32)
    adata = AnnData(x, obs=pd.DataFrame({"condition": labels}, index=[str(n) for n in range(len(labels))]))
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    adata.obs["split"] = np.tile(["train", "train", "train", "train", "val", "test"], 6)
    bundle = Bundle.from_adata(adata)
    by_label = {one.without_kinds().label: one.parts for one in bundle.conditions}
    assert by_label["TP53+dasatinib@10"] == (Part("TP53", "knockout"), Part("dasatinib", "drug", 10.0))
    assert by_label["X"] == (Part("X"),)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("CRISPRi", "CRISPRi"), ("unknown", ""), ("control", ""), ("nan", ""), ("drug+unknown", ""), ("CRISPRi+drug", "")],
)
def test_a_type_names_a_kind_only_if_it_names_one(text, kind):
    assert gene_kind(text) == kind


def test_library_sizes_come_from_the_column_that_normalised(adata):
    adata.obs["umi"] = np.asarray(adata.layers["counts"].sum(1)).ravel() * 3.0
    spm.pp.normalize(adata, library_size="umi", target_sum=500)
    used = np.ones(adata.n_obs, dtype=bool)
    np.testing.assert_allclose(cell_sizes(adata, used), np.maximum(adata.obs["umi"], 1) / 500, rtol=1e-6)


def test_the_bundle_of_a_file_is_the_bundle_of_memory(adata, tmp_path):
    adata.write_h5ad(tmp_path / "screen.h5ad")
    assert_equal(read(adata), read(read_h5ad(tmp_path / "screen.h5ad")))


def test_reading_a_bundle_changes_nothing_in_adata(adata):
    before = adata.copy()
    read(adata)
    assert list(adata.obs) == list(before.obs)
    assert set(adata.uns) == set(before.uns)
    np.testing.assert_array_equal(adata.X.toarray(), before.X.toarray())


def test_without_a_context_all_cells_share_one():
    adata = spm.datasets.toy(n_genes=20, n_singles=8, n_doubles=0, cells_per_condition=8, n_control=40)
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata)
    bundle = Bundle.from_adata(adata)
    assert len(bundle.contexts) == 1
    assert bundle.control.shape == (1, 20)
    assert bundle.cells is None
    assert (bundle.training() == np.flatnonzero(~bundle.is_val)).all()


def test_a_validation_context_that_training_lacks_is_left_out(adata):
    strange = ((adata.obs["split"] == "val") & (adata.obs["cell_line"] == "line_B")).to_numpy()
    adata.obs["cell_line"] = adata.obs["cell_line"].astype(object)
    adata.obs.loc[strange, "cell_line"] = "line_C"
    bundle = read(adata, with_cells=True)
    assert bundle.contexts == ("line_A", "line_B")
    assert bundle.cells.row.max() < len(bundle.conditions)
    np.testing.assert_array_equal(
        np.bincount(bundle.cells.row[bundle.cells.row >= 0], minlength=len(bundle.conditions)), bundle.n_cells
    )


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda a: a.obs.__delitem__("perturbation"), KeyError, "spm.pp.perturbation_labels"),
        (lambda a: a.obs.__delitem__("split"), KeyError, "spm.pp.split_conditions"),
        (lambda a: a.__setattr__("X", a.layers["counts"]), ValueError, "raw counts.*spm.pp.normalize"),
        (lambda a: a.__setattr__("X", None), ValueError, "empty.*spm.pp.normalize"),
        (lambda a: a.X.data.__setitem__(5, np.nan), ValueError, "`adata.X` must be finite; found 1"),
        (lambda a: a.__setattr__("var_names", ["A", "A", *a.var_names[2:]]), ValueError, "unique.*'A'"),
        (lambda a: a.obs.__setitem__("split", "test"), ValueError, "at least one training condition"),
        (lambda a: a._inplace_subset_obs(~a.obs["is_control"].to_numpy()), ValueError, "side 'train'.*at least three"),
        (
            lambda a: a._inplace_subset_obs(~(a.obs["is_control"] & (a.obs["split"] == "val")).to_numpy()),
            ValueError,
            "side 'val'",
        ),
        (
            lambda a: a._inplace_subset_obs(~(a.obs["is_control"] & (a.obs["cell_line"] == "line_B")).to_numpy()),
            ValueError,
            "each context.*line_B",
        ),
    ],
)
def test_a_screen_that_is_not_ready_is_refused_with_the_remedy(adata, spoil, error, said):
    spoil(adata)
    with pytest.raises(error, match=said):
        read(adata)


def test_a_backed_screen_is_refused(adata, tmp_path):
    adata.write_h5ad(tmp_path / "screen.h5ad")
    backed = read_h5ad(tmp_path / "screen.h5ad", backed="r")
    with pytest.raises(ValueError, match="to_memory"):
        read(backed)
    backed.file.close()
