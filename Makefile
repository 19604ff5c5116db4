# make quickstart | test | faults | setup | lint | docs | dist. Needs Python 3.11 or newer and make; safe to run twice.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup quickstart test test-fast test-min test-newest test-hydra-next gpu-report faults lint docs dist clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml | $(VENV)/.training    # the extras and tools, on top of what training needs
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

$(VENV)/.training: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11: name a newer one, make PYTHON=python3.12" >&2; exit 1; }
	@if test $(VENV)/.installed -nt pyproject.toml; then echo "$(VENV) has everything for development."; else set -x; \
		$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet --editable .; fi
	@touch $@

quickstart: $(VENV)/.training
	$(BIN)/python -m srgan_lightning.train experiment=quickstart

test: setup
	$(BIN)/python -m pytest -n auto --maxprocesses 4

test-fast: setup                    # units alone: no training, no process, no browser
	$(BIN)/python -m pytest -n auto --maxprocesses 4 -m "not slow and not faults and not gpu"

test-min test-newest: test-%:       # in an environment of its own, with the versions of constraints/
	$(PYTHON) -m venv $(VENV)-$*
	$(VENV)-$*/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints/$*.txt
	$(VENV)-$*/bin/python -m pytest -n auto --maxprocesses 4

test-hydra-next:                    # with the release candidates of Hydra 1.4, which pyproject.toml excludes
	$(PYTHON) -m venv $(VENV)-hydra-next
	$(VENV)-hydra-next/bin/python -m pip install --quiet --editable '.[dev]'
	$(VENV)-hydra-next/bin/python -m pip install --quiet --upgrade --pre 'hydra-core>=1.4.0rc1,<1.5'
	$(VENV)-hydra-next/bin/python -m pytest -n auto --maxprocesses 4

gpu-report: setup                   # what a GPU gives, within eight minutes, in gpu-report/
	$(BIN)/python -m srgan_lightning.benchmark --device cuda --gpu-report gpu-report

faults: setup
	SRGAN_FAULTS_KILLS=50 SRGAN_FUZZ_EXAMPLES=1000 $(BIN)/python -m pytest -m faults

lint: setup
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

docs: setup    # the site, in site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: setup    # source archive and wheel, in dist/
	$(BIN)/python -m hatchling build

clean:
	rm -rf site dist $(VENV) $(VENV)-min $(VENV)-newest $(VENV)-hydra-next
