import base64
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scperturbmamba as spm
from scperturbmamba.tl import _html_words as words
from scperturbmamba.tl._comparison import compare, pairs_of, stratify, verdicts
from scperturbmamba.tl._html_definitions import METRIC_WORDS, SPLIT_WORDS, describe_model
from scperturbmamba.tl._html_report import html_report
from scperturbmamba.tl._html_tables import best_of, digits_for, plain_number
from scperturbmamba.tl._metric_table import METRICS
from scperturbmamba.tl._model_names import CORE, FROM_FEATURES, NETWORKS, PLAIN

HOSTILE = "<script>alert('x')</script> & $y$"
N, GENES = 12, 30
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Reads a page, refuses a tag that is not closed, and keeps what is seen."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.images, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += f"{data} "

    @property
    def said(self):
        return re.sub(r"\s+", " ", self.text)


def found_of(models, *, scheme="perturbation", context="all", labels=None, seed=0):
    """Return the tables of a benchmark in which each model has a mean score, with its truth and effects."""
    rng = np.random.default_rng(seed)
    labels = labels or [HOSTILE, *(f"P{number}" for number in range(1, N))]
    rows = pd.DataFrame(
        {
            "perturbation": labels,
            "context": context,
            "n_cells": np.arange(20, 20 + len(labels)),
            "effect_size": rng.uniform(0.1, 1, len(labels)),
            "n_changed_genes": 5,
            "split_half_r": 0.6,
            "novelty": "unseen gene",
            "split": "split",
        }
    )
    noise = rng.normal(0, 0.01, len(labels))
    every = {**models, "replicate": 0.5, "interpolated_duplicate": 0.55}
    scores = pd.DataFrame(
        [
            (model, genes, label, context, metric, (1 - at if metric in words.LOW_IS_GOOD else at) + one, "split", 0)
            for model, at in every.items()
            for genes in ("all", "without target")
            for metric in METRICS
            for label, one in zip(labels, noise + rng.normal(0, 0.001, len(labels)))
        ],
        columns=["model", "genes", "perturbation", "context", "metric", "value", "split", "seed"],
    )
    comparison = compare(scores, pairs_of(list(models)))
    summary = words.mean_scores(scores)
    alike = [1.0 if name == "mean" else 0.4 for name in models]
    collapse = pd.DataFrame({"model": list(models), "similarity": alike, "measured_similarity": 0.12, "spread": 0.5})
    truth = rng.normal(size=(len(labels), GENES)).astype(np.float32)
    found = {
        "params": {
            "models": list(models), "splits": ["split"], "schemes": [scheme], "seeds": ["0"], "context": None,
            "net": '{"width": 8}', "train": '{"epochs": 2}', "response": "expression", "n_test": len(labels),
        },
        "scores": scores, "summary": summary, "scaled": summary - 0.1, "comparison": comparison,
        "verdicts": verdicts(comparison), "strata": stratify(scores, rows),
        "collapse": collapse.assign(alarm=np.array(alike) > 0.95), "conditions": rows,
    }  # fmt: skip
    named = pd.DataFrame({"label": labels, "context": context})
    effects = {name: truth * at for name, at in models.items()}
    return found, SimpleNamespace(rows=named, delta=truth), effects


MODELS = {"no_change": 0.0, "mean": 0.1, "knn_shuffled": 0.3, "bimamba": 0.2}


@pytest.fixture(autouse=True, scope="module")
def agg():
    plt.switch_backend("agg")


@pytest.fixture(scope="module")
def text():
    return html_report(*found_of(MODELS))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_the_page_is_whole_and_needs_nothing_else(text, page):
    assert text.startswith("<!DOCTYPE html>") and page.tags.count("h1") == 1
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert not re.search(r"https?:|//[a-z]|url\(|@import", re.sub(r"base64,[^\"]*", "", text))


def test_what_comes_from_data_is_escaped(text, page):
    assert "<script" not in text and "&lt;script&gt;" in text
    assert HOSTILE in page.said


def test_the_verdict_comes_first_and_in_words(page):
    said = page.said
    assert "bimamba beats no change and mean (2 of 3 baselines); loses to knn shuffled." in said
    assert said.index("bimamba beats") < said.index("What was done") < said.index("Scores")
    assert re.search(r"The strongest baseline: on MSE it is knn shuffled \(0\.69\d; bimamba 0\.79\d\) and on", said)


def test_it_says_what_was_done(page):
    for part in (
        f"{N} perturbations: {N} × unseen gene",
        "split: perturbed genes are held out, with every combination that holds one",
        "306; 25 per condition (median), 20 at least",
        "5 changed genes per condition (median); two halves of the cells correlate 0.60 (median)",
        "width 8",
        "epochs 2",
        "anndata",
    ):
        assert part in page.said


def test_figures_are_inside_sharp_and_described(page):
    assert len(page.images) == 7
    for one in page.images:
        kind, data = one["src"].split(",", 1)
        raw = base64.b64decode(data)
        assert kind == "data:image/png;base64" and raw.startswith(b"\x89PNG")
        pixels = int.from_bytes(raw[16:20], "big")
        assert pixels == pytest.approx(2 * int(one["width"]), abs=4) and len(one["alt"]) > 20


def test_figures_are_closed_and_the_user_s_style_is_left_alone():
    before = plt.get_fignums()
    with plt.rc_context({"axes.facecolor": "black", "font.size": 30}):
        html_report(*found_of(MODELS))
        assert plt.rcParams["font.size"] == 30
    assert plt.get_fignums() == before


def test_every_metric_is_in_a_table_and_defined(page):
    assert set(METRIC_WORDS) == set(METRICS)
    for line in METRIC_WORDS.values():
        assert line in page.said
    assert "Centred R² delta\xa0↑" in page.text and "Rank\xa0↓" in page.text


def test_every_model_and_split_can_be_described():
    for name in (*PLAIN, *FROM_FEATURES, CORE, *NETWORKS, "ridge_shuffled:string", "embedding_ridge:X_pca"):
        assert describe_model(name)
    assert "wrong genes" in describe_model("ridge_shuffled") and "from string" in describe_model("knn:string")
    assert describe_model("predicted") == ""
    by_condition = {"perturbation", "condition", "kfold", "simulation", "doubles"}
    assert set(SPLIT_WORDS) == by_condition | {"context", "dose", "pair", "cell"}


def test_baselines_that_must_be_the_same_for_all_raise_no_alarm(page):
    assert "acts as the mean" not in page.said
    assert "Baselines that predict nearly one effect for all: mean." in page.said


def test_a_collapse_of_the_network_is_told_in_words():
    found, truth, effects = found_of(MODELS)
    table = found["collapse"].set_index("model")
    table.loc["bimamba", ["similarity", "alarm"]] = [0.99, True]
    found["collapse"] = table.reset_index()
    said = Page(html_report(found, truth, effects)).said
    assert (
        f"bimamba: predictions for {N} perturbations correlate 0.99 with each other (measured 0.12): "
        "the model acts as the mean." in said
    )
    table.loc["bimamba", ["similarity", "spread"]] = [0.3, 0.004]
    found["collapse"] = table.reset_index()
    assert "vary 0.4 % as much as the measured effects and correlate 0.30" in words.warnings_of(found)[0]


def test_an_easy_split_and_a_model_that_leaks_are_named():
    found, truth, effects = found_of({**MODELS, "embedding_ridge:X_pca": 0.9}, scheme="cell")
    found["scaled"] = pd.DataFrame()
    text = html_report(found, truth, effects)
    said = Page(text).said
    assert "The split 'split' holds out cells, not perturbations" in said and "This is easy" in said
    assert "embedding ridge:X_pca leaks: it predicts a held-out condition from that condition's own cells" in said
    assert "Benchmark of bimamba</h1>" in text and "embedding ridge:X_pca against" not in said
    best = re.findall(r'<td class="n best">([^<]*)', text)
    assert best and not [one for one in best if one.startswith(("0.9", "0.1"))]  # what leaks is never the best


def test_too_few_are_not_judged():
    found, *rest = found_of({"mean": 0.1, "bimamba": 0.9}, labels=["A", "B", "C"])
    assert (
        "is compared with mean on 3 perturbations only: too few to say, 10 are needed"
        in words.verdict_lines(found)[0][1]
    )
    Page(html_report(found, *rest))


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("beats", "beats ridge (1 of 1 baselines)."),
        ("loses to", "beats none of 1 baseline; loses to ridge."),
        ("cannot be told from", "beats none of 1 baseline; cannot be told from ridge."),
        ("mixed: does not beat", "beats none of 1 baseline; is mixed against ridge, and so does not beat it."),
    ],
)
def test_each_verdict_has_its_words(verdict, said):
    assert words.verdict_words(pd.DataFrame({"verdict": [verdict], "baseline": ["ridge"], "n": [20]})) == said


def test_baselines_alone_are_the_subject_where_there_is_no_network():
    found, *rest = found_of({"mean": 0.1, "ridge": 0.3})
    said = Page(html_report(found, *rest)).said
    assert "ridge beats mean (1 of 1 baselines)." in said


def test_one_model_alone_has_a_page(page):
    found, *rest = found_of({"ridge": 0.3})
    alone = Page(html_report(found, *rest))
    assert "One model only: nothing to compare it with." in alone.said and len(alone.images) < len(page.images)


def test_effects_that_were_given_have_no_cells_and_no_ceiling():
    found, *rest = found_of(MODELS)
    found["params"]["response"] = "effect"
    found["scores"] = found["scores"][~found["scores"]["model"].isin(["replicate", "interpolated_duplicate"])]
    found["strata"] = found["strata"][found["strata"]["model"].isin(MODELS)]
    found["scaled"] = pd.DataFrame(columns=["mse"])
    found["conditions"] = found["conditions"].assign(split_half_r=np.nan)
    said = Page(html_report(found, *rest)).said
    assert "as given in X" in said and "Test cells" not in said and "to a replicate, 1" not in said


def test_means_are_over_perturbations_first(page):
    scores = found_of({"mean": 0.1})[0]["scores"].iloc[:3].copy()
    scores["perturbation"], scores["value"], scores["metric"] = ["A", "A", "B"], [0.0, 1.0, 2.0], "mse"
    assert words.mean_scores(scores).loc["mean", "mse"] == 1.25


def test_strata_of_several_splits_are_those_of_each_split():
    found, *_ = found_of({"mean": 0.1})
    both = {name: pd.concat([found[name], found[name].assign(split="other")]) for name in ("scores", "conditions")}
    rows = both["conditions"].reset_index(drop=True)
    rows.loc[rows["split"] == "other", "novelty"] = "seen gene"
    table = stratify(both["scores"], rows)
    counts = table[table["model"] == "mean"].drop_duplicates(["stratum", "level"])[["stratum", "level", "n"]]
    assert set(counts.loc[counts["stratum"] == "effect size", "level"]) == {"weak", "middle", "strong"}
    assert counts.loc[counts["stratum"] == "novelty"].set_index("level")["n"].to_dict() == {
        "unseen gene": N,
        "seen gene": N,
    }


def test_numbers_are_written_plainly():
    assert [plain_number(one) for one in (-0.12345, float("nan"), 1234.5, -1e-9)] == [
        "−0.123",
        "–",
        "1,234.500",
        "0.000",
    ]
    assert [digits_for([one, float("nan")]) for one in (0.2, -12.0, 500.0, 2e4)] == [3, 2, 1, 0]
    assert best_of([3.0, 1.0, 2.0, 2.0], [True, False, True, True], low=True) == {2, 3}
    assert best_of([float("nan")], [True], low=False) == set()
    assert words.listed(["a", "b", "c"]) == "a, b and c" and words.listed([]) == ""


def test_a_benchmark_writes_it(screen, tmp_path):
    net, train = {"width": 8, "head_width": 8, "state": 4}, {"epochs": 1, "every_n_epochs": 1}
    spm.tl.benchmark(screen, ["mean", "additive", "lstm"], net=net, train=train, folder=tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Benchmark of lstm" in page.said and len(page.images) == 7
    assert "split: conditions are held out, each for itself" in page.said
