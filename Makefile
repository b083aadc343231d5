# Every target installs what it needs. The machine has to have Python 3.11 or newer, pip, make and a package index.
#
#   make PYTHON=python3.12 install     choose the interpreter
#   make matrix VERSIONS="2.11.2"      choose the Airflow releases
#   make test-unit ARGS="-k phone"     hand arguments on to pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.SUFFIXES:
.DELETE_ON_ERROR:

# Airflow starts twice as slowly without bytecode.
unexport PYTHONDONTWRITEBYTECODE
export PYTHON

VENV := .venv
BIN := $(VENV)/bin
AIRFLOW := 3.3.2
VERSIONS ?=
ARGS ?=
TAG :=

PINS := constraints/development.txt
INSTALL = scripts/venv.sh $(VENV) -c $(PINS) apache-airflow==$(AIRFLOW)
INPUTS := pyproject.toml scripts/venv.sh $(PINS)

.PHONY: help
help: ## Show the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-22s %s\n", $$1, $$2 }'

# --- Environments ---------------------------------------------------------------------------------------------------------

$(VENV)/.installed-dev: $(INPUTS)
	@echo "Installing the development environment into $(VENV) ..."
	@$(INSTALL) --group dev -e '.[redis,sandbox]'
	@touch $@ $(VENV)/.installed-sandbox $(VENV)/.installed-docs

# The demo needs a quarter of what development needs.
$(VENV)/.installed-sandbox: $(INPUTS)
	@echo "Installing Airflow $(AIRFLOW) and the provider into $(VENV); this happens once ..."
	@$(INSTALL) -e '.[sandbox]'
	@touch $@

$(VENV)/.installed-docs: $(INPUTS)
	@$(INSTALL) --group docs -e '.[redis,sandbox]'
	@touch $@

$(VENV)/.installed-uv: scripts/venv.sh
	@scripts/venv.sh $(VENV)
	@touch $@

.PHONY: install
install: $(VENV)/.installed-dev ## Install everything for development into .venv

.PHONY: lock
lock: $(VENV)/.installed-uv ## Resolve all dependencies again and write constraints/
	$(BIN)/python scripts/lock.py $(VERSIONS)

.PHONY: clean
clean: ## Remove environments, caches and build results
	rm -rf .venv .venv-* build dist site htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf .demo .ui .bench
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- Try it ---------------------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.installed-sandbox ## Send a night of warehouse rows to a local Vambe, twice, and show what happened
	@$(BIN)/python scripts/demo.py $(ARGS)

.PHONY: ui
ui: $(VENV)/.installed-sandbox ## Start Airflow and a local Vambe, with the example Dags, to click through
	@$(BIN)/python scripts/ui.py $(ARGS)

# --- Check it -------------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: install ## Check style, formatting, imports, workflows and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/zizmor --offline --quiet .github
	@# The hooks of every commit, without those that are above.
	SKIP=ruff-check,ruff-format,imports,workflows,mypy $(BIN)/pre-commit run --all-files
	$(BIN)/mypy

.PHONY: format
format: install ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: test
test: package docs test-unit test-faults test-matrix test-e2e ## Run all tests; the matrix on the oldest Airflow only

# Everything but what starts processes of its own; with the coverage that api/ and delivery/ have to have.
.PHONY: test-unit
test-unit: install ## Run the unit, contract and Dag tests, and check the coverage
	$(BIN)/python scripts/coverage_gate.py --run -m pytest -q tests --ignore=tests/e2e --ignore=tests/faults --ignore=tests/benchmarks $(ARGS)

.PHONY: test-faults
test-faults: install ## Break the network, the ledger and the process, and count the tickets
	$(BIN)/python -m pytest -q tests/faults $(ARGS)

.PHONY: test-e2e
test-e2e: install ## Run Dags in a real Airflow
	$(BIN)/python -m pytest -q tests/e2e $(ARGS)

.PHONY: test-matrix
test-matrix: install
	$(BIN)/python scripts/matrix.py 2.11.2

.PHONY: matrix
matrix: install ## Run the unit and Dag tests on every supported Airflow, or on VERSIONS (newest: unpinned)
	$(BIN)/python scripts/matrix.py $(VERSIONS) --pytest="$(ARGS)"

.PHONY: bench
bench: install ## Measure what tickets cost; with ARGS=--quick in two minutes, with ARGS=--write-docs for the documentation
	$(BIN)/python scripts/bench.py $(ARGS)

.PHONY: docs
docs: $(VENV)/.installed-docs ## Build the documentation into site/
	@$(BIN)/sphinx-build -b html -W --keep-going -q -j 2 docs site
	@echo "The documentation is in site/index.html"

.PHONY: links
links: $(VENV)/.installed-docs ## Ask every page of another host that the documentation links to
	@$(BIN)/sphinx-build -b linkcheck -q docs build/links

.PHONY: audit
audit: install ## Look for known vulnerabilities in the pins, and for weak workflows
	$(BIN)/zizmor --offline --quiet .github
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement $(PINS)

# --- Release it -----------------------------------------------------------------------------------------------------------

.PHONY: package
package: install ## Build the sdist and the wheel into dist/, and check both; with TAG=v1.2.3 against the tag as well
	@$(BIN)/python scripts/package.py $(if $(TAG),--tag $(TAG))

# In the workflow `release` only, which the index trusts: there is no token to give.
.PHONY: upload
upload: install
	$(BIN)/twine upload --non-interactive dist/*
