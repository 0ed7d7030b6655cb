"""The inverse task from end to end, on the toy world."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scperturbmamba as spm
from scperturbmamba.models.inverse.posterior import Posterior
from scperturbmamba.tl._inverse_models import KNOWN, NETWORKS, SIMPLE
from scperturbmamba.tl._inverse_protocols import make_folds

TINY = {"width": 8, "heads": 2, "queries": 2, "state": 4, "epochs": 2, "units": 64, "batch_size": 32}


def world(**options):
    sizes = {"n_genes": 60, "n_singles": 12, "n_doubles": 4, "n_outside": 2, "cells_per_condition": 60}
    adata = spm.datasets.toy(**{**sizes, "n_control": 240, **options})
    spm.pp.perturbation_labels(adata, "condition")
    spm.pp.normalize(adata)
    return adata


@pytest.fixture(scope="module")
def shared():
    adata = world()
    spm.tl.train_inverse(adata, key=None)
    return adata


@pytest.fixture
def trained(shared):
    return shared.copy()


def labels_of(adata):
    return sorted(set(adata.obs["perturbation"].dropna()) - {"control"})


def singles_of(adata):
    return [label for label in labels_of(adata) if "+" not in label]


# ---------------------------------------------------------------- training


def test_every_single_is_a_candidate_and_the_report_says_how_sure_it_is(trained):
    found = trained.uns["inverse"]
    assert list(found["candidates"].index) == singles_of(trained)
    n_cells = trained.obs["perturbation"].value_counts()
    assert found["candidates"]["n_cells"].to_dict() == {name: n_cells[name] for name in singles_of(trained)}
    assert found["candidates"]["threshold"].between(0, 1).all()
    table = found["held_out"].set_index("cells")
    assert (table.loc[["10", "all"], "mrr"] > 1.5 * table.loc[["10", "all"], "chance_mrr"]).all()
    assert table["chance_top1"].dropna().to_numpy() == pytest.approx(1 / len(singles_of(trained)))


def test_no_perturbed_gene_is_among_those_that_a_model_sees(trained):
    description = json.loads(trained.uns["inverse"]["checkpoint"]["description"])
    targets = {name for label in labels_of(trained) for name in label.split("+")}
    assert not targets & set(description["genes"])
    assert set(description["hidden"]) == targets & set(trained.var_names)
    spm.tl.train_inverse(trained, key=None, mask=None)
    assert trained.uns["inverse"]["params"]["n_hidden"] == 0


def test_the_target_is_masked_under_whichever_name_it_goes():
    adata = world(n_doubles=0)
    adata.var["symbol"] = adata.var_names
    adata.var_names = [f"ENSG{number:011d}" for number in range(adata.n_vars)]
    spm.tl.train_inverse(adata, key=None)
    measured = set(singles_of(adata)) & set(adata.var["symbol"])
    assert adata.uns["inverse"]["params"]["n_hidden"] == len(measured) > 0


def test_the_test_side_is_never_looked_at():
    adata = world()
    spm.pp.split_conditions(adata, "cell")
    other = adata.copy()
    test = (adata.obs["split"] == "test").to_numpy()
    other.X[test] = 0
    other.layers["counts"][test] = 7
    for one in (adata, other):
        spm.tl.train_inverse(one)
    ours, theirs = (one.uns["inverse"]["checkpoint"]["arrays"] for one in (adata, other))
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("model", KNOWN)
def test_every_model_is_trained_stored_and_asked(model, tmp_path):
    adata = world(n_singles=6, n_doubles=2, cells_per_condition=20, n_control=60)
    spm.tl.gene_features(adata, ["identity", "position"], files={"position": adata.uns["toy"]["outside"]})
    spm.tl.train_inverse(adata, model=model, key=None, config=TINY if model in NETWORKS else None)
    spm.tl.rank_perturbations(adata)
    expected = adata.obsm["perturbation_scores"].copy()
    assert list(expected.columns) == ["control", *singles_of(adata)]
    np.testing.assert_allclose(expected.sum(axis=1), 1, rtol=1e-5)
    assert ("history" in adata.uns["inverse"]) == (model in NETWORKS)
    adata.write_h5ad(tmp_path / "one.h5ad")
    again = ad.read_h5ad(tmp_path / "one.h5ad")
    spm.tl.rank_perturbations(again, key_added="again")
    np.testing.assert_allclose(again.obsm["again"], expected, rtol=1e-3, atol=1e-5)


def test_a_network_learns_in_the_end_from_the_cells_that_chose_when_to_stop():
    adata = world(n_singles=6, n_doubles=0, cells_per_condition=20, n_control=60)
    spm.tl.train_inverse(adata, model="mlp", key=None, mask=None, config=TINY)
    control = adata[(adata.obs["perturbation"] == "control").to_numpy()]
    centre = adata.uns["inverse"]["checkpoint"]["arrays"]["model.scale.centre"]
    np.testing.assert_allclose(centre, np.asarray(control.X.mean(0)).ravel(), atol=1e-5)


def test_what_is_wrong_is_said_and_changes_nothing(trained, everything_in):
    before = everything_in(trained)
    for options, error, words in (
        ({"model": "oracle"}, ValueError, "oracle"),
        ({"config": {"strength": 1}}, ValueError, "takes nothing"),
        ({"model": "mlp", "config": {"depth": 1}}, ValueError, "depth"),
        ({"mask": "all"}, ValueError, "mask"),
        ({"batch": "plate"}, KeyError, "plate"),
        ({"key": "split"}, KeyError, "split_conditions"),
    ):
        with pytest.raises(error, match=words):
            spm.tl.train_inverse(trained, **{"key": None, **options})
    for options, error, words in (
        ({"max_parts": 3}, ValueError, "max_parts"),
        ({"min_parts": 2}, ValueError, "min_parts"),
        ({"groupby": "plate"}, KeyError, "plate"),
        ({"key": "other"}, KeyError, "train_inverse"),
    ):
        with pytest.raises(error, match=words):
            spm.tl.rank_perturbations(trained, **options)
    with pytest.raises(ValueError, match="of them are not in `adata`"):
        spm.tl.rank_perturbations(trained[:, :20].copy(), inverse=trained)
    assert everything_in(trained) == before


# ---------------------------------------------------------------- ranking


def test_a_group_is_its_mean_profile(trained):
    labelled = trained[trained.obs["perturbation"].notna().to_numpy()].copy()
    spm.tl.train_inverse(labelled, key=None, mask=None)
    spm.tl.rank_perturbations(labelled, groupby="perturbation")
    groups = labelled.uns["perturbation_scores"]["groups"]
    bulk = spm.pp.pseudobulk(labelled)
    spm.tl.rank_perturbations(bulk, inverse=labelled)
    by_group = labelled.obsm["perturbation_scores"].groupby(labelled.obs["perturbation"], observed=True).first()
    np.testing.assert_allclose(bulk.obsm["perturbation_scores"], by_group.loc[bulk.obs_names], rtol=1e-3, atol=1e-5)
    assert groups["n_cells"].to_dict() == bulk.obs["n_cells"].to_dict()


def test_cells_get_what_is_said_of_their_group(trained):
    spm.tl.rank_perturbations(trained, groupby=["perturbation", "cell_line"])
    groups = trained.uns["perturbation_scores"]["groups"]
    cell = trained.obs.query("perturbation == 'control'").iloc[0]
    row = groups.loc[f"control | {cell['cell_line']}"]
    assert cell["perturbation_inferred"] == row["inferred"] == "control"
    assert cell["perturbation_inferred_probability"] == row["probability"]
    unlabelled = trained.obs["perturbation"].isna()
    assert trained.obs.loc[unlabelled, "perturbation_inferred"].isna().all()
    assert trained.obsm["perturbation_scores"][unlabelled.to_numpy()].isna().all(axis=None)


def test_the_ranking_is_sorted_and_its_first_rows_are_the_groups_own(trained):
    spm.tl.rank_perturbations(trained, groupby="perturbation", max_candidates=5)
    table = trained.uns["perturbation_scores"]["ranking"]
    assert table.groupby("group").size().unique().tolist() == [5]
    assert (table.groupby("group")["probability"].diff().dropna() <= 0).all()
    strong = trained.uns["inverse"]["candidates"].query("reliability > 0.8").index
    first = table[table["rank"] == 1].set_index("group")["perturbation"]
    assert len(strong) > 2
    assert (first[strong] == strong).all()


def test_a_pair_that_is_known_to_be_one_is_named_as_one(trained):
    spm.tl.rank_perturbations(trained, groupby="perturbation", min_parts=2, max_parts=2)
    found = trained.uns["perturbation_scores"]["groups"]["inferred"].astype(str)
    doubles = [label for label in labels_of(trained) if "+" in label]
    assert found.str.count(r"\+").eq(1).all()
    shared_parts = [bool(set(found[label].split("+")) & set(label.split("+"))) for label in doubles]
    assert np.mean(shared_parts) > 0.7  # by chance a third
    columns = trained.obsm["perturbation_scores"]
    assert "control" not in columns
    assert columns.sum(axis=1, min_count=2).mean() == pytest.approx(2, abs=1e-4)


def test_what_does_not_repeat_is_answered_as_control():
    adata = world()
    weak = singles_of(adata)[0]
    cells, control = ((adata.obs["perturbation"] == one).to_numpy() for one in (weak, "control"))
    drawn = np.random.default_rng(0).choice(np.flatnonzero(control), cells.sum())
    adata.X[cells], adata.layers["counts"][cells] = adata.X[drawn], adata.layers["counts"][drawn]
    spm.tl.train_inverse(adata, key=None)
    assert not adata.uns["inverse"]["candidates"].loc[weak, "detectable"]
    spm.tl.rank_perturbations(adata, groupby="perturbation")
    assert adata.uns["perturbation_scores"]["groups"].loc[weak, "inferred"] == "control"


# ---------------------------------------------------------------- labels and leaks


@pytest.mark.parametrize("mask", ["targets", None])
def test_with_permuted_labels_every_simple_model_is_at_chance(mask):
    adata = world(n_doubles=0)
    named = adata.obs["perturbation"].notna().to_numpy()
    labels = adata.obs["perturbation"].to_numpy().copy()
    labels[named] = np.random.default_rng(0).permutation(labels[named])
    adata.obs["perturbation"] = pd.Categorical(labels)
    spm.tl.evaluate_inverse(adata, list(SIMPLE), hold_out="batch", masks=[mask], cells=[1, 10])
    scores = adata.uns["inverse_evaluation"]["scores"].query("metric == 'mrr' and condition != 'control'")
    for model, some in scores.groupby("model"):
        over = some.groupby("condition")["value"].mean() - some["chance"].mean()
        assert stats.ttest_1samp(over, 0, alternative="greater").pvalue > 0.001, model


def test_with_true_labels_every_simple_model_is_above_chance():
    adata = world(n_doubles=0)
    spm.tl.evaluate_inverse(adata, list(SIMPLE), hold_out="batch", masks=["targets"], cells=[10])
    summary = adata.uns["inverse_evaluation"]["summary"].query("metric == 'mrr'").set_index("model")
    assert (summary["low"] > summary["chance"]).all()


def test_a_masked_model_does_not_see_the_knock_down_itself():
    adata = world(n_doubles=0, n_outside=0)
    control = np.flatnonzero((adata.obs["perturbation"] == "control").to_numpy())
    rng, counts = np.random.default_rng(0), adata.layers["counts"].tolil()
    for label in singles_of(adata):  # nothing but the target itself differs from control cells
        cells = np.flatnonzero((adata.obs["perturbation"] == label).to_numpy())
        counts[cells] = counts[rng.choice(control, len(cells))]
        counts[cells, adata.var_names.get_loc(label)] = 0
    adata.X = counts.tocsr()
    del adata.layers["counts"]
    spm.pp.normalize(adata)
    spm.tl.evaluate_inverse(adata, "dictionary", hold_out="batch", cells=[10, "all"])
    found = adata.uns["inverse_evaluation"]["summary"].query("metric == 'top1' and size == 'all'").set_index("mask")
    assert found.loc["none", "value"] > 0.6
    assert found.loc["targets", "value"] < 0.25


# ---------------------------------------------------------------- calibration


def calibration_errors(adata):
    spm.tl.evaluate_inverse(adata, ["dictionary", "discriminant"], hold_out="batch", batch="batch", masks=["targets"])
    found = adata.uns["inverse_evaluation"]["summary"].query("metric == 'calibration_error' and size == 'every'")
    return found.set_index("model")


def test_a_probability_is_how_often_it_is_right_in_a_batch_that_was_never_seen(monkeypatch):
    adata = world(n_genes=80, n_singles=20, n_doubles=0, cells_per_condition=100, n_control=400)
    found = calibration_errors(adata)
    assert (found["value"] <= 0.05).all()
    assert (found["high"] > found["low"]).all()
    monkeypatch.setattr(Posterior, "fit", classmethod(lambda cls, *held: cls()))
    assert calibration_errors(adata).loc["discriminant", "value"] > 0.1  # its scores as they are, too sure


# ---------------------------------------------------------------- protocols


def test_cells_at_random_are_never_held_out(trained):
    spm.pp.split_conditions(trained, "cell")
    trained.obs["barcode"] = trained.obs_names
    for name in ("cells", "random", "split", "barcode"):
        with pytest.raises(ValueError, match="cells at random"):
            spm.tl.evaluate_inverse(trained, "centroid", hold_out=name)


def test_a_replicate_is_on_one_side_and_guides_are_dealt_within_their_gene(trained):
    for fold in make_folds(trained, "batch", 3):
        assert not set(trained.obs.loc[fold.train, "batch"]) & set(trained.obs.loc[fold.test, "batch"])
    guide = trained.obs["perturbation"].astype(str) + "_g" + (np.arange(trained.n_obs) % 3).astype(str)
    trained.obs["guide"] = guide.where(trained.obs["perturbation"].notna())
    folds = make_folds(trained, "guide", 3)
    assert np.sum([fold.test for fold in folds], axis=0).max() == 1
    for fold in folds:
        assert not set(trained.obs.loc[fold.train, "guide"]) & set(trained.obs.loc[fold.test, "guide"])
        assert set(trained.obs.loc[fold.train, "perturbation"]) == set(trained.obs.loc[fold.test, "perturbation"])


def test_doubles_are_asked_for_and_never_trained_on(trained):
    (fold,) = make_folds(trained, "doubles", 3)
    assert trained.obs.loc[fold.test, "perturbation"].str.contains("+", regex=False).all()
    assert not trained.obs.loc[fold.train, "perturbation"].str.contains("+", regex=False).any()
    spm.tl.evaluate_inverse(trained, ["dictionary", "centroid"], hold_out="doubles", cells=["all"], masks=["targets"])
    summary = trained.uns["inverse_evaluation"]["summary"].query("seen == 'both' and size == 'all'")
    summary = summary.set_index(["model", "metric"]).sort_index()
    assert summary.loc[("dictionary", "top1"), "n_candidates"] == 12 * 11 / 2
    assert summary.loc[("dictionary", "top5"), "chance"] == pytest.approx(5 / 66)
    assert summary.loc[("dictionary", "mrr"), "value"] > summary.loc[("dictionary", "mrr"), "chance"]


def test_what_was_seen_of_a_double_is_told(trained):
    label = next(one for one in labels_of(trained) if "+" in one)
    first, second = label.split("+")
    without = trained[~trained.obs["perturbation"].isin([first]).to_numpy()].copy()
    spm.tl.evaluate_inverse(without, "dictionary", hold_out="doubles", cells=["all"], masks=["targets"])
    scores = without.uns["inverse_evaluation"]["scores"].query("condition == @label").set_index("metric")
    assert set(scores["seen"]) == {"one"}
    assert "top1" not in scores.index  # the pair itself cannot be named
    assert {"at_least_one", "recall2"} <= set(scores.index)
    with pytest.raises(ValueError, match="needs combinations"):
        spm.tl.evaluate_inverse(world(n_doubles=0), "centroid", hold_out="doubles")


def test_a_condition_of_three_genes_is_neither_trained_on_nor_asked_for_as_a_pair(trained):
    labels = trained.obs["perturbation"].astype(object)
    double = next(one for one in labels_of(trained) if "+" in one)
    three = "+".join(sorted({*double.split("+"), *singles_of(trained)[:3]})[:3])
    trained.obs["perturbation"] = pd.Categorical(labels.where(labels != double, three))
    spm.tl.evaluate_inverse(trained, "centroid", hold_out="doubles", cells=["all"], masks=["targets"])
    assert three not in set(trained.uns["inverse_evaluation"]["scores"]["condition"])


# ---------------------------------------------------------------- library, signature, search, cycle


def measured(adata, labels):
    """What a perfect forward model would predict."""
    bulk = spm.pp.pseudobulk(adata)
    predicted = bulk[labels].copy()
    predicted.layers["control"] = np.repeat(bulk["control"].X, len(labels), axis=0)
    del predicted.obs["n_cells"]
    return predicted


def test_a_perturbation_that_was_never_made_is_found_through_a_library(trained):
    table = trained.uns["inverse"]["candidates"]
    left_out = table["reliability"].idxmax()
    screen = trained[(trained.obs["perturbation"] != left_out).to_numpy()].copy()
    spm.tl.train_inverse(screen, key=None)
    assert left_out not in screen.uns["inverse"]["candidates"].index
    own = trained[(trained.obs["perturbation"] == left_out).to_numpy()].copy()
    spm.tl.rank_perturbations(own, groupby="perturbation", inverse=screen, library=measured(trained, [left_out]))
    assert own.obs["perturbation_inferred"].unique().tolist() == [left_out]
    spm.tl.train_inverse(screen, model="logistic", key=None)
    with pytest.raises(TypeError, match="compares effects"):
        spm.tl.rank_perturbations(own, inverse=screen, library=measured(trained, [left_out]))


def test_a_library_of_names_is_asked_of_the_predictor(trained):
    spm.pp.split_conditions(trained)
    spm.tl.train_predictor(trained, preset="fast")
    new = next(name for name in trained.var_names if name not in singles_of(trained))
    known = singles_of(trained)[0]
    with pytest.warns(UserWarning, match=new):  # nothing is known of it, so that it acts as the mean
        spm.tl.rank_perturbations(trained, groupby="perturbation", library=[new, known])
    columns = list(trained.obsm["perturbation_scores"].columns)
    assert columns == ["control", *singles_of(trained), new]


def test_a_library_tells_nothing_of_the_target_itself(trained):
    from scperturbmamba.tl._inverse_library import predicted_effects
    from scperturbmamba.tl._inverse_stored import find_inverse

    own = next(name for name in trained.var_names if name not in singles_of(trained))
    predicted = measured(trained, singles_of(trained)[:1])
    predicted.obs["perturbation"] = [own]
    model = find_inverse(trained, None, "inverse")
    place = model.genes.index(own)
    (effect,) = predicted_effects(predicted, model).values()
    assert effect[place] == 0
    assert np.count_nonzero(effect) > len(effect) / 2


def test_a_signature_leads_to_its_perturbation(trained):
    name = trained.uns["inverse"]["candidates"]["reliability"].idxmax()
    change = spm.pp.pseudobulk(trained)[name].to_df(layer="delta").iloc[0].drop(singles_of(trained), errors="ignore")
    ordered = change.sort_values().index
    lists = {"up": list(ordered[-8:]), "down": list(ordered[:8])}
    table = pd.DataFrame({"names": change.index, "logfoldchanges": change.to_numpy(), "pvals": 0.5})
    for signature in (change, change.to_dict(), lists, table, change.to_frame("lfc")):
        assert spm.tl.match_signature(trained, signature)["perturbation"].iloc[0] == name
    found = spm.tl.match_signature(trained, -change)
    assert found["perturbation"].iloc[-1] == name
    assert found["similarity"].iloc[-1] < 0
    assert found["p_value"].between(0, 1).all()


def test_a_signature_of_two_effects_leads_to_the_pair(trained):
    first, second = trained.uns["inverse"]["candidates"]["reliability"].nlargest(2).index
    bulk = spm.pp.pseudobulk(trained)
    both = bulk[[first, second]].to_df(layer="delta").sum()
    found = spm.tl.match_signature(trained, both, max_parts=2)
    assert set(found["perturbation"].iloc[0].split("+")) == {first, second}


def test_a_signature_that_cannot_be_read_is_refused(trained):
    with pytest.raises(ValueError, match="at least 3 genes"):
        spm.tl.match_signature(trained, {"up": ["nothing", "known"]})
    with pytest.raises(TypeError, match="found list"):
        spm.tl.match_signature(trained, ["TP53"])
    with pytest.raises(TypeError, match="one column of log fold changes"):
        spm.tl.match_signature(trained, pd.DataFrame({"a": [1.0], "b": [2.0]}, index=["TP53"]))


def test_a_search_goes_on_where_it_stopped(tmp_path):
    adata = world(n_singles=5, n_doubles=0, cells_per_condition=40, n_control=60)
    options = {"hold_out": "batch", "ranges": {"n_neighbours": (5, 40), "n_components": [5, 10]}}
    for n_trials in (2, 3, 3):
        spm.tl.search_inverse(adata, "knn", n_trials=n_trials, storage=tmp_path / "search.db", **options)
        assert len(adata.uns["inverse_search"]["trials"]) == n_trials
    best = json.loads(adata.uns["inverse_search"]["params"]["best"])
    trials = adata.uns["inverse_search"]["trials"]
    assert trials["n_neighbours"].between(5, 40).all()
    assert best["n_neighbours"] == trials.loc[trials["value"].idxmax(), "n_neighbours"]
    spm.tl.train_inverse(adata, model="knn", config=best, key=None)


def test_a_search_refuses_what_it_cannot_try():
    adata = world(n_singles=5, n_doubles=2, cells_per_condition=20, n_control=60)
    for model, options, words in (
        ("dictionary", {}, "no settings"),
        ("knn", {"ranges": {"k": (1, 2)}}, "takes"),
        ("knn", {"ranges": {"n_neighbours": 7}}, "must be"),
        ("knn", {"hold_out": "doubles"}, "must not see combinations"),
    ):
        with pytest.raises(ValueError, match=words):
            spm.tl.search_inverse(adata, model, **{"hold_out": "batch", **options})


def test_the_inverse_finds_what_a_forward_model_was_asked_for(trained, monkeypatch):
    import scperturbmamba.tl._inverse_cycle as cycle

    monkeypatch.setattr(cycle, "predict", lambda adata, labels, key: with_seen(measured(adata, labels)))
    trained.uns["predictor"] = {}
    table = spm.tl.cycle_consistency(trained)
    strong = trained.uns["inverse"]["candidates"].query("reliability > 0.8").index
    assert (table.loc[strong, "rank"] == 1).all()
    assert (table["n_candidates"] == len(table)).all()
    assert table["chance"].to_numpy() == pytest.approx(np.mean(1 / np.arange(1, len(table) + 1)))
    with pytest.raises(ValueError, match="none of"):
        monkeypatch.setattr(cycle, "predict", lambda adata, labels, key: with_seen(measured(adata, labels))[:0])
        spm.tl.cycle_consistency(trained, singles_of(trained)[:1])


def with_seen(predicted):
    predicted.obs["seen"] = True
    return predicted
