"""The sparse core: it learns what features tell of tables with gaps, and is the base rate where they tell nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scperturbmamba.data.conditions import Condition
from scperturbmamba.data.feature_tables import FeatureTable
from scperturbmamba.metrics import mean_auc_per_gene
from scperturbmamba.models.sparse import SparseKnowledge, is_sparse
from scperturbmamba.models.uncertainty import LEVELS

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def mean_auc(truth, scores):
    genes = np.broadcast_to(np.arange(truth.shape[1]).astype(str), truth.shape)
    return mean_auc_per_gene(genes.ravel(), truth.ravel(), scores.ravel())


@pytest.fixture(scope="module")
def calls(make_world):
    data, asked, truth = make_world()
    return data, asked, truth, SparseKnowledge().fit(data)


@pytest.fixture(scope="module")
def effects(make_world):
    data, asked, truth = make_world(calls=False)
    return data, asked, truth, SparseKnowledge().fit(data)


def nearest_neighbours(data, asked, k=10):
    """Average the known calls of the k perturbations whose features are nearest."""
    (table,) = data.features
    place = {name: row for row, name in enumerate(table.names)}
    rows = {one: table.values[place[one.names[0]], :-1] for one in (*data.conditions, *asked)}
    known = np.array([rows[one] for one in data.conditions])
    said = []
    for one in asked:
        near = np.argsort(np.square(known - rows[one]).sum(1))[:k]
        total = data.weight[near].sum(0)
        said.append((data.delta[near].sum(0) + 0.5) / (total + 1))
    return np.array(said)


def test_it_beats_neighbours_on_perturbations_never_seen(calls):
    data, asked, truth, model = calls
    near = mean_auc(truth, nearest_neighbours(data, asked))
    found = mean_auc(truth, model.predict(asked))
    assert near > 0.6 and found > near + 0.05
    assert model.report()[0].startswith("the stack is on: +")


def test_effects_are_foreseen_on_their_own_scale(effects):
    data, asked, truth, model = effects
    said = model.predict(asked)
    mean = data.mean_effect(data.training())
    assert np.square(truth - said).mean() < 0.7 * np.square(truth - mean).mean()
    assert "of the squared effect" in model.report()[0]


@pytest.mark.parametrize("level", [0.5, 0.8, 0.9])
def test_intervals_of_effects_hold_as_many_as_they_promise(make_world, level):
    """And a few more: the errors they come from are those of models that saw four perturbations of five."""
    inside = []
    for seed in range(5):
        data, asked, truth = make_world(calls=False, seed=seed)
        model = SparseKnowledge().fit(data)
        sd, multiples = model.errors(asked)
        half = multiples[:, LEVELS.index(level)][:, None] * sd
        inside.append(np.mean(np.abs(truth - model.predict(asked)) <= half))
    assert level - 0.03 <= np.mean(inside) <= level + 0.05


def test_a_perturbation_without_features_has_wider_intervals(effects):
    data, asked, _, model = effects
    told, unknown, both = model.errors(
        [asked[0], Condition.of("NOWHERE"), Condition((*asked[0].parts, *asked[1].parts))]
    )[0]
    assert unknown.mean() > 1.2 * told.mean()
    np.testing.assert_allclose(both, np.sqrt(2) * told, rtol=1e-5)
    mean = data.mean_effect(data.training())
    np.testing.assert_allclose(unknown.mean(), np.sqrt(np.square(data.delta - mean)[data.known].mean()), rtol=0.1)


def test_nothing_is_said_of_the_errors_of_calls_and_of_what_was_measured(calls, effects):
    assert np.isnan(calls[3].errors(calls[1])[0]).all()
    data, _, _, model = effects
    sd, _ = model.errors(list(data.conditions))
    assert np.array_equal(np.isnan(sd), data.known)


def test_scores_of_calls_are_log_odds(calls):
    """Among pairs with like scores, as many are true as the scores say."""
    _, asked, truth, model = calls
    said = model.predict(asked).ravel()
    for some in np.array_split(np.argsort(said), 5):
        expected = (1 / (1 + np.exp(-said[some]))).mean()
        assert truth.ravel()[some].mean() == pytest.approx(expected, abs=0.08)


def test_with_features_of_other_genes_it_is_at_chance(make_world):
    found = []
    for seed in range(4):
        data, asked, truth = make_world(seed=seed)
        found.append(mean_auc(truth, SparseKnowledge(seed, shuffled=True).fit(data).predict(asked)))
    assert np.mean(found) == pytest.approx(0.5, abs=0.03)


def test_a_perturbation_without_features_has_the_base_rates(calls, without_features):
    data, asked, _, model = calls
    unknown, other = model.predict([Condition.of("NOBODY", kind="CRISPRi"), Condition.of("ELSE", kind="CRISPRi")])
    np.testing.assert_array_equal(unknown, other)
    total, known = data.delta.sum(0), data.weight.sum(0)
    overall = total.sum() / known.sum()
    rate = (total + 2 * overall) / (known + 2)
    np.testing.assert_allclose(1 / (1 + np.exp(-unknown)), rate, rtol=1e-4)
    nothing = SparseKnowledge().fit(without_features(data, {one for table in data.features for one in table.names}))
    np.testing.assert_allclose(nothing.predict(asked), np.tile(unknown, (len(asked), 1)), rtol=1e-6)
    assert nothing.report()[0].startswith("acts as the mean per gene")


@pytest.mark.parametrize("world", ["calls", "effects"])
def test_what_is_stored_predicts_the_same(world, request):
    data, asked, _, model = request.getfixturevalue(world)
    words, arrays = model.state()
    assert all(isinstance(value, np.ndarray) for value in arrays.values())
    back = SparseKnowledge.from_state(json.loads(json.dumps(words)), arrays)
    conditions = [*asked, *data.conditions[:3], Condition.of("NOBODY")]
    np.testing.assert_array_equal(back.predict(conditions), model.predict(conditions))
    for one, other in zip(back.errors(conditions), model.errors(conditions)):
        np.testing.assert_array_equal(one, other)
    assert back.report() == model.report() and back.genes == data.genes and back.kinds == model.kinds


def test_the_same_seed_gives_the_same_numbers(calls):
    data, asked, _, model = calls
    np.testing.assert_array_equal(SparseKnowledge().fit(data).predict(asked), model.predict(asked))


def test_genes_described_after_training_are_predicted_as_if_described_before(make_world, without_features):
    data, asked, _ = make_world()
    late = {one.names[0] for one in asked[:5]}
    model = SparseKnowledge().fit(without_features(data, late))
    before = model.predict(asked)
    np.testing.assert_array_equal(before[:5], np.tile(before[0], (5, 1)))
    words, arrays = model.state()
    for one in (model, SparseKnowledge.from_state(words, arrays)):
        one.learn_features(data.features)
        after = one.predict(asked)
        np.testing.assert_allclose(after[5:], before[5:], rtol=1e-5, atol=1e-5)
        assert after[:5].std(0).mean() > 0.1
    assert np.corrcoef(after[:5].ravel(), SparseKnowledge().fit(data).predict(asked[:5]).ravel())[0, 1] > 0.97


def test_what_was_measured_is_taken_as_measured(calls, effects):
    data, _, _, model = calls
    said = model.predict(data.conditions)[data.known]
    assert said[data.delta[data.known] == 1].min() > said[data.delta[data.known] == 0].max()
    data, _, _, model = effects
    np.testing.assert_allclose(model.predict(data.conditions)[data.known], data.delta[data.known], rtol=1e-6)


def test_combinations_add_up_and_the_control_does_nothing(calls, effects):
    for data, asked, _, model in (calls, effects):
        both = Condition((*asked[0].parts, *asked[1].parts))
        pair, one, other, control, nobody = model.predict([both, *asked[:2], Condition(), Condition.of("NOBODY")])
        np.testing.assert_allclose(pair, one + other - control, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(control, nobody if set(np.unique(data.delta)) <= {0, 1} else 0)


def test_validation_rows_and_the_order_of_the_rows_do_not_matter_to_the_base_rates(make_world):
    data, _, _ = make_world()
    nobody = [Condition.of("NOBODY")]
    half = np.arange(len(data.conditions)) % 2 == 1
    first = SparseKnowledge().fit(replace(data, is_val=half)).predict(nobody)
    flipped = np.where(half[:, None], 1 - data.delta, data.delta).astype(np.float32)
    second = SparseKnowledge().fit(replace(data, is_val=half, delta=flipped)).predict(nobody)
    np.testing.assert_array_equal(first, second)


def test_every_context_has_a_core_of_its_own(make_world):
    data, asked, _ = make_world()
    context = (np.arange(len(data.conditions)) % 3 == 0).astype(np.int64)
    model = SparseKnowledge().fit(replace(data, context=context, contexts=("one", "other")))
    assert len(model.report()) == 2
    one, other = (model.predict(asked, context=number) for number in (0, 1))
    assert not np.allclose(one, other) and np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.3


def test_a_table_counts_as_sparse_as_soon_as_a_training_entry_is_unknown(make_world):
    data, _, _ = make_world()
    assert is_sparse(data)
    full = np.ones_like(data.weight)
    assert not is_sparse(replace(data, weight=None)) and not is_sparse(replace(data, weight=full))
    gap = full.copy()
    gap[3, 4] = 0
    assert is_sparse(replace(data, weight=gap))
    assert not is_sparse(replace(data, weight=gap, is_val=np.arange(len(gap)) == 3))


def test_without_a_single_perturbation_it_says_what_is_missing(make_world):
    data, _, _ = make_world()
    pairs = tuple(Condition((*one.parts, *Condition.of("OTHER").parts)) for one in data.conditions)
    with pytest.raises(ValueError, match="of one perturbation"):
        SparseKnowledge().fit(replace(data, conditions=pairs))


def test_another_screen_is_read_and_stored(make_world):
    """The true effects of a second draw, given as the two tables of a screen, are worth more than the features."""
    data, asked, truth = make_world()
    model = SparseKnowledge().fit(data)
    (table,) = data.features
    effects = np.vstack([data.delta * 2 - data.weight, truth * 2 - 1])
    noisy = effects + np.random.default_rng(5).normal(0, 1, effects.shape)
    done, values, responds = np.linalg.svd(noisy, full_matrices=False)
    width = 20
    rows = {"screen": (done * values)[:, :width], "screen_response": responds[:width].T}
    names = {"screen": [one.names[0] for one in (*data.conditions, *asked)], "screen_response": list(data.genes)}
    columns = tuple(f"effect{number}" for number in range(width))
    more = tuple(
        FeatureTable(source, tuple(names[source]), columns, rows[source].astype(np.float32), "hash") for source in rows
    )
    helped = SparseKnowledge().fit(replace(data, features=(table, *more)))
    assert mean_auc(truth, helped.predict(asked)) > mean_auc(truth, model.predict(asked)) + 0.02
    words, arrays = helped.state()
    back = SparseKnowledge.from_state(json.loads(json.dumps(words)), arrays)
    np.testing.assert_array_equal(back.predict(asked), helped.predict(asked))


def test_few_perturbations_or_one_label_leave_the_base_rates(make_world):
    data, asked, _ = make_world()
    few = replace(data, is_val=np.arange(len(data.conditions)) >= 6)
    (base,) = SparseKnowledge().fit(few).predict(asked[:1])
    assert np.isfinite(base).all()
    always = replace(data, delta=data.weight.copy())
    said = SparseKnowledge().fit(always).predict(asked)
    np.testing.assert_array_equal(said, np.tile(said[0], (len(asked), 1)))
