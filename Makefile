# Each target installs what it needs in .venv. README.md says what each target is for.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ENGINE := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
OUT ?= out
RECIPE ?= caltech101
ARGS ?=
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: serve test test-all export train evaluate embedded check docker

serve: $(VENV)/.base
	exec $(BIN)/tencrop serve $(ARGS)

test: $(VENV)/.dev
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(VENV)/.dev
	$(PYTEST) $(ARGS)

export: $(VENV)/.train
	$(BIN)/tencrop export $(if $(CHECKPOINT),$(CHECKPOINT),model/embedded/caltech101/checkpoint) $(OUT) $(ARGS)

evaluate: $(VENV)/.evaluate
	@test -n "$(DATA)" || { echo "usage: make evaluate DATA=<folder of class folders>" >&2; exit 2; }
	$(BIN)/tencrop evaluate "$(DATA)" $(ARGS)

train: $(VENV)/.train
	@test -n "$(DATA)" || { echo "usage: make train DATA=<folder of class folders> [RECIPE=caltech101]" >&2; exit 2; }
	$(BIN)/tencrop prepare "$(DATA)" runs/prepared
	$(BIN)/tencrop train $(RECIPE) --data runs/prepared --out runs/$(RECIPE) $(ARGS)

embedded: $(VENV)/.train
	@test -n "$(CHECKPOINT)" || { echo "usage: make embedded CHECKPOINT=<folder> [DATA=<folder of class folders>]" >&2; exit 2; }
	$(BIN)/python -m experiments.embedded "$(CHECKPOINT)" $(if $(DATA),--data "$(DATA)")

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/links.py

docker:
	docker build -t tencrop $(ARGS) .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tencrop needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -f $@; exit 1; }

$(VENV)/.base: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install --quiet --editable ".[$(ENGINE)]"
	touch $@

$(VENV)/.evaluate: $(VENV)/.base
	$(BIN)/pip install --quiet --editable ".[evaluate]"
	touch $@

$(VENV)/.train: $(VENV)/.evaluate
	$(BIN)/pip install --quiet --editable ".[train]"
	touch $@

$(VENV)/.dev: $(VENV)/.train
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@
