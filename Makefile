# Each target installs what it needs in .venv. README.md says what each target is for.
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
ENGINE := $(shell nvidia-smi -L >/dev/null 2>&1 && echo gpu || echo cpu)
CONSTRAINTS ?= constraints.txt
INSTALL = $(PYTHON) install/environment.py $(VENV) $(CONSTRAINTS)
OUT ?= out
RECIPE ?= caltech101
ARGS ?=
PYTEST := $(BIN)/python -m pytest --numprocesses auto --dist worksteal

.PHONY: serve test test-all export train evaluate embedded check docs lock floors docker release

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
	$(BIN)/python docs/sentences.py

docs: $(VENV)/.docs
	$(BIN)/python docs/build_site.py

docker:
	docker build -t tencrop $(ARGS) .

release:
	PYTHON="$(PYTHON)" .ci/release

lock: $(VENV)/.base
	$(BIN)/python install/lock.py

# The quick tests with the lowest versions that pyproject.toml allows.
floors:
	mkdir -p build
	$(PYTHON) install/floors.py > build/floors.txt
	$(MAKE) test VENV=.venv-floors CONSTRAINTS=build/floors.txt

$(VENV)/.base: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "tencrop needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	@$(INSTALL) $(ENGINE)
	@touch $@

$(VENV)/.docs: $(VENV)/.base
	@$(INSTALL) $(ENGINE),docs
	@touch $@

$(VENV)/.evaluate: $(VENV)/.base
	@$(INSTALL) $(ENGINE),evaluate
	@touch $@

$(VENV)/.train: $(VENV)/.evaluate
	@$(INSTALL) $(ENGINE),evaluate,train
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	@$(INSTALL) $(ENGINE),evaluate,train,dev
	@touch $@
