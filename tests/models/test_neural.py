import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from scperturbmamba.data.conditions import Condition
from scperturbmamba.engine import mixers
from scperturbmamba.engine.config import NetConfig, TrainConfig
from scperturbmamba.engine.scan import mix_with, scan_sequential
from scperturbmamba.models.network_alone import NetworkAlone
from scperturbmamba.models.neural import BiMamba
from scperturbmamba.models.trained import Trained

torch.set_num_threads(1)

TINY = {"width": 8, "head_width": 8, "state": 4, "identity_width": 4, "position_width": 2}


def fitted(bundle, *, epochs=3, every=1, lr=3e-3, seed=0, **net):
    training = TrainConfig(epochs=epochs, batch_conditions=5, every_n_epochs=every, lr=lr, patience=99)
    return BiMamba(NetConfig(**{**TINY, **net}), training, random_state=seed, device="cpu").fit(bundle)


def asked(*labels):
    return [Condition.parse(label).with_kind("CRISPRi") for label in labels]


LABELS = ("G00", "G04", "G00+G04", "OUT1", "OUT2", "NOWHERE", "control")


@pytest.mark.parametrize("head", ["linear", "nb"])
@pytest.mark.parametrize("mixer", ["mamba2", "lstm"])
def test_any_condition_gets_an_effect_on_every_gene_and_the_control_none(make_bundle, mixer, head):
    model = fitted(make_bundle(cells=head == "nb"), mixer=mixer, head=head, epochs=2)
    found = model.predict(asked(*LABELS), context=1)
    assert found.shape == (7, 12) and found.dtype == np.float32
    assert np.isfinite(found).all()
    assert (np.abs(found[:-1]) > 0).all() and not found[-1].any()
    assert not np.allclose(found, model.predict(asked(*LABELS), context=0))


def test_the_same_seed_gives_the_same_model_and_leaves_the_session_s_random_state_alone(bundle):
    before = torch.get_rng_state()
    one = fitted(bundle).predict(asked("G00", "G04"))
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(9)
    assert np.array_equal(fitted(bundle).predict(asked("G00", "G04")), one)
    assert not np.allclose(fitted(bundle, seed=1).predict(asked("G00", "G04")), one)


@pytest.mark.parametrize("head", ["linear", "nb"])
def test_effects_come_in_the_order_of_the_screen(make_bundle, permuted, head):
    data, order = make_bundle(cells=head == "nb"), np.random.default_rng(3).permutation(12)
    one, other = fitted(data, head=head), fitted(permuted(data, order), head=head)
    found, expected = other.predict(asked(*LABELS)), one.predict(asked(*LABELS))[:, order]
    assert np.abs(expected).max() > 1e-2
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_many_conditions_at_once_are_predicted_as_one_by_one(bundle):
    model = fitted(bundle)
    many = asked(*LABELS * 10)
    whole = model.predict(many)
    for row in (0, 33, 69):
        np.testing.assert_allclose(model.predict([many[row]])[0], whole[row], atol=1e-5)


def test_the_validation_rows_never_move_the_weights(bundle):
    one = fitted(bundle, epochs=1)
    bundle.delta[bundle.is_val] += 10
    other = fitted(bundle, epochs=1)
    for name, value in one.predictor.state_dict().items():
        assert torch.equal(value, other.predictor.state_dict()[name]), name


def test_what_was_seen_is_remembered_by_label_and_context(bundle):
    model = fitted(bundle, epochs=1)
    assert model.frame.seen[("G00", "A")] == 10 and model.frame.seen[("G00+G01", "A")] == 14
    assert ("G04", "A") not in model.frame.seen and ("G03", "B") not in model.frame.seen


def test_an_unseen_gene_is_told_by_its_features(bundle):
    model = fitted(bundle)
    one, other = np.delete(model.predict(asked("G07", "G08")), [7, 8], axis=1)
    assert not np.allclose(one, other)
    row = model.frame.encoder.names.index("G07")
    before = model.predict(asked("G07"))
    model.frame.encoder.code[row] += 5
    assert np.array_equal(model.predict(asked("G07")), before)
    model.frame.encoder.features[row] += 5
    assert not np.allclose(model.predict(asked("G07")), before)


def test_features_learnt_later_change_the_prediction_of_their_gene_only(bundle):
    model = fitted(bundle)
    before = model.predict(asked(*LABELS))
    tables = tuple(
        replace(one, names=(*one.names, "NOWHERE"), values=np.vstack([one.values, one.values[:1] + 1]))
        for one in bundle.features
    )
    model.frame = model.frame.with_encoder(model.frame.encoder.extended(tables))
    changed = (model.predict(asked(*LABELS)) != before).any(1)
    assert changed.tolist() == [label == "NOWHERE" for label in LABELS]


def test_predictions_are_for_the_covariates_of_control_cells(make_bundle):
    data = make_bundle(covariates=True)
    model = fitted(data)
    before = model.predict(asked("G00"))
    data.covariates.control[:] = 3
    assert not np.allclose(model.predict(asked("G00")), before)


def test_the_counts_head_learns_the_effects_that_the_cells_show(make_bundle):
    data = make_bundle(cells=True)
    model = fitted(data, head="nb", epochs=100, every=100, lr=1e-2, width=16, identity_dropout=0.0)
    logs = np.log1p(data.cells.counts.toarray() / data.cells.size[:, None])
    control = logs[data.cells.row == -1].mean(0)
    found = model.predict(list(data.conditions[:6]), context=0)
    measured = [logs[data.cells.row == row].mean(0) - control for row in range(6)]
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(found, measured)]) > 0.7


def test_a_linear_head_has_no_cells_to_draw(bundle):
    with pytest.raises(ValueError, match='"head": "nb"'):
        Trained(NetworkAlone(fitted(bundle, epochs=1), [])).sample(asked("G00"), 3)


def test_cells_are_whole_numbers_around_the_expected_counts(make_bundle):
    model = fitted(make_bundle(cells=True), head="nb", epochs=2)
    sample = Trained(NetworkAlone(model, [])).sample
    conditions = asked("G00", "control", "OUT2")
    counts = sample(conditions, 20_000, context=1, random_state=5)
    assert counts.shape == (3, 20_000, 12)
    assert (counts >= 0).all() and (counts == np.rint(counts)).all()
    inputs = model.frame.encoder.encode(conditions, np.ones(3, np.int64), np.zeros((3, 0), np.float32))
    with torch.no_grad():
        shift = model.predictor(inputs).shift.numpy()[:, np.argsort(model.frame.encoder.order)]
    shift[1] = 0
    expected = np.exp(model.frame.count_model.log_rate[1] + shift) * model.frame.count_model.sizes.mean()
    error = counts.std(1) / np.sqrt(20_000)
    assert (np.abs(counts.mean(1) - expected) < 5 * error + 1e-3).all()
    assert np.array_equal(sample(conditions, 9, random_state=5), sample(conditions, 9, random_state=5))
    assert not np.array_equal(sample(conditions, 9, random_state=5), sample(conditions, 9, random_state=6))


def test_training_says_nothing_on_the_console(bundle, capsys, caplog):
    with caplog.at_level(logging.INFO):
        fitted(bundle, epochs=1)
    assert capsys.readouterr() == ("", "")
    assert not caplog.records


@pytest.mark.parametrize("head", ["linear", "nb"])
def test_what_was_trained_on_one_engine_predicts_on_the_other(make_bundle, monkeypatch, head):
    def by_steps(proj, weights, dt, A, *, engine):
        return mix_with(scan_sequential, proj, weights, dt, A)

    here = fitted(make_bundle(cells=head == "nb"), head=head)
    with monkeypatch.context() as patch:
        patch.setattr(mixers, "mix", by_steps)
        there = fitted(make_bundle(cells=head == "nb"), head=head)
        moved = here.predict(asked(*LABELS))
    np.testing.assert_allclose(moved, here.predict(asked(*LABELS)), atol=1e-5)
    np.testing.assert_allclose(there.predict(asked(*LABELS)), moved, atol=1e-3)  # and the trainings were one
