import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger

import scperturbmamba as spm
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.tl import _train

PARAMS = {
    "preset",
    "core",
    "head",
    "context",
    "covariates",
    "net",
    "train",
    "random_state",
    "response",
    "split",
    "features",
}
HISTORY = ["network", "epoch", "step", "train_loss", "val_loss", "train_r2", "val_r2", "lr", "seconds"]


def weights(adata, key="predictor"):
    return adata.uns[key]["checkpoint"]["arrays"]


def same_weights(one, other):
    return set(one) == set(other) and all(np.array_equal(one[name], other[name]) for name in one)


def test_training_writes_one_slot_and_nothing_else(screen, train_tiny, everything_in):
    before = everything_in(screen)
    assert train_tiny(screen) is None
    slot = screen.uns["predictor"]
    assert set(slot) == {"params", "history", "report", "checkpoint"}
    assert set(slot["params"]) == PARAMS and slot["params"]["features"] == ["identity", "position", "sets"]
    assert sorted(slot["history"]) == sorted(HISTORY)
    assert slot["history"]["epoch"].tolist() == [1, 2, 3]
    del screen.uns["predictor"]
    assert everything_in(screen) == before


def test_a_second_predictor_goes_under_its_own_name(trained, train_tiny):
    train_tiny(trained, random_state=1, key_added="second")
    assert not same_weights(weights(trained), weights(trained, "second"))
    one, other = (spm.tl.predict(trained, "TP53", key=key) for key in ("predictor", "second"))
    assert not np.allclose(one.X, other.X)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(trained, train_tiny):
    np.random.rand(3)
    again, other = trained.copy(), trained.copy()
    train_tiny(again, random_state=np.int64(0))
    train_tiny(other, random_state=1)
    assert same_weights(weights(again), weights(trained))
    assert not same_weights(weights(other), weights(trained))
    assert again.uns["predictor"]["params"] == trained.uns["predictor"]["params"]


@pytest.mark.parametrize("head", ["linear", "nb"])
def test_cells_of_the_test_side_never_influence_the_weights(screen, train_tiny, head):
    poisoned, without = screen.copy(), screen[(screen.obs["split"] != "test").to_numpy()].copy()
    test = (screen.obs["split"] == "test").to_numpy()
    rng = np.random.default_rng(0)
    for layer, draw in (("counts", rng.poisson(30, (test.sum(), 40))), (None, rng.gamma(2, 2, (test.sum(), 40)))):
        matrix = (poisoned.X if layer is None else poisoned.layers[layer]).toarray()
        matrix[test] = draw
        if layer is None:
            poisoned.X = sp.csr_matrix(matrix)
        else:
            poisoned.layers[layer] = sp.csr_matrix(matrix)
    for one in (screen, poisoned, without):
        train_tiny(one, net={"core": None, "width": 8, "head_width": 8, "state": 4, "head": head})
    assert same_weights(weights(screen), weights(poisoned))
    assert same_weights(weights(screen), weights(without))


def test_training_cells_do_influence_the_weights(screen, trained, train_tiny):
    matrix = screen.X.toarray()
    matrix[(screen.obs["split"] == "train").to_numpy()] *= 0.5
    screen.X = sp.csr_matrix(matrix)
    train_tiny(screen)
    assert not same_weights(weights(screen), weights(trained))


@pytest.mark.parametrize(
    "given", [{"core": None, "mixer": "lstm", "width": 8}, NetConfig(core=None, mixer="lstm", width=8)]
)
def test_a_network_is_given_by_its_fields_or_as_a_whole(screen, given):
    spm.tl.train_predictor(screen, net=given, train=TrainConfig(epochs=1))
    found = json.loads(screen.uns["predictor"]["params"]["net"])
    assert (found["mixer"], found["width"]) == ("lstm", 8)
    assert any("lstm" in name for name in weights(screen))
    assert len(spm.get.history(screen)) == 1


@pytest.mark.parametrize("given", [{"core": None, "head": "nb"}, NetConfig(core=None, head="nb")])
def test_a_head_asked_for_in_the_network_is_not_forgotten(screen, given):
    small = {"width": 8, "head_width": 8, "state": 4}
    net = {**given, **small} if isinstance(given, dict) else given.model_copy(update=small)
    spm.tl.train_predictor(screen, net=net, train={"epochs": 1})
    assert screen.uns["predictor"]["params"]["head"] == "nb"


def test_covariates_reach_the_network(screen, train_tiny):
    screen.obs["depth"] = np.asarray(screen.layers["counts"].sum(1)).ravel()
    train_tiny(screen, covariates=["depth", "batch"])
    assert screen.uns["predictor"]["params"]["covariates"] == ["depth", "batch"]
    described = json.loads(screen.uns["predictor"]["checkpoint"]["description"])
    assert described["covariates"] == ["depth", "batch=batch1", "batch=batch2", "batch=batch3"]
    assert weights(screen)["speaker.net.condition.covariates.weight"].shape[1] == 4
    before = spm.tl.predict(screen, "TP53").X
    weights(screen)["frame.control_covariates"][:] += 1
    assert not np.allclose(spm.tl.predict(screen, "TP53").X, before)


def test_only_selected_genes_are_modelled(screen, train_tiny):
    screen.var["selected"] = np.arange(40) % 2 == 0
    train_tiny(screen)
    predicted = spm.tl.predict(screen, ["TP53", "KLF15"])
    assert list(predicted.var_names) == list(screen.var_names[::2])
    spm.tl.evaluate(predicted, screen)
    assert predicted.obs["mse"].notna().tolist() == [False, True]


def test_a_screen_without_features_can_be_learned_too(screen, train_tiny):
    for name in ("identity", "position", "sets"):
        del screen.varm[f"gene_{name}"], screen.uns[f"gene_{name}"]
    train_tiny(screen)
    assert screen.uns["predictor"]["params"]["features"] == []
    assert np.isfinite(spm.tl.predict(screen, "GATA2").X).all()


def test_a_view_is_trained_and_its_parent_left_alone(screen, train_tiny):
    view = screen[:, screen.var_names[:30]]
    with pytest.warns(ad.ImplicitModificationWarning):
        train_tiny(view)
    assert "predictor" in view.uns and "predictor" not in screen.uns
    assert spm.tl.predict(view, "GATA2").n_vars == 30


def test_a_lightning_logger_is_passed_on(screen, train_tiny, tmp_path):
    logger = CSVLogger(tmp_path, name="run", version=0)
    train_tiny(screen, train={"epochs": 3, "every_n_epochs": 1, "logger": logger})
    logged = pd.read_csv(tmp_path / "run" / "version_0" / "metrics.csv")
    np.testing.assert_allclose(logged["val_loss"].dropna(), screen.uns["predictor"]["history"]["val_loss"], rtol=1e-5)


class Interrupt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_epoch_start(self, trainer, module):
        if trainer.current_epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize("epoch", [0, 2])
def test_an_interrupted_training_leaves_a_predictor_that_can_be_used_and_kept(
    screen, train_tiny, monkeypatch, tmp_path, epoch
):
    monkeypatch.setattr(_train, "named_callbacks", lambda epochs: lambda name: [Interrupt(epoch)])
    train_tiny(screen)
    assert screen.uns["predictor"]["report"]["stopped"] == "interrupted"
    assert len(spm.get.history(screen)) == epoch
    screen.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    assert np.array_equal(spm.tl.predict(back, "GATA2").X, spm.tl.predict(screen, "GATA2").X)
    assert len(spm.pl.loss_curves(back)) == 2


# refusals: each by name, with the remedy, and nothing is written


def without_controls(adata):
    return adata[~adata.obs["is_control"].to_numpy()].copy()


def nothing_to_train_on(adata):
    adata.obs.loc[~adata.obs["is_control"] & (adata.obs["split"] == "train"), "split"] = "test"
    return adata


def raw_counts(adata):
    adata.X = adata.layers["counts"].copy()
    return adata


def no_counts(adata):
    del adata.layers["counts"]
    return adata


def with_nan(adata):
    adata.X = adata.X.toarray()
    adata.X[7, 3] = np.nan
    return adata


def twice_one_gene(adata):
    adata.var_names = [adata.var_names[1], *adata.var_names[1:]]
    return adata


def with_unknown_depth(adata):
    adata.obs["depth"] = np.nan
    return adata


def controls_in_one_line_only(adata):
    gone = adata.obs["is_control"] & (adata.obs["cell_line"] == "line_B")
    return adata[~gone.to_numpy()].copy()


def drop(slot, name):
    def change(adata):
        del getattr(adata, slot)[name]
        return adata

    return change


@pytest.mark.parametrize(
    ("spoil", "options", "error", "text"),
    [
        (drop("obs", "perturbation"), {}, KeyError, "spm.pp.perturbation_labels"),
        (drop("obs", "split"), {}, KeyError, "spm.pp.split_conditions"),
        (raw_counts, {}, ValueError, r"spm\.pp\.normalize"),
        (without_controls, {}, ValueError, "control cells"),
        (controls_in_one_line_only, {"context": "cell_line"}, ValueError, r"none in \['line_B'\]"),
        (nothing_to_train_on, {}, ValueError, "at least one training condition"),
        (with_nan, {}, ValueError, "must be finite.*row 7"),
        (twice_one_gene, {}, ValueError, "must be unique"),
        (no_counts, {"net": {"head": "nb"}}, ValueError, "expected raw counts"),
        (with_unknown_depth, {"covariates": ["depth"]}, ValueError, "depth.*hold NaN"),
        (None, {"covariates": "depht"}, KeyError, "depht"),
        (None, {"context": "cell_lin"}, KeyError, "Did you mean 'cell_line'"),
        (None, {"net": {"head": "poisson"}}, ValueError, "head"),
        (None, {"net": {"wdith": 4}}, ValueError, r"wdith.*Known: \['core', 'mixer'.*'width'"),
        (None, {"train": {"learning_rate": 4}}, ValueError, r"learning_rate.*Known: \['epochs'.*'lr'"),
        (None, {"net": {"static_layers": 2}}, ValueError, "must be below layers"),
    ],
)
def test_bad_input_is_refused_with_the_remedy_and_nothing_is_written(
    screen, train_tiny, everything_in, spoil, options, error, text
):
    adata = spoil(screen) if spoil else screen
    before = everything_in(adata)
    with pytest.raises(error, match=text):
        train_tiny(adata, **options)
    assert everything_in(adata) == before


def test_a_backed_screen_is_refused(screen, train_tiny, tmp_path):
    screen.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match=r"to_memory\(\)"):
        train_tiny(backed)
    backed.file.close()


def test_one_condition_alone_is_refused_at_the_split(screen):
    alone = screen[screen.obs["perturbation"].isin(["control", "GATA2"]).to_numpy()].copy()
    del alone.obs["split"]
    with pytest.raises(ValueError, match="found 1 perturbations"):
        spm.pp.split_conditions(alone)
    assert "split" not in alone.obs


def test_a_loss_that_is_no_number_names_the_batch_and_writes_nothing(screen, train_tiny):
    screen.X = screen.X.toarray()
    screen.X[(screen.obs["perturbation"] == "GATA2").to_numpy()] = 1e38
    message = r"training loss became (inf|nan).*Lower the rate"
    with pytest.raises(RuntimeError, match=message), np.errstate(all="ignore"):
        train_tiny(screen, train={"epochs": 1, "batch_conditions": 1})
    assert "predictor" not in screen.uns


def test_a_network_of_counts_says_that_it_knows_no_matched_controls(screen, train_tiny):
    screen.obs["plate"] = np.arange(screen.n_obs) % 2
    screen.obs["plate"] = screen.obs["plate"].astype(str)
    spm.pp.match_controls(screen, "plate")
    with pytest.warns(UserWarning, match="not of their group"):
        train_tiny(screen, net={"core": None, "head": "nb"})
