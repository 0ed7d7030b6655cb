import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.collections import LineCollection
from matplotlib.text import Text

import scperturbmamba as spm

plt.switch_backend("agg")


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def compared(n, **options):
    rng = np.random.default_rng(0)
    delta = np.vstack([np.zeros(40), rng.normal(size=(n, 4)) @ rng.normal(size=(4, 40))]).astype(np.float32)
    names = ["control", *(f"P{number}" for number in range(n))]
    obs = pd.DataFrame({"perturbation": pd.Categorical(names)}, index=names)
    adata = AnnData(np.zeros_like(delta), obs=obs, layers={"delta": delta})
    spm.tl.similar_perturbations(adata, **options)
    return adata


@pytest.fixture
def adata():
    return compared(12)


def named(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def test_the_map_holds_the_similarity_in_the_order_of_the_leaves(adata):
    ax = spm.pl.similarity(adata)
    order = adata.uns["similarity"]["order"]
    rows = adata.obs_names.get_indexer(order)
    (image,) = ax.images
    np.testing.assert_array_equal(image.get_array(), adata.obsp["similarity"][np.ix_(rows, rows)])
    assert named(ax) == order and "control" not in order
    bottom, top = ax.get_ylim()
    assert bottom > top  # the first leaf is at the top


def test_colours_are_centred_at_zero(adata):
    for limit in (1.0, 0.4):
        (image,) = spm.pl.similarity(adata, limit=limit).images
        assert image.get_clim() == (-limit, limit)
    red, green, blue, _ = image.cmap(0.5)
    assert min(red, green, blue) > 0.98  # no similarity is white


def test_the_tree_joins_neighbouring_leaves_at_their_distance(adata):
    ax = spm.pl.similarity(adata)
    (tree,) = [one for child in ax.child_axes for one in child.collections if isinstance(one, LineCollection)][:1]
    forks = np.array(tree.get_segments())
    linkage = adata.uns["similarity"]["linkage"]
    np.testing.assert_allclose(forks[:, 1, 0], linkage[:, 2])
    leaves = sorted(y for fork in forks for x, y in (fork[0], fork[3]) if x == 0)
    assert leaves == list(range(12))
    one, other = forks[0, 1, 1], forks[0, 2, 1]
    assert abs(one - other) == 1  # the two most alike lie side by side
    pair = {adata.uns["similarity"]["order"][int(one)] for one in (one, other)}
    assert pair == {adata.obs_names[1 + int(leaf)] for leaf in linkage[0, :2]}


def test_names_are_written_where_they_fit_and_asked_for_where_they_do_not():
    few, many = compared(60), compared(61)
    assert len(named(spm.pl.similarity(few))) == 60
    assert named(spm.pl.similarity(many)) == []
    some = many.uns["similarity"]["order"][10:14]
    ax = spm.pl.similarity(many, names=some[::-1])
    written = [text for text in ax.texts if text.get_text() in some]
    assert [text.get_text() for text in written] == some
    ax.figure.canvas.draw()
    boxes = [Text.get_window_extent(text) for text in written]  # without the lines
    heights = sorted((box.y0, box.y1) for box in boxes)
    assert all(one[1] <= other[0] + 1 for one, other in zip(heights, heights[1:]))  # they do not overlap


@pytest.mark.parametrize("n", [2, 20, 60, 200])
def test_nothing_is_cut_off_and_cells_are_square(n):
    ax = spm.pl.similarity(compared(n))
    ax.figure.canvas.draw()
    box, page = ax.get_tightbbox(), ax.figure.bbox
    assert box.x0 >= -1 and box.y0 >= -1 and box.x1 <= page.x1 + 1 and box.y1 <= page.y1 + 1
    map_ = ax.get_window_extent()
    assert map_.width == pytest.approx(map_.height, rel=0.01)
    assert map_.height > 0.7 * page.height


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "Pearson correlation of effects, centred"),
        ({"metric": "spearman", "centred": False}, "Spearman correlation of effects"),
        ({"metric": "cosine"}, "cosine similarity of effects, centred"),
    ],
)
def test_the_colour_bar_says_what_was_compared(options, words):
    assert words in [text.get_text() for text in spm.pl.similarity(compared(5, **options)).texts]


def test_a_file_that_was_read_draws_the_same(adata, tmp_path):
    adata.write_h5ad(tmp_path / "one.h5ad")
    found = ad.read_h5ad(tmp_path / "one.h5ad")
    one, other = spm.pl.similarity(adata), spm.pl.similarity(found)
    assert named(one) == named(other)
    np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


def test_rows_in_another_order_draw_the_same(adata):
    shuffled = adata[np.random.default_rng(1).permutation(adata.n_obs)].copy()
    one, other = spm.pl.similarity(adata), spm.pl.similarity(shuffled)
    np.testing.assert_array_equal(one.images[0].get_array(), other.images[0].get_array())


def test_a_panel_of_the_user_s_is_drawn_into_and_another_slot_read(adata):
    spm.tl.similar_perturbations(adata, metric="cosine", key_added="mine")
    _, (one, other) = plt.subplots(1, 2)
    assert spm.pl.similarity(adata, ax=one) is one
    assert spm.pl.similarity(adata, key="mine", ax=other) is other
    assert len(plt.get_fignums()) == 1


def test_what_cannot_be_drawn_is_refused_with_a_way_on(adata):
    with pytest.raises(ValueError, match=r"1 are gone.*similar_perturbations.* again"):
        spm.pl.similarity(adata[adata.obs_names != "P3"].copy())
    with pytest.raises(KeyError, match="'P99'.*not in the tree.*Did you mean 'P9'"):
        spm.pl.similarity(adata, names=["P1", "P99"])
    with pytest.raises(KeyError, match=r"spm\.tl\.similar_perturbations"):
        spm.pl.similarity(adata, key="mine")
    with pytest.raises(ValueError, match="limit"):
        spm.pl.similarity(adata, limit=0)
