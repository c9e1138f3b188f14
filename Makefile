# Everything a checkout needs. `make` lists the targets; `make run` needs only python3 and make.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
UV_VERSION := 0.13.9

PACKAGES := $(wildcard adapters mappings bridge)
CODE := $(PACKAGES) $(wildcard tests)

# Debian packages that only tests use, and the commands that show they are already there.
TEST_PACKAGES := mosquitto mosquitto-clients amqp-tools nodejs npm
TEST_COMMANDS := mosquitto mosquitto_pub amqp-publish node npm
NODE_CLIENTS := tests/interop/node

.DEFAULT_GOAL := help

.PHONY: help
help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

.PHONY: install
install: $(VENV)/.installed  ## install into .venv what the broker needs

.PHONY: run
run: install  ## start the broker on its defaults; options go in ARGS="..."
	@exec $(BIN)/landbridge serve $(ARGS)

.PHONY: dev
dev: $(VENV)/.installed-dev  ## install what development needs as well

.PHONY: test
test: dev system-packages node-clients  ## run the tests; options for pytest go in ARGS="..."
	@exec $(BIN)/python -m pytest $(ARGS)

.PHONY: test-aws
test-aws: dev system-packages node-clients  ## run the tests of clients and stores on the AWS backend
	@exec $(BIN)/python -m pytest --backend aws-moto --backend aws-simulated -k aws- \
	  tests/conformance tests/interop $(ARGS)

.PHONY: test-nodes
test-nodes: dev  ## kill nodes on AWS under load, on a bad day of AWS as well
	@LANDBRIDGE_LONG_TESTS=1 exec $(BIN)/python -m pytest tests/scenarios/test_killed_nodes_on_aws.py $(ARGS)

.PHONY: check
check: dev  ## lint, formatting, types, layers and style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -q tests/style

.PHONY: format
format: dev  ## format the code and repair what lint can repair
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.PHONY: bench
bench: dev  ## run the benchmarks; options go in ARGS="..."
	@exec $(BIN)/python -m tests.benchmarks $(ARGS)

.PHONY: fuzz
fuzz: dev  ## fuzz the decoders; options go in ARGS="..."
	@exec $(BIN)/python -m tests.fuzz $(ARGS)

.PHONY: lock
lock: .venv-lock/bin/uv  ## write the requirements locks; ARGS=--upgrade takes newer releases
	$(LOCK) --group dev --output-file requirements-dev.lock
	$(LOCK) --constraint requirements-dev.lock --output-file requirements.lock

.PHONY: clean
clean:  ## remove the environment, caches and build results
	rm -rf $(VENV) .venv-lock build dist *.egg-info $(NODE_CLIENTS)/node_modules
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# One resolution for every platform and supported Python, with the hashes of all files of a release.
LOCK = .venv-lock/bin/uv pip compile pyproject.toml --extra aws $(ARGS) --quiet --universal \
	--python-version 3.11 --generate-hashes --custom-compile-command "make lock"

.venv-lock/bin/uv: Makefile
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Landbridge needs Python 3.11 or later, and $(PYTHON) is not: $$($(PYTHON) --version 2>&1)." \
	    "Name another one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: Debian and Ubuntu keep that in a package" \
	    "of its own. Install it (apt-get install python3-venv) and run make again." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

.PHONY: system-packages
system-packages:
	@.ci/system-packages "$(TEST_COMMANDS)" "$(TEST_PACKAGES)"

.PHONY: node-clients
ifneq ($(wildcard $(NODE_CLIENTS)/package-lock.json),)
node-clients: $(NODE_CLIENTS)/node_modules/.installed

$(NODE_CLIENTS)/node_modules/.installed: $(NODE_CLIENTS)/package-lock.json
	@if command -v npm >/dev/null; then \
	  npm ci --prefix $(NODE_CLIENTS) --no-audit --no-fund --silent && touch $@; \
	else echo "npm is not installed: the tests with node clients will be skipped"; fi
else
node-clients: ;
endif
