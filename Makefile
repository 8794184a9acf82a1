# Everything works on a fresh clone with Python 3.11+ and nothing else: no Redis, no Mailchimp account.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Installed again only when what is to be installed changed.
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
MUTANTS := $(VENV)/.installed-mutants

# It takes the packages of the `python` on the path, where it doesn't find what is installed editably; and
# would ask each time whether there is a newer one.
PYRIGHT := PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH="$(CURDIR)" PYRIGHT_PYTHON_IGNORE_WARNINGS=1 pyright

.DEFAULT_GOAL := help
.PHONY: help demo demo-check test compat test-browser soak model machine pictures messages lint format types mutants audit docs bench clean chaos

help:  ## Say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(DEMO)  ## Run the example application, a Mailchimp sandbox, Redis and a worker (PORT=, SANDBOX_PORT=, SANDBOX=no, PUBLIC_URL=, REDIS_URL=, DEMO_DIR=)
	@$(BIN)/python -m example_app.demo

demo-check: $(DEMO)  ## Start the same, drive both journeys over HTTP, print what was seen, stop
	@$(BIN)/python -m example_app.demo --check

test: $(DEV)  ## Run the tests
	$(BIN)/python -m pytest -n auto

compat: $(DEV)  ## Run tests with the lowest versions, each Python on the path, older packages and other servers (SESSIONS="lowest newest")
	$(BIN)/nox $(if $(SESSIONS),-s $(SESSIONS))

test-browser: $(DEV)  ## Run the tests that drive /usr/bin/chromium
	$(BIN)/python -m pytest -m browser

model: $(DEV)  ## Try millions of histories of a model of both sides, and every short one (HISTORIES=20000000, FIRST=)
	$(BIN)/python -m tests.model.search --breadth 60
	$(BIN)/python -m tests.model.search --histories $(or $(HISTORIES),20000000) --first $(or $(FIRST),0)
	$(BIN)/python -m tests.model.search --rejoin --histories 1000000 --first $(or $(FIRST),0)

machine: $(DEV)  ## Run a state machine against the real code (STEPS=100000, SEED=, TEST_DATABASE_URL=)
	MODEL_STEPS=$(or $(STEPS),100000) MODEL_SEED=$(or $(SEED),1) $(BIN)/python -m pytest -q -s tests/model/test_machine.py

soak: $(DEV)  ## Run real processes under random faults (SECONDS=600, SEED=, TEST_DATABASE_URL=)
	$(BIN)/python -m tests.faults.soak $(or $(SECONDS),600) $(SEED)

chaos: $(DEV)  ## Kill host and worker at every system call, and look what became of it (DATABASES="sqlite URL …", SAMPLE=)
	$(BIN)/python -m tests.faults.chaos --controls
	$(BIN)/python -m tests.faults.chaos $(DATABASES) $(if $(SAMPLE),--sample $(SAMPLE))

pictures: $(DEV)  ## Take the documentation's pictures anew
	PYTHONPATH=. $(BIN)/python docs/pictures.py

messages: $(DEV)  ## Write the catalogues of texts anew: the template, and what each language lacks
	$(BIN)/python .ci/messages.py

lint: $(DEV)  ## Check style and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: $(DEV)  ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(DEV)  ## Check the types, and that every public name has one which all checkers read alike
	$(BIN)/mypy
	$(PYRIGHT)
	$(PYRIGHT) --verifytypes flask_mailchimp_optin --ignoreexternal

mutants: $(MUTANTS)  ## Change the consent rule in every small way: the tests must notice 95 % of them (about 2 minutes)
	rm -rf mutants
	$(BIN)/mutmut run
	$(BIN)/mutmut export-cicd-stats
	@$(BIN)/python .ci/mutants.py

# The tools stand apart from the tests: they bring a chardet, which requests would use there.
audit: $(DEV)  ## Make sdist and wheel (dist/) and the list of what the wheel draws in (build/sbom.cdx.json); look for careless code and known holes; try bytes that nobody would send (RUNS=)
	rm -rf dist build/wheel build/audit
	bash .ci/build $(BIN)/python dist
	$(BIN)/python -m venv --without-pip build/wheel
	$(BIN)/python -m venv --without-pip build/audit
	$(BIN)/python -m pip --python build/wheel install --quiet --disable-pip-version-check dist/*.whl
	$(BIN)/python -m pip --python build/audit install --quiet --disable-pip-version-check "$$(ls dist/*.whl)[audit]"
	build/audit/bin/bandit -q -r flask_mailchimp_optin example_app
	build/audit/bin/python .ci/sbom.py dist build/wheel build/sbom.cdx.json
	build/audit/bin/python .ci/advisories.py build/wheel build/audit $(VENV)
	build/audit/bin/python .ci/fuzz.py $(or $(RUNS),1000000)

docs: $(DOCS)  ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(DEV)  ## Measure (ONLY="commits latency sync", BENCH_CUSTOMERS=100000, BENCH_DATABASE_URL=)
	$(BIN)/python -m benchmarks

clean:  ## Remove what was made, but for .demo
	rm -rf $(VENV) build dist docs/_build *.egg-info .nox .pytest_cache .mypy_cache .ruff_cache .coverage htmlcov mutants

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)

$(DEMO): setup.py pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(DEV): setup.py pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev]'
	@touch $@ $(DEMO)

$(DOCS): setup.py pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@

$(MUTANTS): setup.py pyproject.toml | $(DEV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev,mutants]'
	@touch $@
