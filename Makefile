PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test slow parity lint docs gpu
demo: .venv/core
	$(BIN)/python launch/table.py --suite=configs/ss_gcn/table.py --rows='^Citeseer GCN( \+ partition)?$$' --seeds=10 --workdir=runs/demo

test: .venv/test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

slow: .venv/test
	$(BIN)/python -m pytest -m slow

# Live comparisons with other implementations, where they are installed; -rs says what was skipped and why.
parity: .venv/test
	$(BIN)/python -m pytest -m parity -rs

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy vita_jax

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/mkdocs.yml

# Installs nothing: it uses the python that has jax for this machine's GPU or TPU.
gpu:
	$(PYTHON) launch/benchmark.py gpu

.venv/core: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(INSTALL) '.[graph]'
	touch $@

.venv/test: .venv/core
	$(INSTALL) '.[graph,test]'
	touch $@

.venv/docs: .venv/core
	$(INSTALL) '.[graph,docs]'
	touch $@
