"""The manners of the house, for every public function and every module, those to come included."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from matplotlib import pyplot as plt

import scperturbmamba as spm
from scperturbmamba import _keys
from scperturbmamba._checks import check_params

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
ROOMS = ("pp", "tl", "pl", "get", "io")
PUBLIC = {f"{room}.{name}": getattr(getattr(spm, room), name) for room in ROOMS for name in getattr(spm, room).__all__}
WRITERS = sorted(
    name
    for name, function in PUBLIC.items()
    if name.startswith(("pp.", "tl.", "io.")) and inspect.signature(function).return_annotation in (None, "None")
)
RAISES_NOTHING = {"pp.detect_columns"}  # it only looks at names and values
LONGEST_MODULE, LONGEST_BODY, MOST_PARAMETERS = 400, 60, 10

every_function = pytest.mark.parametrize("name", sorted(PUBLIC))
every_module = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT / "src")))


# ---------------------------------------------------------------- signatures


def parameters_of(name: str) -> list[inspect.Parameter]:
    return list(inspect.signature(PUBLIC[name]).parameters.values())


@every_function
def test_the_data_come_first_then_at_most_one_more_by_position(name):
    parameters = parameters_of(name)
    positional = [one.name for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert positional[0] in ("adata", "predicted")
    assert len(positional) <= 2
    assert len(parameters) <= MOST_PARAMETERS
    assert not any(one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD) for one in parameters)


@every_function
def test_a_choice_of_yes_or_no_is_named_and_nothing_is_verbose(name):
    parameters = parameters_of(name)
    by_position = [one for one in parameters if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert not [one.name for one in by_position if isinstance(one.default, bool) or "bool" in str(one.annotation)]
    assert "verbose" not in [one.name for one in parameters]


@every_function
def test_every_parameter_and_the_result_have_a_type(name):
    signature = inspect.signature(PUBLIC[name])
    assert signature.return_annotation is not inspect.Signature.empty
    assert not [one.name for one in signature.parameters.values() if one.annotation is inspect.Parameter.empty]


# ---------------------------------------------------------------- docstrings


def sections_of(name: str) -> dict[str, str]:
    """Return the numpydoc sections of a docstring by their headings."""
    text = inspect.getdoc(PUBLIC[name]) or ""
    pieces = re.split(r"^(\w[\w ]*)\n-{3,}$", text, flags=re.MULTILINE)
    return {"": pieces[0], **dict(zip(pieces[1::2], pieces[2::2]))}


def documented_parameters(section: str) -> list[str]:
    heads = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.strip() for head in heads for name in head.split(",")]


@every_function
def test_the_docstring_documents_exactly_the_parameters_in_their_order(name):
    assert documented_parameters(sections_of(name)["Parameters"]) == [one.name for one in parameters_of(name)]


@every_function
def test_the_docstring_says_what_is_returned_and_raised_and_shows_an_example(name):
    sections = sections_of(name)
    expected = {"Returns", "Raises", "Examples"} - ({"Raises"} if name in RAISES_NOTHING else set())
    assert not [heading for heading in sorted(expected) if not sections.get(heading, "").strip()]


@every_function
def test_the_first_line_is_one_sentence_in_the_imperative(name):
    first = sections_of(name)[""].splitlines()[0]
    assert first.endswith(".")
    assert not first.split()[0].endswith("s"), "say what to do, not what it does"


# ---------------------------------------------------------------- the pages


def test_every_public_name_is_on_the_api_pages():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    listed = set(re.findall(r"^\s+((?:\w+\.)+\w+)\s*$", pages, flags=re.MULTILINE))
    public = set(PUBLIC) | {f"{room}.{name}" for room in ("metrics", "datasets") for name in getattr(spm, room).__all__}
    assert not public - listed
    assert {"engine.config.NetConfig", "engine.config.TrainConfig"} <= listed
    assert "spm.settings" in pages


def test_the_readme_shows_what_the_demo_printed():
    table = (ROOT / "docs" / "_results" / "demo.txt").read_text().strip()
    assert table in (ROOT / "README.md").read_text(), "run docs/refresh.py"


NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)]


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def code_of(path: Path) -> str:
    """Return the Python of a notebook or of a page's blocks, without shell lines."""
    if path.suffix == ".ipynb":
        blocks = ["".join(cell["source"]) for cell in code_cells(path)]
    else:
        blocks = re.findall(r"^```i?python\n(.*?)^```", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    return "\n".join(re.sub(r"^!.*$", "", block, flags=re.MULTILINE) for block in blocks)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_was_run_to_its_end_in_order_without_a_complaint(path):
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]
    assert str(ROOT) not in json.dumps(outputs)


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_the_pages_call_only_what_exists_with_arguments_that_exist(path):
    for call in (node for node in ast.walk(ast.parse(code_of(path))) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        if re.fullmatch(r"spm(\.\w+)+", name):
            function = attrgetter(name.removeprefix("spm."))(spm)
            given = {one.arg: None for one in call.keywords if one.arg}
            inspect.signature(function).bind(*[None for _ in call.args], **given)


def test_the_conda_environment_asks_for_what_the_package_asks_for():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {"pytorch" + one.removeprefix("torch") if one.startswith("torch>") else one for one in declared}
    listed = set(re.findall(r"^\s*- ([\w-]+[><=][^\s]+)\s*$", (ROOT / "environment.yml").read_text(), re.MULTILINE))
    assert not wanted - {one.replace("matplotlib-base", "matplotlib") for one in listed}


# ---------------------------------------------------------------- modules


def test_importing_the_package_loads_anndata_and_nothing_heavier():
    heavy = ("torch", "scanpy", "lightning", "sklearn", "matplotlib.pyplot")
    wanted = (*heavy, "anndata")
    code = f"import sys, json, scperturbmamba; print(json.dumps([m for m in {wanted!r} if m in sys.modules]))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == ["anndata"]


def code_lines(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Return how many lines of a function's body hold code, its docstring left out."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    text = lines[body[0].lineno - 1 : node.end_lineno] if body else []
    return sum(bool(line.strip()) and not line.strip().startswith("#") for line in text)


@every_module
def test_a_module_is_short_and_so_are_its_functions(path):
    lines = path.read_text().splitlines()
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert len(lines) <= LONGEST_MODULE
    assert not [node.name for node in functions if code_lines(node, lines) > LONGEST_BODY]


@every_module
def test_no_module_asserts_what_a_user_gives_or_sets_a_global_seed(path):
    tree = ast.parse(path.read_text())
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not {"np.random.seed", "random.seed", "logging.basicConfig", "warnings.simplefilter"} & set(calls)
    forked = "torch.random.fork_rng" in calls
    assert forked or not {"torch.manual_seed", "torch.random.manual_seed"} & set(calls)


def test_no_file_is_named_after_a_drawer():
    drawers = {"utils", "helpers", "common", "misc", "tools"}
    assert not [path.name for path in SOURCES if path.stem.strip("_") in drawers]


def test_every_slot_name_is_written_once():
    words = {"CONTROL", "TRAIN", "VAL", "TEST"}  # values of slots, not names of slots
    names = {name: value for name, value in vars(_keys).items() if name.isupper() and name not in words}
    assert len(set(names.values())) == len(names)


# ---------------------------------------------------------------- what is done to the AnnData


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> dict[str, Any]:
    """Return a screen after every writer, predictions, profiles, and the names of the writers that ran."""
    adata = spm.datasets.toy(n_genes=30, n_singles=16, n_doubles=2, cells_per_condition=20, n_control=90)
    ran: list[str] = []

    def write(name: str, *args: Any, **options: Any) -> None:
        assert PUBLIC[name](*args, **options) is None
        ran.append(name)

    net = {"head": "nb", "width": 8, "head_width": 8, "state": 4, "layers": 1}
    train = {"epochs": 1}
    files = {"position": adata.uns["toy"]["outside"], "sets": adata.uns["toy"]["gene_sets"]}
    folder = tmp_path_factory.mktemp("predictor") / "folder"
    write("pp.assign_guides", adata, r"^(.+)_g\d+$")
    write("pp.perturbation_labels", adata, "guide_target")
    write("pp.qc_perturbseq", adata, max_targets=2, min_cells=5)
    write("pp.normalize", adata)
    write("pp.match_controls", adata, "batch")
    write("pp.split_conditions", adata)
    write("pp.select_genes", adata, n_top_genes=20)
    write("tl.gene_features", adata, ["identity", "position", "sets"], files=files)
    write("tl.drug_features", adata, smiles={"(+)-ethanol": "CCO"}, width={"fingerprint": 32})
    write("tl.train_predictor", adata, net=net, train=train)
    write("tl.save_predictor", adata, folder)
    write("tl.load_predictor", adata.copy(), folder)
    write("tl.benchmark", adata, ["no_change", "mean", "lstm"], net=net, train=train)
    write("tl.train_inverse", adata, key=None)
    write("tl.rank_perturbations", adata, groupby="perturbation")
    write("tl.evaluate_inverse", adata, ["dictionary", "centroid"], hold_out="batch", cells=[1, "all"])
    write("tl.search_inverse", adata, "knn", hold_out="batch", ranges={"n_neighbours": [5, 10]}, n_trials=1)
    held_out = adata.obs.loc[(adata.obs["split"] == "test") & ~adata.obs["is_control"], "perturbation"]
    predicted = spm.tl.predict(adata, sorted(held_out.unique()))
    write("tl.evaluate", predicted, adata)
    cells = spm.tl.predict(adata, next(name for name in predicted.obs_names if "+" not in name), n_cells=3)
    write("io.write_vcc", cells, folder.with_name("upload.h5ad"), n_cells=3, context="toy")
    bulk = spm.pp.pseudobulk(adata)
    write("tl.similar_perturbations", bulk)
    return {"adata": adata, "predicted": predicted, "bulk": bulk, "cells": cells, "ran": ran}


READERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "get.effects": lambda world: spm.get.effects(world["predicted"]),
    "get.history": lambda world: spm.get.history(world["adata"]),
    "get.scores": lambda world: spm.get.scores(world["adata"]),
    "get.similar": lambda world: spm.get.similar(world["bulk"]),
    "io.read_predictions": lambda world: spm.io.read_predictions(world["adata"], world["predicted"]),
    "io.to_cell_eval": lambda world: spm.io.to_cell_eval(world["predicted"], world["adata"]),
    "io.to_gears": lambda world: spm.io.to_gears(world["adata"], context="cell_line"),
    "pl.agreement": lambda world: spm.pl.agreement(
        world["predicted"], world["predicted"].obs_names[0], measured=world["bulk"]
    ),
    "pl.context_heatmap": lambda world: spm.pl.context_heatmap(
        world["predicted"], world["predicted"].obs_names[0], measured=world["bulk"]
    ),
    "pl.dose_response": lambda world: spm.pl.dose_response(
        spm.tl.predict(world["adata"], ["(+)-ethanol@1", "(+)-ethanol@3"]), world["adata"].var_names[0]
    ),
    "pl.effect": lambda world: spm.pl.effect(world["predicted"], measured=world["bulk"]),
    "pl.gains": lambda world: spm.pl.gains(world["predicted"]),
    "pl.guides": lambda world: spm.pl.guides(world["adata"]),
    "pl.inverse_confusion": lambda world: spm.pl.inverse_confusion(world["adata"]),
    "pl.inverse_f1": lambda world: spm.pl.inverse_f1(world["adata"]),
    "pl.inverse_ranking": lambda world: spm.pl.inverse_ranking(world["adata"]),
    "pl.knockdown": lambda world: spm.pl.knockdown(world["adata"], per="guide"),
    "pl.loss_curves": lambda world: spm.pl.loss_curves(world["adata"]),
    "pl.paired": lambda world: spm.pl.paired(world["predicted"]),
    "pl.qc": lambda world: spm.pl.qc(world["adata"]),
    "pl.reliability": lambda world: spm.pl.reliability(world["predicted"]),
    "pl.scores": lambda world: spm.pl.scores(world["predicted"]),
    "pl.similarity": lambda world: spm.pl.similarity(world["bulk"]),
    "pl.strata": lambda world: spm.pl.strata(world["adata"]),
    "pp.detect_columns": lambda world: spm.pp.detect_columns(world["adata"]),
    "pp.pseudobulk": lambda world: spm.pp.pseudobulk(world["adata"]),
    "tl.audit_leakage": lambda world: spm.tl.audit_leakage(world["adata"], inputs="guide_counts"),
    "tl.cycle_consistency": lambda world: spm.tl.cycle_consistency(world["adata"]),
    "tl.match_signature": lambda world: spm.tl.match_signature(
        world["adata"], dict(zip(world["adata"].var_names, range(30)))
    ),
    "tl.screen": lambda world: spm.tl.screen(world["adata"], world["predicted"].obs_names[0]),
    "tl.predict": lambda world: spm.tl.predict(world["adata"], world["predicted"].obs_names[0]),
}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Walk through everything an AnnData holds, as plain values that survive being written."""
    if isinstance(value, ad.AnnData):
        slots = {"X": value.X, "obs": value.obs, "var": value.var, "uns": value.uns}
        for name in ("layers", "obsm", "varm", "obsp", "varp"):
            slots[name] = {key: one for key, one in getattr(value, name).items() if key is not None}
        yield from leaves(slots, path)
    elif isinstance(value, Mapping):
        yield f"{path}:keys", sorted(map(str, value))
        for key in sorted(value):
            yield from leaves(value[key], f"{path}/{key}")
    elif isinstance(value, pd.DataFrame):
        yield f"{path}:index", list(map(str, value.index))
        yield f"{path}:columns", list(map(str, value.columns))
        for column in value:
            yield from leaves(value[column], f"{path}/{column}")
    elif isinstance(value, pd.Series) and isinstance(value.dtype, pd.CategoricalDtype):
        yield f"{path}:categories", list(value.cat.categories)
        yield f"{path}:codes", value.cat.codes.tolist()
    elif sp.issparse(value):
        yield path, (value.shape, value.dtype.str, value.toarray().tobytes())
    else:
        yield path, _plain(value)


def _plain(value: Any) -> Any:
    array = np.asarray(value)
    if array.ndim == 0:
        return repr(array.item())
    if array.dtype.kind in "OUST":
        return [None if pd.isna(one) else str(one) for one in array.ravel()]
    return array.shape, array.dtype.str, np.ascontiguousarray(array).tobytes()


def same(one: Any, other: Any) -> list[str]:
    """Return the places in which two values differ."""
    ours, theirs = dict(leaves(one)), dict(leaves(other))
    return [path for path in sorted(ours.keys() | theirs.keys()) if ours.get(path, ...) != theirs.get(path, ...)]


def test_every_writer_has_been_tried(world):
    assert sorted(set(world["ran"])) == WRITERS


def test_every_other_function_is_tried_as_a_reader():
    assert sorted(READERS) == sorted(set(PUBLIC) - set(WRITERS))


@pytest.mark.parametrize("name", sorted(READERS))
def test_what_does_not_write_leaves_everything_as_it_was(world, name):
    before = {key: world[key].copy() for key in ("adata", "predicted", "bulk")}
    assert READERS[name](world) is not None
    plt.close("all")
    for key, copy in before.items():
        assert same(copy, world[key]) == []


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data")
@pytest.mark.parametrize("form", ["h5ad", "zarr"])
@pytest.mark.parametrize("which", ["adata", "predicted", "bulk", "cells"])
def test_every_slot_survives_being_written_and_read(world, which, form, tmp_path):
    path = tmp_path / f"one.{form}"
    getattr(world[which], f"write_{form}")(path)
    found = getattr(ad, f"read_{form}")(path)
    assert same(world[which], found) == []


def test_a_changed_number_would_be_seen(world):
    changed = world["adata"].copy()
    changed.uns["qc"]["waterfall"]["n_dropped"] += 1
    changed.obs.iloc[0, changed.obs.columns.get_loc("is_control")] ^= True
    assert same(world["adata"], changed) == ["/obs/is_control", "/uns/qc/waterfall/n_dropped"]


def test_params_are_flat_and_of_plain_types(world):
    found = [value for key in ("adata", "predicted", "bulk") for value in _params_in(world[key].uns)]
    assert len(found) > 8
    for params in found:
        assert check_params(dict(params)) == params


def _params_in(uns: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for key, value in uns.items():
        if key == _keys.PARAMS:
            yield value
        elif isinstance(value, Mapping):
            yield from _params_in(value)
