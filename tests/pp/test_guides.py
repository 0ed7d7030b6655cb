import itertools

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.special import gammaln
from scipy.stats import nbinom

import scperturbmamba as spm
from scperturbmamba.data.conditions import Condition
from scperturbmamba.pp import _guide_joint as joint
from scperturbmamba.pp._guide_calls import mixture_thresholds
from scperturbmamba.pp._guides import assign_guides

RULE = r"^(.+)_g\d+$"
METHODS = ["joint", "mixture", "threshold"]


@pytest.fixture(scope="module")
def screen() -> ad.AnnData:
    return spm.datasets.toy(n_genes=60, n_singles=20, n_doubles=4, n_outside=2, cells_per_condition=30, n_control=150)


@pytest.fixture
def adata(screen):
    return screen.copy()


def target_or_none(adata: ad.AnnData) -> pd.Series:
    return adata.obs["guide_target"].astype(object).fillna("none")


def by_hand(rows: dict[str, dict[str, int]], *, n_filler: int = 40) -> ad.AnnData:
    """A screen with the cells given, beside plain cells that carry one guide each."""
    guides = ["A_g1", "A_g2", "B_g1", "B_g2", "non-targeting_g1", "non-targeting_g2"]
    table = pd.DataFrame(0, index=[*rows, *(f"filler{n}" for n in range(n_filler * len(guides)))], columns=guides)
    for cell, counts in rows.items():
        for guide, umi in counts.items():
            table.loc[cell, guide] = umi
    rng = np.random.default_rng(0)
    for number in range(n_filler * len(guides)):
        table.iloc[len(rows) + number, number % len(guides)] = 10 + rng.poisson(10)
    adata = ad.AnnData(np.ones((len(table), 3), dtype=np.float32), obs=pd.DataFrame(index=table.index))
    adata.obsm["guide_counts"] = table
    return adata


def n_targets(adata: ad.AnnData) -> pd.Series:
    return adata.obs["guide_identity"].astype(object).map(adata.uns["guides"]["combinations"]["n_targets"])


@pytest.mark.parametrize("method", METHODS)
def test_labels_of_the_toy_world_are_found(adata, method):
    assign_guides(adata, RULE, method=method)
    truth, found = adata.obs["condition"].astype(object), adata.obs["guide_target"].astype(object)
    labelled = truth.notna() & (truth != "multiplet")
    assert (truth == found)[labelled].mean() > 0.99
    assert found[truth.isna()].isna().mean() > 0.9
    assert set(found[labelled & truth.str.contains("+", regex=False)].dropna()) >= {
        label for label in truth.dropna().unique() if "+" in label
    }


@pytest.mark.parametrize("method", METHODS)
def test_no_multiplet_of_the_toy_world_hides_as_one_target(adata, method):
    assign_guides(adata, RULE, method=method)
    assert (n_targets(adata)[adata.obs["condition"] == "multiplet"] >= 2).mean() > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_two_guides_of_one_gene_are_one_target(method):
    adata = by_hand({"pair": {"A_g1": 20, "A_g2": 18}})
    assign_guides(adata, RULE, method=method)
    cell = adata.obs.loc["pair"]
    assert (cell["guide_identity"], cell["n_guides"], cell["guide_target"]) == ("A_g1+A_g2", 2, "A")
    assert n_targets(adata)["pair"] == 1


@pytest.mark.parametrize("method", METHODS)
def test_guides_of_two_genes_are_a_sorted_pair(method):
    adata = by_hand({"pair": {"B_g1": 20, "A_g2": 18}})
    assign_guides(adata, RULE, method=method)
    assert adata.obs.loc["pair", "guide_target"] == "A+B"
    assert n_targets(adata)["pair"] == 2


def test_a_non_targeting_guide_beside_a_targeting_one_shows_only_in_the_number_of_targets():
    adata = by_hand({"mixed": {"A_g1": 20, "non-targeting_g1": 18}, "none": {}})
    assign_guides(adata, RULE)
    assert adata.obs.loc["mixed", "guide_target"] == "A"
    assert n_targets(adata)["mixed"] == 2
    assert pd.isna(adata.obs.loc["none", "guide_target"])
    assert adata.obs.loc["none", "n_guides"] == 0


def test_two_non_targeting_guides_are_a_multiplet_unless_the_vectors_carry_two():
    accident = by_hand({"twice": {"non-targeting_g1": 20, "non-targeting_g2": 18}})
    design = by_hand({f"twice{n}": {"non-targeting_g1": 20, "non-targeting_g2": 18} for n in range(200)})
    for adata in (accident, design):
        assign_guides(adata, RULE, method="threshold")
    assert accident.obs.loc["twice", "guide_target"] == design.obs.loc["twice0", "guide_target"] == "control"
    assert n_targets(accident)["twice"] == 2
    assert n_targets(design)["twice0"] == 1


def shallow_screen() -> ad.AnnData:
    """Twenty genes with two guides each, about four UMIs per guide, one cell in six with two guides."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.008, (3000, 40))
    for cell in range(len(counts)):
        for guide in rng.choice(40, 1 + (rng.random() < 1 / 6), replace=False):
            counts[cell, guide] += rng.poisson(rng.gamma(3, 1.5))
    table = pd.DataFrame(counts, columns=[f"G{gene}_g{n}" for gene in range(20) for n in range(2)])
    table.index = [f"cell{n}" for n in range(len(table))]
    adata = ad.AnnData(np.ones((len(table), 3), dtype=np.float32), obs=pd.DataFrame(index=table.index))
    adata.obsm["guide_counts"] = table
    return adata


def test_a_cell_whose_counts_do_not_decide_gets_no_label():
    adata = shallow_screen()
    assign_guides(adata, RULE)
    counts = adata.obsm["guide_counts"].to_numpy()
    largest = np.sort(counts, axis=1)[:, ::-1]
    undecided = adata.obs["guide_target"].isna() & (adata.obs["n_guides"] > 0)
    assert 0.01 < undecided.mean() < 0.2
    assert (largest[undecided, 1] > 0).mean() > 0.95
    assert adata.obs.loc[undecided, "guide_identity"].isna().all()
    strict = adata.copy()
    assign_guides(strict, RULE, max_doubt=0.01)
    assert strict.obs["guide_target"].isna().sum() > adata.obs["guide_target"].isna().sum()


def test_doubt_about_a_second_guide_of_the_same_gene_leaves_the_target_known():
    adata = shallow_screen()
    first_gene = ["G0_g0", "G0_g1"]
    adata.obsm["guide_counts"].iloc[:5] = 0
    adata.obsm["guide_counts"].loc["cell0":"cell4", first_gene] = [4, 1]
    assign_guides(adata, RULE, max_doubt=1e-4)
    assert (adata.obs["guide_target"].iloc[:5] == "G0").all()


def test_posterior_is_the_sum_over_all_sets_of_guides():
    rng = np.random.default_rng(2)
    n_guides, most = 5, 3
    counts = rng.poisson(0.7, (30, n_guides)) * rng.choice([1, 6], (30, n_guides))
    counts[0] = 0
    model = joint.GuideModel(
        share=rng.dirichlet(np.ones(n_guides)), mean=rng.uniform(3, 9, n_guides), shape=2.5,
        ambient=rng.uniform(0.05, 0.3, n_guides), ambient_shape=1.5, number=np.array([0.1, 0.6, 0.2, 0.1]),
    )  # fmt: skip
    entries = joint.Entries.of(sp.csr_matrix(counts))
    carried, number = joint.posterior(entries, model)
    found = np.zeros(counts.shape)
    found[entries.cell, entries.guide] = carried
    expected, expected_number = set_by_set(counts, model, most)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(number, expected_number, atol=1e-10)


def set_by_set(counts, model, most):
    """The definition: every set of shown guides, every capture, in float64."""
    captures, weights = joint._captures()
    n_guides = len(model.share)
    scale = np.zeros(most + 1)
    for size in range(n_guides + 1):
        for one in itertools.combinations(range(n_guides), size):
            scale[min(size, most)] += np.prod(model.share[list(one)])
    carried, number = np.zeros(counts.shape), np.zeros(most + 1)
    for cell, umi in enumerate(counts):
        chances: dict[tuple, float] = {}
        for size in range(n_guides + 1):
            for one in itertools.combinations(np.flatnonzero(umi), size):
                prior = model.number[min(size, most)] * np.prod(model.share[list(one)]) / scale[min(size, most)]
                chances[one] = prior * sum(
                    weight * likelihood(umi, one, model, capture) for capture, weight in zip(captures, weights)
                )
        total = sum(chances.values())
        for one, chance in chances.items():
            carried[cell, list(one)] += chance / total
            number[min(len(one), most)] += chance / total / len(counts)
    return carried, number


def likelihood(umi, one, model, capture):
    def nb(count, mean, shape):
        return nbinom.pmf(count, shape, shape / (shape + mean))

    value = 1.0
    for guide, count in enumerate(umi):
        if guide in one:
            mean = capture * model.mean[guide]
            value *= nb(count, mean, model.shape) / (1 - nb(0, mean, model.shape))
        else:
            value *= nb(count, capture * model.ambient[guide], model.ambient_shape)
    return value


def test_joint_model_recovers_the_number_of_guides_per_cell():
    rng = np.random.default_rng(3)
    number = rng.choice(4, 3000, p=[0.1, 0.7, 0.15, 0.05])
    counts = rng.poisson(0.05, (3000, 40))
    for cell, n in enumerate(number):
        counts[cell, rng.choice(40, n, replace=False)] += 1 + rng.poisson(rng.gamma(3, 6, n))
    model = joint.fit(joint.Entries.of(sp.csr_matrix(counts)))
    np.testing.assert_allclose(model.number[:4], [0.1, 0.7, 0.15, 0.05], atol=0.02)
    assert abs(model.ambient.sum() - 40 * 0.05) < 0.2


def test_a_cell_with_more_guides_than_the_prior_tells_apart_is_called_for_all():
    counts = np.zeros((2000, 50))
    counts[np.arange(2000), np.arange(2000) % 50] = 20
    counts[0, :40] = 30
    chance, _ = joint.call_jointly(sp.csr_matrix(counts))
    assert (chance[0].toarray()[0, :40] > 0.99).all()
    assert (chance[1:].max(axis=1).toarray() > 0.99).all()


def test_calls_do_not_depend_on_the_order_of_cells_or_guides(adata):
    assign_guides(adata, RULE)
    rng = np.random.default_rng(4)
    other = adata[rng.permutation(adata.n_obs)].copy()
    table = other.obsm["guide_counts"]
    other.obsm["guide_counts"] = table[rng.permutation(table.columns)]
    assign_guides(other, RULE)
    assert (target_or_none(other)[adata.obs_names] == target_or_none(adata)).mean() > 0.999


def test_mixture_threshold_is_that_of_the_best_fit_by_another_optimiser():
    rng = np.random.default_rng(5)
    real = np.rint(2 ** rng.normal(5, 1, 400)).clip(1)
    counts = np.concatenate([np.ones(500), np.full(60, 2), np.full(10, 3), real, np.zeros(800)])
    found = mixture_thresholds(sp.csr_matrix(counts[:, None]))[0]

    umi, n = np.unique(counts[counts > 0], return_counts=True)
    x = np.log2(umi)

    def parts(p):
        weight, rate, sd = 1 / (1 + np.exp(-p[0])), np.exp(p[1]), np.exp(p[3])
        ambient = np.log1p(-weight) + x * np.log(rate) - rate - gammaln(x + 1)
        carried = np.log(weight) - 0.5 * ((x - p[2]) / sd) ** 2 - np.log(sd * np.sqrt(2 * np.pi))
        return ambient, carried

    best = minimize(lambda p: -(n * np.logaddexp(*parts(p))).sum(), [0, -1.5, 4, 0], method="Nelder-Mead",
                    options={"maxiter": 5000, "xatol": 1e-6, "fatol": 1e-6}).x  # fmt: skip
    ambient, carried = parts(best)
    assert found == umi[(carried > ambient) | (x >= best[2])].min()


def test_mixture_gives_a_rare_guide_the_threshold_of_the_others(adata):
    rare = adata.obsm["guide_counts"].columns[0]
    adata.obsm["guide_counts"].loc[:, rare] = 0
    adata.obsm["guide_counts"].iloc[:3, 0] = 50
    assign_guides(adata, RULE, method="mixture")
    table = adata.uns["guides"]["table"]
    assert table.loc[rare, "threshold"] == np.median(table["threshold"].drop(rare))


def test_dominant_guide_says_how_many_multiplets_it_hides():
    adata = by_hand({f"uneven{n}": {"A_g1": 80, "B_g1": 6} for n in range(7)})
    with pytest.warns(UserWarning, match="labels 7 cells by their top guide"):
        assign_guides(adata, RULE, method="dominant")
    assert adata.uns["guides"]["params"]["n_hidden_multiplets"] == 7
    assert (adata.obs.loc[[f"uneven{n}" for n in range(7)], "guide_target"] == "A").all()


def test_dominant_guide_calls_even_pairs_and_leaves_weak_majorities_open():
    adata = by_hand({"even": {"A_g1": 30, "B_g1": 25}, "weak": {"A_g1": 6, "B_g1": 3, "B_g2": 3}})
    assign_guides(adata, RULE, method="dominant")
    assert adata.obs.loc["even", "guide_target"] == "A+B"
    assert pd.isna(adata.obs.loc["weak", "guide_target"])
    assert adata.obs.loc["weak", "n_guides"] == 1


def test_every_form_of_the_guide_map_says_the_same(adata):
    names = adata.obsm["guide_counts"].columns
    targets = {name: name.rsplit("_", 1)[0] for name in names}
    series = pd.Series(targets)
    forms = [
        targets, series, series.to_frame("target"), series.to_frame("anything"),
        pd.DataFrame({"guide": series.index, "target": series.to_numpy()}), lambda name: name.rsplit("_", 1)[0],
    ]  # fmt: skip
    assign_guides(adata, RULE)
    expected = adata.obs["guide_target"].astype(str).to_list()
    for form in forms:
        assign_guides(adata, form)
        assert adata.obs["guide_target"].astype(str).to_list() == expected


@pytest.mark.parametrize("word", ["NegCtrl3", "safe-targeting", "scrambled", "non-targeting", "NT_5"])
def test_usual_words_for_a_control_become_the_control(word):
    adata = by_hand({})
    targets = {"A_g1": "A", "A_g2": "A", "B_g1": "B", "B_g2": "B", "non-targeting_g1": word, "non-targeting_g2": word}
    assign_guides(adata, targets)
    assert set(adata.obs["guide_target"].cat.categories) == {"A", "B", "control"}


def test_own_words_for_a_control_are_taken():
    adata = by_hand({})
    assign_guides(adata, lambda name: name[0], control=["n", "B_g2"])
    assert set(adata.obs["guide_target"].cat.categories) == {"A", "B", "control"}
    assert adata.uns["guides"]["table"].loc["B_g2", "target"] == "control"


def test_guides_come_from_another_anndata_in_any_order(adata):
    assign_guides(adata, RULE)
    expected = target_or_none(adata)
    table = adata.obsm.pop("guide_counts")
    other = ad.AnnData(sp.csr_matrix(table.to_numpy(dtype=np.float32)), obs=pd.DataFrame(index=table.index))
    other.var_names = table.columns
    assign_guides(adata, RULE, guides=other[::-1].copy())
    assert (target_or_none(adata) == expected).all()
    with pytest.raises(KeyError, match="1 of .* are missing"):
        assign_guides(adata, RULE, guides=other[1:].copy())


def test_a_sparse_array_with_names_in_uns_is_read_as_a_table(adata):
    assign_guides(adata, RULE)
    other = adata.copy()
    table = other.obsm["guide_counts"]
    other.obsm["guide_counts"] = sp.csr_matrix(table.to_numpy())
    other.uns["guide_names"] = table.columns.to_numpy()
    assign_guides(other, RULE)
    pd.testing.assert_series_equal(adata.obs["guide_identity"], other.obs["guide_identity"])


def test_names_that_hold_a_plus_stay_readable():
    adata = by_hand({"pair": {"A_g1": 20, "B_g1": 18}})
    adata.obsm["guide_counts"].columns = ["A_+_1", "A_-_2", "B_+_1", "B_-_2", "NT_+_1", "NT_+_2"]
    assign_guides(adata, lambda name: name[0] + "+" if name[0] != "N" else "NT")
    assert adata.obs.loc["pair", "guide_identity"] == "A_+_1|B_+_1"
    assert Condition.parse(adata.obs.loc["pair", "guide_target"]).names == ("A+", "B+")


def test_slots_survive_h5ad_and_a_second_run_changes_nothing(adata, tmp_path):
    assign_guides(adata, RULE)
    adata.write_h5ad(tmp_path / "a.h5ad")
    back = ad.read_h5ad(tmp_path / "a.h5ad")
    pd.testing.assert_frame_equal(back.obs, adata.obs)
    for name in ("table", "combinations", "histogram"):
        pd.testing.assert_frame_equal(back.uns["guides"][name], adata.uns["guides"][name], check_index_type=False)
    assign_guides(back, RULE)
    pd.testing.assert_frame_equal(back.obs, adata.obs)


def test_histogram_and_table_add_up(adata):
    assign_guides(adata, RULE)
    record, counts = adata.uns["guides"], adata.obsm["guide_counts"].to_numpy()
    assert record["histogram"]["n"].sum() == (counts > 0).sum()
    assert record["histogram"]["n_called"].sum() == record["table"]["n_cells"].sum()
    assert record["combinations"]["n_cells"].sum() == adata.obs["guide_identity"].notna().sum()
    assert np.allclose(record["table"]["ambient_rate"].mean(), 0.03, atol=0.01)


def test_a_column_of_the_user_with_our_name_is_kept(adata):
    adata.obs["n_guides"] = "mine"
    assign_guides(adata, RULE)
    assign_guides(adata, RULE)
    assert (adata.obs["n_guides_original"] == "mine").all()
    assert adata.obs["n_guides"].dtype.kind == "i"


def bad_counts(adata, value):
    adata.obsm["guide_counts"] = adata.obsm["guide_counts"].astype(float)
    adata.obsm["guide_counts"].iloc[0, 0] = value


def no_counts(adata):
    adata.obsm["guide_counts"] *= 0


def unnamed(adata):
    adata.obsm["guide_counts"] = adata.obsm["guide_counts"].to_numpy()


BAD = {
    "negative": (lambda a: bad_counts(a, -1), {}, ValueError, "whole numbers"),
    "fractional": (lambda a: bad_counts(a, 0.5), {}, ValueError, "whole numbers"),
    "missing value": (lambda a: bad_counts(a, np.nan), {}, ValueError, "whole numbers"),
    "all zero": (no_counts, {}, ValueError, "every guide count is zero"),
    "absent": (lambda a: a.obsm.pop("guide_counts"), {}, KeyError, "guide_counts"),
    "no names": (unnamed, {}, KeyError, "guide_names"),
    "wrong names": (lambda a: (unnamed(a), a.uns.update(guide_names=["x"])), {}, ValueError, "found 1 names"),
    "no target": (lambda a: None, {"guide_targets": {"a": "b"}}, ValueError, "48 of 48 have none"),
    "empty target": (lambda a: None, {"guide_targets": lambda name: " "}, ValueError, "have none"),
    "no group": (lambda a: None, {"guide_targets": r"^.+_g\d+$"}, ValueError, "one group"),
    "no pattern": (lambda a: None, {"guide_targets": "("}, ValueError, "no regular expression"),
    "wide table": (lambda a: None, {"guide_targets": pd.DataFrame(0, index=[0], columns=["a", "b"])}, ValueError,
                   "needs the columns"),
    "wrong type": (lambda a: None, {"guide_targets": 3}, TypeError, "found int"),
    "method": (lambda a: None, {"method": "best"}, ValueError, "must be one of"),
    "doubt": (lambda a: None, {"max_doubt": 0.7}, ValueError, "at most 0.5"),
    "nothing called": (lambda a: None, {"method": "threshold", "min_umi": 10_000}, ValueError, "none was called"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_and_leaves_adata_alone(adata, case):
    spoil, options, error, words = BAD[case]
    spoil(adata)
    before, keys = adata.obs.copy(), set(adata.uns)
    with pytest.raises(error, match=words):
        assign_guides(adata, **({"guide_targets": RULE} | options))
    pd.testing.assert_frame_equal(adata.obs, before)
    assert set(adata.uns) == keys


def test_a_view_is_written_without_touching_its_parent(adata):
    view = adata[:400]
    assign_guides(view, RULE)
    assert not view.is_view
    assert "guide_target" in view.obs
    assert "guide_target" not in adata.obs


def test_backed_data_are_refused(adata, tmp_path):
    adata.write_h5ad(tmp_path / "a.h5ad")
    backed = ad.read_h5ad(tmp_path / "a.h5ad", backed="r")
    with pytest.raises(ValueError, match="to_memory"):
        assign_guides(backed, RULE)
    backed.file.close()


SCHRAIVOGEL_RULE = r"^CROPseq_dCas9_DS_(non-targeting|[^_-]+)"


@pytest.fixture(scope="module")
def schraivogel(shared_data) -> ad.AnnData:
    return ad.read_h5ad(shared_data / "data" / "schraivogel2020_tapseq_k562_guides.h5ad")


@pytest.mark.data
@pytest.mark.parametrize("method", ["joint", "mixture"])
def test_most_cells_of_a_real_screen_carry_one_guide(schraivogel, method):
    adata = schraivogel.copy()
    assign_guides(adata, SCHRAIVOGEL_RULE, method=method)
    target, several = adata.obs["guide_target"], n_targets(adata).astype(float)
    assert abs((several == 1).mean() - 0.87) < 0.015
    assert abs((several > 1).mean() - 0.10) < 0.015
    assert abs(target.isna().mean() - 0.03) < 0.01


@pytest.mark.data
def test_shallow_guide_counts_still_tell_singles_from_multiplets(schraivogel):
    """Guide UMIs thinned to a median of 6 per cell, against the mixture at full depth."""
    full = schraivogel.copy()
    assign_guides(full, SCHRAIVOGEL_RULE, method="mixture")
    single, several = (full.obs["n_guides"] == 1).to_numpy(), (full.obs["n_guides"] > 1).to_numpy()
    thin = schraivogel.copy()
    counts = thin.obsm["guide_counts"].astype(np.int64)
    counts.data = np.random.default_rng(0).binomial(counts.data, 0.1)
    assert np.median(np.asarray(counts.sum(axis=1))) == 6
    thin.obsm["guide_counts"] = counts
    found: dict[str, tuple[float, float]] = {}
    for method in ("joint", "mixture"):
        assign_guides(thin, SCHRAIVOGEL_RULE, method=method)
        called = (thin.obs["n_guides"] == 1).to_numpy() & thin.obs["guide_identity"].notna().to_numpy()
        same = (thin.obs["guide_identity"].astype(str) == full.obs["guide_identity"].astype(str)).to_numpy()
        found[method] = (called & same)[single].mean(), called[several].mean()
        assert (called & ~same)[single].mean() < 0.01
    recovered, kept = found["joint"]
    assert recovered >= 0.93
    assert kept <= 0.20
    assert recovered > found["mixture"][0]
    assert kept < found["mixture"][1]
