"""The response surface: its kernel, its process against direct solutions, and what it says over doses and contexts."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scperturbmamba.data.bundle import Bundle
from scperturbmamba.data.conditions import Condition, Part
from scperturbmamba.data.control_groups import SharedControls
from scperturbmamba.data.covariates import Covariates
from scperturbmamba.data.doses import Doses
from scperturbmamba.models.knowledge import Knowledge
from scperturbmamba.models.surface import Surface, SurfaceHere
from scperturbmamba.models.surface.noise import RowNoise
from scperturbmamba.models.surface.points import Scene, places_of
from scperturbmamba.models.surface.process import Process, whitening
from scperturbmamba.models.surface.shape import Shape

DOSES, GENES = (0.1, 1.0, 10.0), 30


def world(n_drugs=16, contexts=("A", "B"), noise=0.05, seed=0):
    """Effects of drugs at three doses in every context: a Hill function times a profile, times the context's gain."""
    rng = np.random.default_rng(seed)
    profile, at = rng.normal(size=(n_drugs, GENES)), rng.uniform(0.3, 3, n_drugs)
    gain = {name: 1 - 0.3 * number for number, name in enumerate(contexts)}
    rows = [(d, dose, c) for c in range(len(contexts)) for d in range(n_drugs) for dose in DOSES]
    true = np.array([gain[contexts[c]] * dose / (dose + at[d]) * profile[d] for d, dose, c in rows])
    conditions = tuple(Condition((Part(f"drug{d:02d}", "drug", dose),)) for d, dose, _ in rows)
    n = len(rows)
    data = Bundle(
        genes=tuple(f"G{gene:02d}" for gene in range(GENES)),
        conditions=conditions,
        context=np.array([c for _, _, c in rows]),
        contexts=tuple(contexts),
        delta=(true + noise * rng.normal(size=true.shape)).astype(np.float32),
        se=np.full(true.shape, noise, np.float32),
        n_cells=np.full(n, 100),
        is_val=np.zeros(n, bool),
        control=np.ones((len(contexts), GENES), np.float32),
        covariates=Covariates((), np.zeros((n, 0), np.float32), np.zeros(0, np.float32)),
        features=(),
        doses=Doses({f"drug{d:02d}": DOSES[-1] for d in range(n_drugs)}),
    )
    return data, true


def without(data, keep):
    return replace(data.take(np.flatnonzero(keep)), doses=data.doses)


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=6), st.floats(0.01, 10), st.floats(0.1, 3), st.floats(0.3, 5))
def test_the_gate_is_nothing_at_dose_0_and_never_falls(doses, at, spread, slope):
    gate = Shape(half=at, spread=spread, slope=slope).gate(np.array([0.0, *sorted(doses)]))
    assert (gate[0] == 0).all()
    assert (np.diff(gate, axis=0) >= -1e-12).all()
    assert (np.square(gate).sum(1) <= 1 + 1e-9).all()


def test_a_kernel_is_symmetric_and_no_variance_is_negative():
    rng = np.random.default_rng(0)
    scene = Scene(("2", "8", "24"), Doses({"a": 10.0, "b": 3.0}))
    parts = [Part(name, kind, dose) for name in "abc" for kind in ("drug", "CRISPRi") for dose in (None, 0.5, 3.0)]
    context = rng.integers(0, 3, len(parts))
    points = scene.points(parts, context, ())
    shape = Shape(shares=(0.2, 0.5, 0.3))
    kernel = shape.between(points, points)
    np.testing.assert_allclose(kernel, kernel.T)
    assert np.linalg.eigvalsh(kernel).min() > -1e-9
    np.testing.assert_allclose(np.diag(kernel), shape.variance(points))


def test_contexts_named_by_numbers_are_alike_as_far_as_these_are():
    assert places_of(["2", "8"]) == [2.0, 8.0]
    assert np.isnan(places_of(["2", "K562"])).all()
    scene = Scene(("2", "8", "24"), Doses())
    points = scene.points([Part("a")] * 3, np.arange(3), ())
    alike = Shape(own_context=0.0).between(points, points)
    assert alike[0, 0] > alike[0, 1] > alike[0, 2]


def test_loss_and_gain_of_a_gene_turn_the_sign():
    scene = Scene(("all",), Doses())
    points = scene.points([Part("a", "CRISPRi"), Part("a", "knockout"), Part("a", "CRISPRa")], np.zeros(3, int), ())
    alike = Shape(shares=(0.0, 1.0)).between(points, points)
    assert alike[0, 1] > 0 > alike[0, 2]


def process(n=25, genes=8, seed=0, level=0.0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    noise = np.diag(rng.uniform(0.5, 2, n)) + 0.3
    y = rng.normal(size=(n, genes)) + x @ rng.normal(size=(5, genes))
    return Process(x @ x.T, whitening(noise), y, np.full(genes, level)), noise


def solved(kernel, noise, y, amplitude, across):
    """The definition, by direct solution and gene by gene."""
    scale = np.mean(np.diag(kernel))
    return np.column_stack(
        [across @ np.linalg.solve(kernel + scale / a * noise, one) for a, one in zip(amplitude, y.T)]
    )


def test_weights_are_those_of_the_definition():
    found, noise = process()
    expected = solved(found.kernel, noise, found.y, found.amplitude, found.kernel)
    np.testing.assert_allclose(found.kernel @ found.weights(), expected, rtol=1e-6, atol=1e-8)


def test_what_is_left_out_is_what_the_others_say():
    found, noise = process()
    groups = [np.array([0]), np.array([3, 4, 5]), np.arange(10, 20)]
    for group, said in zip(groups, found.left_out(groups)):
        rest = np.setdiff1d(np.arange(25), group)
        # the noise of a group is not known to the others beyond what they share of it
        scale = np.mean(np.diag(found.kernel))
        for gene, amplitude in enumerate(found.amplitude):
            whole = found.kernel + scale / amplitude * noise
            expected = whole[np.ix_(group, rest)] @ np.linalg.solve(whole[np.ix_(rest, rest)], found.y[rest, gene])
            np.testing.assert_allclose(said[:, gene], expected, rtol=1e-6, atol=1e-7)


def test_the_level_of_the_noise_is_believed_as_twenty_rows():
    free, _ = process()
    told, _ = process(level=9.0)
    np.testing.assert_allclose(told.noises, (25 * free.noises + 20 * 9.0) / 45, rtol=1e-10)
    assert (told.noise > free.noise).all()


def test_what_was_solved_is_the_inverse_of_the_covariance_times_the_measurements():
    found, noise = process()
    scale = np.mean(np.diag(found.kernel))
    expected = [np.linalg.solve(a * found.kernel / scale + noise, one) for a, one in zip(found.amplitude, found.y.T)]
    np.testing.assert_allclose(found.solved, np.column_stack(expected), rtol=1e-6, atol=1e-9)


def sharing(data, n_cells=(50, 200)):
    """Compare the first half of the rows with one set of control cells, the second with another."""
    share = sp.csr_matrix(np.repeat(np.eye(2), len(data.conditions) // 2, axis=0))
    return replace(data, controls=SharedControls(share, np.array(n_cells)), own_se=data.se)


def test_rows_with_the_same_controls_share_their_noise():
    data = sharing(world(n_drugs=2, contexts=("A",))[0])
    found = RowNoise.of(data, np.square(data.se.astype(float)), np.arange(6))
    noise = found.between
    assert noise[0, 1] == pytest.approx(2 * (noise[0, 0] - 1e-3) / 3)  # 1/50 beside 1/100
    assert noise[3, 4] == pytest.approx(noise[0, 1] / 4)
    assert noise[0, 3] == 0
    # in variances: 1/100 of the own cells, whose standard error is 0.05
    np.testing.assert_allclose(found.level * (noise[0, 0] - 1e-3), 0.05**2 * 3, rtol=1e-5)
    np.testing.assert_allclose(found.level[0] * found.of_control[0], 0.05**2 * 100 / 250, rtol=1e-5)


def noisy_control(seed, noise=0.3, n_drugs=24):
    """A world whose controls, one set of cells per context, are off by a known error."""
    data, true = world(n_drugs=n_drugs, noise=noise, seed=seed)
    off = noise * np.random.default_rng(seed + 100).normal(size=(2, GENES))
    share = sp.csr_matrix((np.ones(len(true)), (np.arange(len(true)), data.context)), (len(true), 2))
    controls = SharedControls(share, np.array([100, 100]))
    delta = (data.delta - off[data.context]).astype(np.float32)
    control = (5 + off).astype(np.float32)
    return replace(data, delta=delta, control=control, controls=controls, own_se=data.se), true


@pytest.mark.parametrize("seed", range(3))
def test_all_effects_together_tell_the_error_of_the_control(seed):
    """The true control is 5: where most perturbations do different things, what they share is the control's error."""
    data, true = noisy_control(seed)
    core = Knowledge().fit(data)
    assert np.square(core.control - 5).mean() < 0.5 * np.square(data.control - 5).mean()
    alone = np.concatenate(
        [core.predict([data.conditions[row] for row in np.flatnonzero(data.context == c)], context=c) for c in (0, 1)]
    )
    assert np.square(alone - true).mean() < 0.5 * np.square(data.delta - true).mean()


def test_the_expression_of_treated_cells_stays_when_the_control_moves():
    data, _ = noisy_control(0)
    moved = data.against(data.control + 0.25)
    after, before = (one.delta + one.control[data.context] for one in (moved, data))
    np.testing.assert_allclose(after, before, rtol=1e-6)
    half = replace(data, is_val=np.arange(len(data.delta)) % 2 == 0)
    assert np.array_equal(half.against(data.control + 0.25).delta[::2], data.delta[::2])


def test_effects_without_control_cells_leave_the_control_alone():
    data, _ = world()
    assert np.array_equal(Knowledge().fit(data).control, data.control)


def test_a_dose_between_two_is_told_better_than_by_either():
    data, true = world()
    middle = np.array([one.parts[0].dose == 1.0 for one in data.conditions])
    core = Knowledge().fit(without(data, ~middle))
    left = {}
    for context in (0, 1):
        rows = np.flatnonzero(middle & (data.context == context))
        said = core.predict([data.conditions[row] for row in rows], context=context)
        for name, step in (("said", None), ("low", -1), ("high", 1)):
            other = said if step is None else data.delta[rows + step]
            left[name] = left.get(name, 0) + np.square(other - true[rows]).sum()
    assert left["said"] < 0.3 * min(left["low"], left["high"])


def test_a_perturbation_seen_in_one_context_is_told_in_the_other():
    data, true = world()
    held = (data.context == 1) & np.isin([one.names[0] for one in data.conditions], ["drug00", "drug01", "drug02"])
    core = Knowledge().fit(without(data, ~held))
    rows = np.flatnonzero(held)
    said = core.predict([data.conditions[row] for row in rows], context=1)
    copied = data.delta[rows - len(data.conditions) // 2]
    assert np.square(said - true[rows]).sum() < np.square(copied - true[rows]).sum()
    assert np.square(said - true[rows]).sum() < 0.2 * np.square(true[rows]).sum()


def test_a_dose_near_0_does_next_to_nothing_and_the_control_nothing():
    data, _ = world()
    core = Knowledge().fit(data)
    asked = [Condition((Part("drug00", "drug", dose),)) for dose in (0.0, 1e-9, 10.0)]
    none, tiny, high = core.predict(asked)
    assert (none == 0).all()
    assert np.abs(tiny).max() < 1e-3 * np.abs(high).max()


def test_measured_effects_are_drawn_towards_what_the_others_tell():
    data, true = world(noise=0.6)
    core = Knowledge().fit(data)
    said = np.concatenate(
        [core.predict([data.conditions[row] for row in np.flatnonzero(data.context == c)], context=c) for c in (0, 1)]
    )
    assert np.square(said - true).sum() < 0.6 * np.square(data.delta - true).sum()


def test_a_new_context_hears_what_is_common_to_all():
    data, true = world()
    core = Knowledge().fit(data)
    core.add_context("C", np.ones(GENES, np.float32))
    asked = [data.conditions[row] for row in np.flatnonzero(data.context == 0)]
    here, there, new = (core.predict(asked, context=context) for context in (0, 1, 2))
    between = [np.corrcoef(new.ravel(), one.ravel())[0, 1] for one in (here, there)]
    assert min(between) > 0.95
    assert np.square(new).sum() < np.square(here).sum()


def test_a_context_left_out_is_not_heard():
    data, _ = world()
    louder = replace(data, delta=np.where((data.context == 1)[:, None], 5 * data.delta, data.delta).astype(np.float32))
    found = Surface.fit(louder, np.square(data.se.astype(float)), [], np.random.default_rng(0))
    outside = SurfaceHere(found, 2, (), np.zeros(0, np.int64), np.zeros(GENES, np.float32)).trials()
    own = outside.context == 1
    # what the first context says of the second is as large as the first is
    assert np.abs(outside.said[own]).mean() < 0.5 * np.abs(louder.delta[louder.context == 1]).mean()


def test_silencing_tells_of_activation_as_far_as_the_screen_shows():
    rng = np.random.default_rng(0)
    profile = rng.normal(size=(20, GENES))
    rows = [(gene, kind) for kind in ("CRISPRi", "CRISPRa") for gene in range(20)]
    true = np.array([profile[gene] * (1 if kind == "CRISPRi" else -0.6) for gene, kind in rows])
    data = world(n_drugs=2, contexts=("all",))[0]
    data = replace(
        data,
        conditions=tuple(Condition((Part(f"P{gene:02d}", kind),)) for gene, kind in rows),
        context=np.zeros(40, int),
        delta=(true + 0.05 * rng.normal(size=true.shape)).astype(np.float32),
        se=np.full(true.shape, 0.05, np.float32),
        n_cells=np.full(40, 100),
        is_val=np.zeros(40, bool),
        covariates=Covariates((), np.zeros((40, 0), np.float32), np.zeros(0, np.float32)),
        doses=Doses(),
    )
    held = np.array([kind == "CRISPRa" and gene < 5 for gene, kind in rows])
    core = Knowledge().fit(without(data, ~held))
    said = core.predict([data.conditions[row] for row in np.flatnonzero(held)])
    assert np.square(said - true[held]).sum() < 0.2 * np.square(true[held]).sum()
    assert core.surface.shape.kinds > 0.7


def test_a_gene_and_a_drug_together_are_the_sum_of_both():
    data, _ = world(contexts=("A",))
    gene = Condition((Part("KLF1", "CRISPRi"),))
    first = data.take(np.array([0]))
    both = replace(
        data,
        conditions=(*data.conditions, gene),
        context=np.append(data.context, 0),
        delta=np.vstack([data.delta, -first.delta]),
        se=np.vstack([data.se, first.se]),
        n_cells=np.append(data.n_cells, 100),
        is_val=np.append(data.is_val, False),
        covariates=Covariates((), np.zeros((len(data.conditions) + 1, 0), np.float32), np.zeros(0, np.float32)),
    )
    core = Knowledge().fit(both)
    drug = Condition((Part("drug03", "drug", 3.0),))
    one, other, sum_ = core.predict([gene, drug, Condition((*gene.parts, *drug.parts))])
    np.testing.assert_allclose(sum_, one + other, atol=1e-6)
