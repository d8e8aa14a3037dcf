PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test slow lint
demo: .venv/core
	$(BIN)/python launch/table.py --suite=configs/ss_gcn/table.py --rows='^Citeseer GCN( \+ partition)?$$' --seeds=10 --workdir=runs/demo

test: .venv/test
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

slow: .venv/test
	$(BIN)/python -m pytest -m slow

lint: .venv/test
	$(BIN)/ruff check .

.venv/core: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[graph]'
	touch $@

.venv/test: .venv/core
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[graph,test]'
	touch $@
