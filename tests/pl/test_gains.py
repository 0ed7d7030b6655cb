import pandas as pd
import pytest
from matplotlib.colors import to_hex

import scperturbmamba as spm
from scperturbmamba.pl._style import ACCENT, INK, MUTED, WARN


def rows(ax):
    return [one.get_text() for one in ax.get_yticklabels()]


def spans(ax):
    """Return the interval and colour of each row that has one, from the top."""
    lines = [line for line in ax.lines if len(line.get_xdata()) == 2 and line.get_color() in (ACCENT, WARN, MUTED)]
    return [(line.get_xdata().tolist(), line.get_color()) for line in lines]


def test_a_row_per_baseline_is_coloured_where_its_interval_leaves_out_zero(judged):
    axes = spm.pl.gains(judged)
    assert len(axes) == 6 and rows(axes[0]) == ["no change", "mean"]
    assert axes[0].get_ylabel() == "bimamba over"
    (better, worse), (_, undecided) = spans(axes[0]), spans(axes[1])
    assert better == (pytest.approx([0.2, 0.4]), ACCENT)
    assert worse == (pytest.approx([-0.4, -0.2]), WARN)
    assert undecided == (pytest.approx([-0.05, 0.15]), MUTED)


def test_zero_is_marked(judged):
    zero = [line for line in spm.pl.gains(judged, metrics="mse")[0].lines if list(line.get_xdata()) == [0, 0]]
    assert [to_hex(line.get_color()) for line in zero] == [INK]


def test_several_models_are_headed_by_their_names(judged):
    table = judged.uns["benchmark"]["comparison"]
    both = pd.concat([table, table.assign(model="lstm")], ignore_index=True)
    judged.uns["benchmark"]["comparison"] = both
    ax = spm.pl.gains(judged, metrics=["mse"])[0]
    assert rows(ax) == ["bimamba", "no change", "mean", "lstm", "no change", "mean"]
    weights = [one.get_fontweight() for one in ax.get_yticklabels()]
    assert weights == ["bold", "normal", "normal"] * 2
    assert len(spans(ax)) == 4 and ax.get_ylabel() == ""
    assert rows(spm.pl.gains(judged, model="lstm", metrics="mse")[0]) == ["no change", "mean"]


def test_a_model_that_leaks_is_drawn_on_request_only(judged):
    table = judged.uns["benchmark"]["comparison"]
    both = pd.concat([table, table.assign(model="embedding_ridge")], ignore_index=True)
    judged.uns["benchmark"]["comparison"] = both
    assert spm.pl.gains(judged)[0].get_ylabel() == "bimamba over"
    assert spm.pl.gains(judged, model="embedding_ridge")[0].get_ylabel() == "embedding ridge over"


def test_genes_without_the_perturbed_ones_can_be_asked_for(judged):
    table = judged.uns["benchmark"]["comparison"]
    table.loc[table["genes"] != "all", ["gain", "low", "high"]] = [1.0, 0.5, 1.5]
    ax = spm.pl.gains(judged, genes="without target", metrics="mse")[0]
    assert [span for span, _ in spans(ax)] == [[0.5, 1.5]] * 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"model": "gears"}, r"`model` must be one of \['bimamba'\]; found 'gears'"),
        ({"metrics": "mae"}, r"`metrics` must be one of .*'mae'"),
        ({"genes": "some"}, r"`genes` must be one of \['all', 'without target'\]"),
    ],
)
def test_what_is_not_there_is_refused(judged, options, text):
    with pytest.raises(ValueError, match=text):
        spm.pl.gains(judged, **options)


def test_without_a_comparison_it_says_what_to_run(judged):
    table = judged.uns["benchmark"]["comparison"]
    judged.uns["benchmark"]["comparison"] = table.iloc[:0]
    with pytest.raises(ValueError, match=r"compared with a baseline.*spm\.tl\.benchmark"):
        spm.pl.gains(judged)
    del judged.uns["benchmark"]["comparison"]
    with pytest.raises(KeyError, match=r"has no 'comparison'. Run `spm\.tl\.evaluate` or `spm\.tl\.benchmark` again"):
        spm.pl.gains(judged)
