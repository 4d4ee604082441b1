# make demo and make test need a Debian with Python 3.11 or newer, and nothing else: what is missing is installed,
# Python packages into .venv, system packages through apt-get. Once that is done both work without a network.

PYTHON ?= python3
CONFIG ?= config/smsd.yaml
WORKERS ?= 2
ROWS ?= 1000000

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check --no-input
DECLARED := setup.cfg pyproject.toml smsd/__init__.py
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help demo test check reliability bench format run lock clean system-packages

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(RUNTIME)  ## A working day of the 13 agencies, at high speed
	@$(BIN)/smsd demo

test: check system-packages  ## Everything: make check, then all tests
	@echo "==> Running the tests"
	@$(BIN)/pytest -n $(WORKERS) --dist loadgroup

reliability: $(DEV) system-packages  ## Every fault at full length; writes docs/reliability.md (under half an hour)
	@$(BIN)/python scripts/reliability.py -n $(WORKERS) --dist loadgroup

bench: $(DEV) system-packages  ## What a poll of a million dossiers costs: make bench ROWS=5000000
	@$(BIN)/python -m benchmarks.reading --rows $(ROWS)

check: $(DEV)  ## Format, lint, types, known weaknesses, and which module may import which
	@echo "==> Format"
	@$(BIN)/ruff format --check --quiet .
	@echo "==> Lint"
	@$(BIN)/ruff check --quiet .
	@echo "==> Types"
	@$(BIN)/mypy --no-error-summary
	@echo "==> Security"
	@$(BIN)/bandit --quiet --configfile pyproject.toml --recursive smsd 2>/dev/null  # findings come to standard output
	@scripts/audit-packages.sh
	@echo "==> Imports"
	@$(BIN)/pytest -q --no-header --no-summary -p no:cacheprovider tests/artefacts/test_imports.py

format: $(DEV)  ## Put the code into the project's format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

run: $(RUNTIME)  ## The daemon in the foreground: make run CONFIG=/etc/smsd/smsd.yaml
	@$(BIN)/smsd --config $(CONFIG) run

lock: $(DEV)  ## Write down the versions that are installed in .venv
	@$(BIN)/python scripts/lock_packages.py

clean:  ## Remove everything that make made
	@rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

system-packages:
	@scripts/system-packages.sh tests

$(BIN)/pip:
	@scripts/make-venv.sh "$(PYTHON)" $(VENV)

$(RUNTIME): $(DECLARED) requirements/build.lock requirements/runtime.lock | $(BIN)/pip
	@echo "==> Installing smsd into $(VENV)"
	@$(PIP) install --quiet -r requirements/build.lock -r requirements/runtime.lock
	@$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements/dev.lock $(RUNTIME)
	@echo "==> Installing the tools of the tests"
	@$(PIP) install --quiet -r requirements/dev.lock
	@touch $@
