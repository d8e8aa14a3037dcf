PYTHON ?= python3
BIN = .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo demo-browser test slow parity oldest lint docs gpu
demo: .venv/core
	$(BIN)/python launch/table.py --suite=configs/ss_gcn/table.py --rows='^Citeseer GCN( \+ partition)?$$' --seeds=10 --workdir=runs/demo

# The page of launch/gan_slimming/demo in headless Chromium against stylize.py; needs npm and Chromium.
demo-browser: .venv/test
	$(INSTALL) '.[graph,test,onnx]'
	npm --prefix launch/gan_slimming/demo ci --no-audit --no-fund
	$(BIN)/python launch/gan_slimming/demo/check.py

test: .venv/test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

slow: .venv/test
	$(BIN)/python -m pytest -m slow

# Live comparisons with other implementations, where they are installed; -rs says what was skipped and why.
parity: .venv/test
	$(BIN)/python -m pytest -m parity -rs

# The tests with the oldest versions that setup.cfg allows, in an environment of their own.
OLDEST = .venv-oldest/bin/python
oldest: .venv-oldest/test
	$(OLDEST) -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy vita_jax

docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file docs/mkdocs.yml

# Installs nothing: the Python must have jax for this machine's GPU or TPU. PYTHON=... names it; else it is
# .venv's, or where there is none python3.
GPU_PYTHON = $(if $(filter file,$(origin PYTHON)),$(or $(wildcard $(BIN)/python),$(PYTHON)),$(PYTHON))
gpu:
	@$(GPU_PYTHON) -c "$$NEEDS"
	PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(GPU_PYTHON) launch/benchmark.py gpu

define NEEDS
import sys
from importlib.util import find_spec
gone = [name for name in ('absl', 'jax', 'flax', 'ml_collections', 'optax', 'orbax') if not find_spec(name)]
if gone: sys.exit(f'error: $(GPU_PYTHON) has no {", ".join(gone)}: make gpu PYTHON=... names a Python that has')
endef
export NEEDS

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

.venv-oldest/test: setup.cfg constraints.txt constraints-oldest.txt
	$(PYTHON) -m venv .venv-oldest
	awk -F== 'NR == FNR { old[$$1]; print; next } !($$1 in old)' constraints-oldest.txt constraints.txt > .venv-oldest/constraints.txt
	$(OLDEST) -m pip install --quiet --constraint .venv-oldest/constraints.txt --editable '.[graph,test]'
	touch $@
