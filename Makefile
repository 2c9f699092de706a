.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MINUTES ?= 5
# Of tests/infra, what needs neither Terraform nor the checkers.
OF_INFRA := $(addprefix tests/infra/,test_image_tree.py test_names.py test_operator.py \
  test_provider.py test_upgrades.py)

.PHONY: help setup demo up test check docs docs-links bench bench-help profile chaos package infra-test mutants services lock clean audit

help: ## Show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sluice needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

setup: $(VENV)/.installed ## Make .venv with everything, pinned by hash

demo: setup ## Index 650 posts, then a spike, deletes, a poison post, a killed worker; compare all
	$(BIN)/sluice demo

up: setup ## Keep the demo's pipeline running and print its endpoints
	$(BIN)/sluice up

check: setup ## Lint, types, import rules, the tests that need no service, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest --numprocesses auto tests/unit tests/contract tests/architecture tests/bench examples $(OF_INFRA)
	$(BIN)/python -m tests.audit

docs: setup ## Build the site into build/docs; every warning is an error
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --doctree-dir build/docs-trees docs build/docs

docs-links: setup ## Ask every outside link of the docs whether it is there (needs the network)
	$(BIN)/python -m sphinx --builder linkcheck --quiet --doctree-dir build/docs-trees docs build/docs-links

services: setup ## Fetch the real services that the tests run on (needs Java and Maven)
	$(BIN)/python -m tests.services prepare || true

test: check services ## Everything: check, the pipeline on every service and engine, infra-test
	$(BIN)/python -m tests.suite
	infra/test.sh where-it-can

mutants: setup services ## Break the order rule on purpose; the convergence suite must go red
	$(BIN)/python -m tests.mutants

package: setup ## Build dist/producer.zip, byte for byte the same each time
	$(BIN)/python infra/package.py

chaos: setup services ## Random faults on real services for MINUTES=5, SEED=…; then compare all
	$(BIN)/python -m tests.chaos --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

audit: setup ## Known vulnerabilities of what requirements/dev.txt pins; skipped where nobody can be asked
	$(BIN)/python -m tests.audit

infra-test: setup ## Test the Terraform module and the Dockerfile (needs Terraform)
	infra/test.sh

bench: setup services ## Figures beside references, 25 minutes; QUICK=1: fewer rounds; ONLY=group,...; see bench-help
	$(BIN)/python bench/run.py $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

bench-help: setup ## The groups that ONLY= names, those that run by name alone included
	$(BIN)/python bench/run.py --help

profile: setup ## Where the processor time of one change goes, by function; no services
	$(BIN)/python -m bench.paths --profile

lock: ## Resolve what requirements/ pins anew (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  pyproject.toml --output-file requirements/worker.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra demo --extra dev pyproject.toml --output-file requirements/dev.txt
	echo 'pip-audit>=2.10' | uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header - --output-file requirements/audit.txt

clean: ## Remove what the other commands made
	rm -rf $(VENV) .cache dist build *.egg-info
