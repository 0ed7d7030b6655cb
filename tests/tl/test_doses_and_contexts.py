"""Drugs at doses, other kinds of perturbation and other contexts, through the public calls."""

import numpy as np
import pytest

import scperturbmamba as spm


@pytest.fixture(scope="module")
def drugs():
    adata = spm.datasets.toy_drugs(n_drugs=40, n_genes=60)
    spm.pp.perturbation_labels(adata, "drug", dose="dose", dose_unit="dose_unit")
    spm.pp.normalize(adata)
    spm.pp.match_controls(adata, "plate", context="cell_line")
    spm.tl.drug_features(adata)
    return adata


def split_and_trained(adata, scheme, **options):
    adata = adata.copy()
    spm.pp.split_conditions(adata, scheme, **options)
    spm.tl.train_predictor(adata, preset="fast", context="cell_line")
    return adata


@pytest.fixture(scope="module")
def trained(drugs):
    return split_and_trained(drugs, "perturbation")


def held_out(adata):
    rows = adata.obs[(adata.obs["split"] == "test") & ~adata.obs["is_control"]]
    pairs = rows[["perturbation", "cell_line"]].drop_duplicates().astype(str)
    return list(pairs.itertuples(index=False, name=None))


def true_effects(adata, pairs):
    toy = adata.uns["toy"]
    return np.array([toy["effects" if line == "line_A" else "effects_second"].loc[label] for label, line in pairs])


def left(said, true):
    """The share of the squares of the truth that is left, at the best scale: log means are not changes of a log1p."""
    factor = (said * true).sum() / np.square(said).sum()
    return 1 - factor * (said * true).sum() / np.square(true).sum()


@pytest.mark.parametrize(
    ("scheme", "options", "most"),
    [
        ("perturbation", {}, 0.85),
        ("dose", {}, 0.65),
        ("pair", {"context": "cell_line"}, 0.60),
        ("context", {"context": "cell_line", "held_out": "line_B"}, 0.70),
    ],
)
def test_what_was_held_out_is_told_better_than_by_the_mean(drugs, scheme, options, most):
    adata = split_and_trained(drugs, scheme, **options)
    pairs = held_out(adata)
    found = spm.tl.predict(adata, list(dict.fromkeys(label for label, _ in pairs)))
    found = found[[f"{label} | {line}" for label, line in pairs]]
    true = true_effects(adata, pairs)
    rest = left(np.asarray(found.layers["delta"]), true)
    assert rest < most
    assert rest < left(np.asarray(found.layers["mean"]), true) - 0.1


def test_dose_0_is_the_control_and_order_is_of_no_account(trained):
    names = sorted({label.split("@")[0] for label in trained.obs["perturbation"].cat.categories if "@" in label})[:2]
    one, other = names
    found = spm.tl.predict(trained, [f"{one}@0", f"{one}@1", f"{one}@1+{other}@0"], context="line_A")
    assert list(found.obs["perturbation"]) == ["control", f"{one}@1"]
    assert (np.asarray(found[0].layers["delta"]) == 0).all()
    pair = [f"{one}@1+{other}@10", f"{other}@10+{one}@1"]
    assert spm.tl.predict(trained, pair, context="line_A").n_obs == 1


def test_effects_grow_from_nothing_with_the_dose(trained):
    name = next(label.split("@")[0] for label in trained.obs["perturbation"].cat.categories if "@" in label)
    found = spm.tl.predict(trained, [f"{name}@{dose}" for dose in (1e-6, 1e-3, 10)], context="line_A")
    size = np.abs(np.asarray(found.layers["delta"])).sum(1)
    assert size[0] < 0.01 * size[2]
    assert size[0] < size[1] < size[2]


def test_a_dose_is_asked_for_in_any_unit_of_its_family(trained):
    name = next(label.split("@")[0] for label in trained.obs["perturbation"].cat.categories if "@" in label)
    micro, nano = (spm.tl.predict(trained, label, context="line_A") for label in (f"{name}@1", f"{name}@1000 nM"))
    np.testing.assert_array_equal(micro.layers["delta"], nano.layers["delta"])
    with pytest.raises(ValueError, match="mg/kg"):
        spm.tl.predict(trained, f"{name}@1 mg/kg")
    with pytest.raises(ValueError, match="unit"):
        spm.tl.predict(trained, f"{name}@1 spoons")


def test_a_drug_that_is_known_by_its_structure_alone_is_more_than_the_mean(trained):
    label, _ = held_out(trained)[0]
    found = spm.tl.predict(trained, label, context="line_A")
    assert found.obs["support"].iloc[0] == "features"
    assert found.obs["nearest"].iloc[0]
    assert np.abs(np.asarray(found.layers["core"])).max() > 0


def test_the_three_terms_add_up_and_the_mean_grows_with_the_dose(trained):
    name = next(label.split("@")[0] for label in trained.obs["perturbation"].cat.categories if "@" in label)
    found = spm.tl.predict(trained, [f"{name}@0.1", f"{name}@10"])
    total = sum(np.asarray(found.layers[layer]) for layer in ("mean", "core", "residual"))
    np.testing.assert_allclose(total, found.layers["delta"], atol=1e-5)
    size = np.abs(np.asarray(found.layers["mean"])).sum(1)
    assert size[0] < size[1]


def test_a_predictor_of_doses_survives_a_folder(trained, tmp_path):
    spm.tl.save_predictor(trained, tmp_path / "p")
    labels = [label for label in trained.obs["perturbation"].cat.categories if "@" in label][:4]
    one = spm.tl.predict(trained, labels)
    other = spm.tl.predict(trained, labels, predictor=tmp_path / "p")
    np.testing.assert_array_equal(one.layers["delta"], other.layers["delta"])
    np.testing.assert_array_equal(one.layers["upper"], other.layers["upper"])


def test_baselines_of_doses_and_contexts_stand_beside_the_predictor(trained):
    told = trained.uns["predictor"]["report"]["baselines"]
    assert {"nearest_dose", "log_linear_dose", "dose_mean", "context_mean", "context_additive"} <= set(told.index)


@pytest.fixture(scope="module")
def other_line(drugs):
    """A line of which only the controls are known, and some genes are called otherwise."""
    adata = drugs[drugs.obs["is_control"] & (drugs.obs["cell_line"] == "line_B")].copy()
    adata.obs["cell_line"] = "line_C"
    for slot in list(adata.uns):
        del adata.uns[slot]
    return adata


def test_a_line_of_which_only_the_controls_are_known(trained, other_line):
    labels = [label for label in trained.obs["perturbation"].cat.categories if "@10" in label][:3]
    found = spm.tl.predict(other_line, labels, predictor=trained)
    assert set(found.obs["context"]) == {"line_C"}
    np.testing.assert_allclose(found.layers["control"][0], other_line.X.toarray().mean(0), rtol=1e-4)
    known = spm.tl.predict(trained, labels)
    lines = [known[known.obs["context"] == line].layers["delta"] for line in ("line_A", "line_B")]
    for one in lines:
        assert np.corrcoef(np.ravel(found.layers["delta"]), np.ravel(one))[0, 1] > 0.9
    assert np.isfinite(found.layers["sd"]).all()
    assert set(spm.tl.screen(other_line, labels, predictor=trained).obs["context"]) == {"line_C"}
    assert set(spm.tl.predict(other_line, labels, predictor=trained, context="line_A").obs["context"]) == {"line_A"}


def test_another_screen_without_contexts_brings_its_own_control(trained_without_contexts):
    adata, other = trained_without_contexts
    found = spm.tl.predict(other, "KLF1", predictor=adata)
    assert list(found.obs["context"]) == ["new"]
    np.testing.assert_allclose(found.layers["control"][0], np.asarray(other.X.mean(0)).ravel(), rtol=1e-4)
    known, rest = spm.tl.predict(adata, "KLF1"), adata.var_names != "KLF1"  # its own change hangs on its own level
    np.testing.assert_array_equal(found.layers["delta"][:, rest], known.layers["delta"][:, rest])
    assert np.isnan(found.layers["sd"]).all()  # one context tells nothing of how far another is
    assert "new" not in spm.tl.predict(adata, "KLF1").obs["context"].tolist()


@pytest.fixture
def trained_without_contexts():
    adata = spm.datasets.toy(n_genes=40, n_singles=20, n_doubles=1, cells_per_condition=12)
    spm.pp.perturbation_labels(adata, "condition", perturbation_type="CRISPRi")
    spm.pp.normalize(adata)
    spm.pp.split_conditions(adata)
    spm.tl.train_predictor(adata, preset="fast")
    other = adata[adata.obs["is_control"]].copy()
    other.obs = other.obs[["is_control"]]
    other.uns.clear()
    other.X = other.X * 0.5
    return adata, other


def test_activation_is_told_from_a_screen_of_silencing_with_the_sign_turned(trained_without_contexts):
    adata, _ = trained_without_contexts
    seen = adata.obs.loc[(adata.obs["split"] == "train") & ~adata.obs["is_control"], "perturbation"].astype(str)
    gene = next(label for label in sorted(set(seen)) if label in adata.var_names)
    down, up = (np.asarray(spm.tl.predict(adata, label).layers["delta"])[0] for label in (gene, f"{gene}:CRISPRa"))
    own = adata.var_names.get_loc(gene)
    assert down[own] < 0 < up[own]
    mean = np.asarray(spm.tl.predict(adata, gene).layers["mean"])[0]
    rest = np.arange(adata.n_vars) != own
    np.testing.assert_allclose((up - mean)[rest], -0.5 * (down - mean)[rest], atol=1e-4)


def test_a_named_condition_is_a_part_like_others(drugs):
    adata = drugs[drugs.obs["cell_line"] == "line_A"].copy()
    adata.obs["what"] = adata.obs["drug"].astype(str).replace({"control": "control"})
    names = sorted(set(adata.obs["what"]) - {"control"})
    adata.obs["what"] = adata.obs["what"].replace({names[0]: "hypoxia", names[1]: "heat shock"})
    plain = adata.copy()
    spm.pp.perturbation_labels(plain, "what", perturbation_type="other")
    spm.pp.split_conditions(plain, "perturbation")
    spm.tl.train_predictor(plain, preset="fast")
    found = spm.tl.predict(plain, ["hypoxia", "heat shock", "cold shock"])
    assert found.obs["support"].iloc[2] == "none"
    assert np.isfinite(found.layers["delta"]).all()
