# Everything stands on Python 3.11+ (with venv) alone: PostgreSQL and Node come from the package index.

PYTHON ?= python3
JOBS ?= logical
VENV := .venv
BIN := $(VENV)/bin
WEB_SOURCES := $(shell find web -name node_modules -prune -o -name tests -prune -o -type f -print 2>/dev/null)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run install web test test-slow lint test-browser test-real-comfyui test-chaos chaos bench openapi schema

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## Install what is missing and start the demo: database, web server, orchestrator, two simulated workers
	@$(BIN)/comfylabel demo $(ARGS)

install: $(VENV)/installed ## Make the virtual environment with .venv/bin/comfylabel in it

web: ## Build the web UI, if its sources changed
	@rm -f $(VENV)/installed
	@$(MAKE) --no-print-directory install

test: $(VENV)/test-installed ## Install what the tests need and run the daily ones (JOBS=1 for one at a time)
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow and not real_comfyui and not browser and not chaos" $(ARGS)

test-slow: $(VENV)/test-installed ## Whatever is killed, outages, leases that run out, two orchestrators; and the SQL on PostgreSQL 16
	@# Three at once wherever it is: they wait for real time more than for a processor.
	@$(BIN)/python -m pytest -n 3 --maxschedchunk=1 -m "slow and not real_comfyui" $(ARGS)

test-browser: $(VENV)/test-installed ## The screens in a real Chromium, which is installed where there is none
	@# Before the clock of any test runs; where there is none to be had, the tests say so themselves.
	@$(BIN)/python -m tests.browser.chromium >/dev/null 2>&1 || true
	@$(BIN)/python -m pytest tests/browser -n $(JOBS) $(ARGS)

lint: $(VENV)/test-installed ## ruff, mypy in strict mode, and the order of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test-real-comfyui: $(VENV)/test-installed ## Run the conformance cases and the pipeline on a genuine ComfyUI (CPU, 350 MB once)
	@$(BIN)/python -m tests.conformance.real_comfyui.run $(ARGS)

test-chaos: $(VENV)/test-installed ## The small budget of the chaos suite, its auditor, and rules broken on purpose (4 minutes)
	@$(BIN)/python -m pytest tests/chaos -n 2 --maxschedchunk=1 $(ARGS)

chaos: $(VENV)/test-installed ## Break everything at random and have the rest judged (SEED=n MINUTES=n; 10 minutes by default)
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --minutes $(or $(MINUTES),10) $(ARGS)

bench: $(VENV)/test-installed ## Measure and compare with the targets; ONLY=name for those that begin so
	@ONLY=$(ONLY) $(BIN)/python -m bench

openapi: $(VENV)/test-installed ## Write docs/openapi.json and the types of the web client again
	@$(BIN)/python -m comfylabel.main > docs/openapi.json
	@$(BIN)/python hatch_build.py api

schema: $(VENV)/test-installed ## Write schema.sql again
	@$(BIN)/python -m comfylabel.db.schema_dump > schema.sql

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Making the virtual environment .venv"
	@$(PYTHON) -m venv $(VENV)

# Editable, so that a changed source file needs no new installation; the build hook makes the web UI.
$(VENV)/installed: pyproject.toml hatch_build.py $(WEB_SOURCES) | $(BIN)/python
	@echo "Installing comfylabel and building its web UI"
	@$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/test-installed: $(VENV)/installed
	@echo "Installing what the tests need"
	@$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@
