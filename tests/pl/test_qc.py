import anndata as ad
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import scperturbmamba as spm
from scperturbmamba.pl._guides import guides
from scperturbmamba.pl._qc import knockdown, qc
from scperturbmamba.pl._style import PALETTE, log_axis, panel
from scperturbmamba.pp._guides import assign_guides
from scperturbmamba.pp._labels import perturbation_labels
from scperturbmamba.pp._qc import qc_perturbseq

matplotlib.use("Agg")
RULE = r"^(.+)_g\d+$"


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def cleaned() -> ad.AnnData:
    adata = spm.datasets.toy(n_genes=60, n_singles=16, n_doubles=0, n_outside=2, cells_per_condition=30, n_control=150)
    adata.var_names = [f"MT-{n}" if n < 3 else name for n, name in enumerate(adata.var_names)]
    assign_guides(adata, RULE)
    perturbation_labels(adata, "guide_target")
    counts = adata.to_df()
    share = 100 * counts.filter(like="MT-").sum(axis=1) / counts.sum(axis=1)
    qc_perturbseq(
        adata, min_genes=int((counts > 0).sum(axis=1).quantile(0.1)), max_pct_mt=round(share.quantile(0.9), 1)
    )
    return adata


def snapshot(adata: ad.AnnData) -> tuple:
    return list(adata.obs), list(adata.var), sorted(adata.uns), sorted(adata.uns["qc"]), adata.X.sum()


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.texts]


def test_qc_draws_distributions_waterfall_and_knockdown_and_writes_nothing(cleaned):
    before = snapshot(cleaned)
    axes = qc(cleaned)
    assert [ax.get_xlabel() for ax in axes[:3]] == ["UMIs per cell", "Genes per cell", "Mitochondrial share (%)"]
    assert len(axes) == 5
    assert snapshot(cleaned) == before


def test_limits_are_drawn_where_they_were_set(cleaned):
    _, genes, mt, *_ = qc(cleaned)
    params = cleaned.uns["qc"]["params"]
    assert [line.get_xdata()[0] for line in genes.lines] == [params["min_genes"]]
    assert [line.get_xdata()[0] for line in mt.lines] == [params["max_pct_mt"]]
    assert texts(genes) == [str(params["min_genes"])]


def test_waterfall_bars_have_the_lengths_of_the_table(cleaned):
    ax = qc(cleaned)[3]
    table = cleaned.uns["qc"]["waterfall"]
    n_before = table["n_left"].iloc[0] + table["n_dropped"].iloc[0]
    lengths = [bar.get_width() for bar in ax.patches]
    assert lengths == [n_before, *table["n_dropped"], cleaned.n_obs]
    assert f"{cleaned.n_obs:,}" in texts(ax)


def test_knockdown_shows_each_measured_condition_once(cleaned):
    table = cleaned.uns["qc"]["conditions"]
    shown = table[table["target_left"].notna() & (table["n_cells"] > 0)]
    ax = knockdown(cleaned)
    assert sorted(label.get_text() for label in ax.get_yticklabels()) == sorted(shown.index)
    drawn = np.concatenate([np.asarray(box.lines[0].get_xdata(), dtype=float) for box in ax.containers])
    np.testing.assert_allclose(np.sort(drawn), np.sort(shown["target_left"]))


def test_knockdown_of_guides_goes_into_the_axes_given(cleaned):
    given = panel()
    assert knockdown(cleaned, per="guide", ax=given) is given
    assert "guides" in given.get_ylabel()


def test_a_screen_without_measured_targets_says_so(cleaned):
    adata = cleaned.copy()
    adata.uns["qc"]["conditions"] = adata.uns["qc"]["conditions"].assign(target_left=np.nan)
    assert texts(knockdown(adata)) == ["no target is measured"]
    assert len(qc(adata)) == 5


def test_guides_show_all_counts_and_shares_that_sum_to_one(cleaned):
    counts, shares = guides(cleaned)
    histogram = cleaned.uns["guides"]["histogram"]
    assert counts.patches[0].get_data().values.sum() == histogram["n"].sum()
    assert counts.patches[1].get_data().values.sum() == histogram["n_called"].sum()
    assert sum(bar.get_width() for bar in shares.patches) == pytest.approx(100)


@pytest.mark.parametrize("draw", [qc, knockdown, guides])
def test_missing_slots_are_named_with_the_call_that_makes_them(draw):
    adata = spm.datasets.toy(n_genes=20, n_singles=4, n_doubles=0, n_outside=1, cells_per_condition=5, n_control=10)
    with pytest.raises(KeyError, match="spm.pp"):
        draw(adata)


def test_knockdown_of_guides_needs_guides(cleaned):
    adata = cleaned.copy()
    del adata.uns["qc"]["guides"]
    with pytest.raises(KeyError, match="assign_guides"):
        knockdown(adata, per="guide")


def test_palette_has_no_colour_twice_and_log_axes_show_plain_numbers():
    assert len(set(PALETTE)) == len(PALETTE) == 8
    ax = panel()
    ax.plot([10, 20, 3000], [1, 2, 3])
    log_axis(ax)
    ax.figure.canvas.draw()
    assert "1,000" in [label.get_text() for label in ax.get_xticklabels()]
