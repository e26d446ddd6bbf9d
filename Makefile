# Needs only Python >= 3.11 and make. Everything is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: install run test test-all torture lint docs benchmarks clean
.DELETE_ON_ERROR:

install: $(READY)

run: $(READY)
	$(BIN)/mlbench run suites/textimage.yaml

# One thread for each of the parallel test processes: more would fight over the cores.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto -m "not slow"

test-all: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Damaged files, and commands that are killed: 20 minutes, no part of the tests.
torture: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python tests/torture

# The pages and tables that are generated from the components and their contract.
docs: $(READY)
	$(BIN)/python docs/generate.py

benchmarks: $(READY)
	for file in benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "mlbench needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .import_linter_cache
