"""Long runs: kills, two processes, the full transcriptome. `make test-long`."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import scperturbmamba as spm
from scperturbmamba.data.conditions import Condition
from scperturbmamba.engine.config import NetConfig
from scperturbmamba.engine.predictor import Predictor, Sizes
from scperturbmamba.engine.scan import Weights, mix_with, scan_sequential
from scperturbmamba.engine.ssd import edges, mix
from scperturbmamba.engine.tokens import ConditionInputs, GeneInputs

pytestmark = pytest.mark.slow

TRAINING = """
    import json, sys
    import torch
    torch.set_num_threads(1)
    import scperturbmamba as spm
    spm.settings.progress = False

    def main(out, folder, devices, epochs):
        adata = spm.datasets.toy(n_genes=60, n_singles=20, n_doubles=2, cells_per_condition=15)
        spm.pp.perturbation_labels(adata, "condition")
        spm.pp.normalize(adata)
        spm.pp.split_conditions(adata)
        train = {"epochs": epochs, "every_n_epochs": 2, "devices": devices, "folder": folder or None}
        spm.tl.train_predictor(adata, net={"core": None, "width": 8, "head_width": 8, "state": 4}, train=train)
        known = [c for c in adata.obs["perturbation"].cat.categories if c != "control"]
        history = spm.get.history(adata).drop(columns="seconds")
        json.dump(
            {"x": spm.tl.predict(adata, known[:4]).X.tolist(), "epochs": history["epoch"].tolist()}, open(out, "w")
        )

    if __name__ == "__main__":
        main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
"""


def command(tmp_path: Path, out: str, folder: str, *, devices: int = 1, epochs: int = 60) -> list[str]:
    script = tmp_path / "training.py"
    script.write_text(textwrap.dedent(TRAINING))
    return [sys.executable, str(script), str(tmp_path / out), folder, str(devices), str(epochs)]


def result(tmp_path: Path, out: str) -> dict:
    return json.loads((tmp_path / out).read_text())


def test_a_killed_training_goes_on_to_the_same_numbers(tmp_path):
    subprocess.run(command(tmp_path, "whole.json", ""), check=True, timeout=300)

    folder = str(tmp_path / "state")
    process = subprocess.Popen(command(tmp_path, "resumed.json", folder))
    deadline = time.monotonic() + 120
    while not (Path(folder) / "training.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "resumed.json").exists(), "the training ended before it could be killed"
    subprocess.run(command(tmp_path, "resumed.json", folder), check=True, timeout=300)

    assert result(tmp_path, "resumed.json") == result(tmp_path, "whole.json")


def test_a_terminated_training_ends(tmp_path):
    folder = str(tmp_path / "state")
    process = subprocess.Popen(command(tmp_path, "never.json", folder, epochs=100_000))
    deadline = time.monotonic() + 120
    while not (Path(folder) / "training.ckpt").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=60) != 0
    assert not (tmp_path / "never.json").exists()


def test_two_processes_train_one_predictor(tmp_path):
    subprocess.run(command(tmp_path, "two.json", "", devices=2, epochs=6), check=True, timeout=300)
    found = result(tmp_path, "two.json")
    assert found["epochs"] == [2, 4, 6]
    assert np.isfinite(found["x"]).all()


def test_a_network_over_the_whole_transcriptome_takes_a_step():
    n_genes = 18_000
    generator = torch.Generator().manual_seed(0)
    genes = GeneInputs(
        torch.randint(0, 24, (n_genes,), generator=generator),
        torch.randn(n_genes, 8, generator=generator),
        torch.randn(n_genes, 16, generator=generator),
    )
    net = Predictor(NetConfig(), genes, Sizes(3, 2, 16, 16, 1), state=torch.zeros(1, n_genes))
    one = torch.ones(2, 1, dtype=torch.long)
    conditions = ConditionInputs(
        index=torch.tensor([[1], [2]]), kind=one, features=torch.randn(2, 1, 16), code=torch.randn(2, 1, 16),
        present=one.bool(), place=-one, context=torch.zeros(2, dtype=torch.long), covariates=torch.zeros(2, 1),
    )  # fmt: skip
    net(conditions).shift.square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert net.condition.identity.weight.grad[1:].abs().max() > 0


@settings(max_examples=3000, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=4))
def test_any_names_survive_as_a_label(names):
    condition = Condition.of(*names)
    assert Condition.parse(condition.label) == condition


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=15), min_size=3, max_size=20))
def test_any_column_of_labels_is_read_or_refused_by_name(labels):
    adata = spm.datasets.toy(n_genes=10, n_singles=8, n_doubles=1, cells_per_condition=10)[: len(labels)].copy()
    adata.obs["any"] = labels
    before = adata.obs.copy()
    try:
        spm.pp.perturbation_labels(adata, "any")
    except ValueError:
        assert adata.obs.equals(before)
    else:
        for label in adata.obs["perturbation"].cat.categories:
            assert Condition.parse(label).label == label


def test_at_full_length_the_fast_form_is_the_definition_in_values_and_gradients():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    length, h, p, n = 18_001, 1, 2, 2
    weights = Weights(normal(h * p + 2 * n, 3), normal(h * p + 2 * n), normal(h), normal(h * p))
    steps, rates = torch.nn.functional.softplus(normal(1, length, 2, h) - 4), -torch.exp(normal(2, h) - 3)
    proj, weight = normal(1, length, 2 * h * p + 2 * n), normal(1, length, h * p)
    results = []
    for form in ("fast", "definition"):
        leaves = [one.clone().requires_grad_() for one in (proj, *weights, steps, rates)]
        own, dt, A = Weights(*leaves[1:5]), *leaves[5:]
        if form == "fast":
            y = mix(leaves[0], own, edges(dt, A))
        else:
            y = mix_with(scan_sequential, leaves[0], own, dt, A)
        results.append([y.detach(), *torch.autograd.grad((y * weight).sum(), leaves)])
    for found, expected in zip(*results):
        assert float((found - expected).abs().max() / expected.abs().max()) <= 1e-12
