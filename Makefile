# make demo, make test: everything from a fresh machine. TORCH=auto (or cu128, ...) installs a GPU build of torch.
PYTHON ?= python3
TORCH  ?= cpu
TORCH_VERSION ?= 2.13.0
DATA   ?=
OUT    ?= demo
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready-$(TORCH)

# A folder of wheels in PIP_FIND_LINKS (an offline mirror) wins over the torch index.
TORCH_SOURCE := $(if $(and $(PIP_FIND_LINKS),$(filter cpu,$(TORCH))),--find-links $(PIP_FIND_LINKS),--torch-backend $(TORCH))

.PHONY: help setup demo test test-long lint types contracts docs benchmarks clean

help:  ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

setup: $(READY)  ## create .venv and install everything

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	UV_COMPILE_BYTECODE=1 $(BIN)/uv pip install --quiet --python $(BIN)/python $(TORCH_SOURCE) \
		torch==$(TORCH_VERSION) -e ".[test,dev,docs]"
	touch $@

demo: setup  ## the whole journey, on the toy world or on DATA=file.h5ad
	$(BIN)/scperturbmamba demo $(if $(DATA),--data $(DATA)) --out $(OUT)

test: setup  ## the whole suite and the doctests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --durations=15

test-long: setup  ## long runs: full length, kills, fuzzing
	$(BIN)/python -m pytest -q -m slow tests

lint: setup  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## mypy
	$(BIN)/mypy

contracts: setup  ## who may import whom
	$(BIN)/lint-imports

docs: setup  ## the pages, warnings are errors
	$(BIN)/python -m sphinx -M html docs docs/_build -W --keep-going -q

benchmarks: setup  ## every claim, quickly
	for f in benchmarks/[a-z]*.py; do $(BIN)/python $$f --quick || exit 1; done

clean:  ## remove what was built
	rm -rf $(VENV) docs/_build docs/generated demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
