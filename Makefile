# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PYTHONUTF8 := 1

.PHONY: help
help: ## What there is to make
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

# Most of the time the tests wait for servers and faults, so more of them than processors run side by side.
WORKERS ?= 3

.PHONY: setup
setup: $(READY) ## The development environment, in .venv

.PHONY: demo
demo: $(READY) ## Broker, registry, exchange, connector and a live table; SECONDS=20 ends it, FEED=wss://… takes the real exchange
	@$(BIN)/python -m connector demo $(if $(filter command line environment,$(origin SECONDS)),--seconds $(SECONDS)) $(if $(FEED),--feed $(FEED)) $(if $(SYMBOLS),--symbols $(SYMBOLS))

.PHONY: join
join: $(READY) ## The demo and a real Flink that joins it with balances, live; SECONDS=20 ends it
	@$(BIN)/python -m connector join-demo $(if $(filter command line environment,$(origin SECONDS)),--seconds $(SECONDS))

.PHONY: test
test: $(READY) ## Everything that must pass, on a real broker and registry
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: lint
lint: $(READY) ## Lint, format, strict types, import arrows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## Put the source in its form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: check
check: lint test ## What CI runs

MINUTES ?= 10
.PHONY: soak
soak: $(READY) ## MINUTES of 5 Hz × 60 symbols, judged against what the exchange sent
	$(BIN)/python -m tests.soak --minutes $(MINUTES)

.PHONY: chaos
chaos: $(READY) ## The long chaos run; writes docs/chaos-report.md
	$(BIN)/python -m tests.chaos.run

.PHONY: bench
bench: $(READY) ## How fast, beside what it is compared with; writes docs/performance.md
	$(BIN)/python -m tests.benchmarks

MINUTES_STEADY ?= 30
.PHONY: steady
steady: $(READY) ## CPU time and memory over MINUTES_STEADY of a live feed; into the same page
	$(BIN)/python -m tests.benchmarks --only steady --minutes $(MINUTES_STEADY)

.PHONY: profile
profile: $(READY) ## A flame graph of a replay
	$(BIN)/python -m tests.benchmarks.profile

.PHONY: docs
docs: $(READY) ## The generated reference pages
	$(BIN)/python -m connector config docs options > docs/options.md
	$(BIN)/python -m connector config docs metrics > docs/metrics.md

COMPILE := $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.PHONY: lock
lock: ## Resolve the dependencies anew: of development, of the image, and of its build
	$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --output-file requirements-run.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --only-build-deps --build-deps-for wheel \
		--output-file requirements-build.lock pyproject.toml
	@touch $(READY)

.PHONY: clean
clean: ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
