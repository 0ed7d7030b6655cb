import anndata as ad
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import scperturbmamba as spm
from scperturbmamba._judging import HEADLINE
from scperturbmamba.cli import app

torch.set_num_threads(1)

FILES = {"predicted.h5ad", "loss_curves.png", "effect.png", "scores.png", "qc.png"}


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


def check_folder(folder):
    assert {path.name for path in folder.iterdir()} == FILES
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert min(image.size) > 100 and len(image.convert("L").getcolors(256 * 256)) > 10
    return ad.read_h5ad(folder / "predicted.h5ad")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "out"
    return run("demo", "--epochs", "2", "--out", folder), folder


def test_the_demo_goes_from_raw_counts_to_predictions_and_figures(demo):
    result, folder = demo
    assert result.exit_code == 0, result.output
    predicted = check_folder(folder)
    assert predicted.n_vars == 200 and np.isfinite(predicted.X).all()
    assert predicted.n_obs > 5 and not predicted.obs["seen"].any()
    assert set(predicted.obs["split"]) == {"test"}
    assert "evaluation" in predicted.uns


def test_the_demo_prints_the_network_beside_the_baselines_and_says_what_it_is_worth(demo):
    result, folder = demo
    found = ad.read_h5ad(folder / "predicted.h5ad").uns["evaluation"]
    assert f"{len(found['conditions'])} held-out conditions" in result.output
    for name in ("predicted", "no_change", "mean", "additive", "ridge", "replicate"):
        line = next(line for line in result.output.splitlines() if line.startswith(f"{name} "))
        wanted = found["summary"].loc[name, list(HEADLINE)].round(3).tolist()
        assert [float(value) for value in line.split()[1:]] == pytest.approx(wanted)
    (line,) = [line for line in result.output.splitlines() if line.startswith("predicted ") and "perturbations" in line]
    for row in found["verdicts"].query("model == 'predicted'").itertuples():
        assert row.verdict in line and row.baseline in line and f"({row.n} perturbations)" in line
    assert all(name in result.output for name in FILES)


def test_a_benchmark_of_folds_writes_a_report_and_resumes(tmp_path):
    options = ("--model", "mean", "--model", "ridge", "--folds", "2", "--jobs", "1", "--out", tmp_path / "b")
    first = run("benchmark", *options)
    assert first.exit_code == 0, first.output
    assert (
        "ridge" in first.output and "replicate" in first.output and str(tmp_path / "b" / "report.html") in first.output
    )
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "b" / "predictions").iterdir()}
    assert len(made) == 4
    again = run("benchmark", *options)
    assert again.output == first.output
    assert {path: path.stat().st_mtime_ns for path in made} == made


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(("--model", "gears"), "models"), (("--feature", "sets"), "NAME=FILE"), (("--scheme", "random"), "scheme")],
)
def test_a_benchmark_that_cannot_be_says_why(arguments, text, tmp_path):
    result = run("benchmark", *arguments, "--out", tmp_path / "b")
    assert result.exit_code != 0 and text in str(result.exception)


def test_a_file_of_the_user_s_takes_the_same_journey(tmp_path):
    adata = spm.datasets.toy(n_genes=60, n_singles=16, n_doubles=2, cells_per_condition=30, n_control=120)
    del adata.uns["toy"], adata.obsm["guide_counts"]
    adata.obs["full"] = np.asarray(adata.X.sum(1)).ravel() + 10
    adata.write_h5ad(tmp_path / "mine.h5ad")
    result = run(
        "demo", "--data", tmp_path / "mine.h5ad", "--out", tmp_path / "out", "--epochs", "2",
        "--column", "condition", "--library-size", "full", "--head", "nb",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    predicted = check_folder(tmp_path / "out")
    assert predicted.uns["predictor"]["params"]["head"] == "nb"
    assert set(predicted.obs["perturbation"]) <= set(adata.obs["condition"].dropna())


def test_the_column_of_the_labels_is_found(tmp_path):
    adata = spm.datasets.toy(n_genes=60, n_singles=16, n_doubles=2, cells_per_condition=30, n_control=120)
    del adata.uns["toy"], adata.obsm["guide_counts"]
    adata.obs = adata.obs.rename(columns={"condition": "gene_target"})
    adata.write_h5ad(tmp_path / "mine.h5ad")
    result = run("demo", "--data", tmp_path / "mine.h5ad", "--out", tmp_path / "out", "--epochs", "1")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("demo", "--head", "poisson", "--epochs", "1"), "head"),
        (("demo", "--epochs", "0"), "epochs"),
    ],
)
def test_bad_settings_fail_with_a_message_that_names_them(arguments, text, tmp_path):
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert text in result.output + str(result.exception)


def test_a_file_that_is_not_there_is_named(tmp_path):
    result = run("demo", "--data", tmp_path / "nowhere.h5ad", "--out", tmp_path / "out")
    assert result.exit_code != 0
    assert "nowhere.h5ad" in result.output + str(result.exception)


def test_help_lists_the_command_and_its_options():
    assert all(name in run("--help").output for name in ("demo", "benchmark"))
    found = run("demo", "--help").output
    assert all(option in found for option in ("--data", "--out", "--column", "--head", "--epochs"))
