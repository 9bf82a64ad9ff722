# Each target does its own set-up: python3 >= 3.11 and node >= 20 are all a machine needs.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
UV := .venv/bin/uv
RUN := .venv/bin/python
export JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION = 20,21,22,23
export NODE_NO_WARNINGS = 1
export PYTHONWARNINGS = ignore::SyntaxWarning
# Where it is set, every process compiles what it imports: a Lambda's cold start, a training job, a test takes three times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo year up check test test-long bench-flow bench-prepare bench-train format lock bundle clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/ready .venv-lambda/ready node_modules/ready ## install what the other targets need

demo: setup ## the whole flow on this machine, with real flights
	@$(RUN) -m examples.demo

year: setup ## twelve months of flights as twelve uploads, and every decision with its reasons
	@$(RUN) -m examples.demo --year

up: setup ## localcloud with the stacks deployed; stays until Ctrl-C and prints how to reach it
	@$(RUN) -m examples.demo --stay

check: setup ## ruff, mypy --strict, import contracts, fast tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports
	$(RUN) -m pytest tests/unit tests/contracts -n 2 -m "not long"

test: check bundle ## check, localcloud's conformance suites, and the whole flow on it
	$(RUN) -m pytest tests/conformance -n 2 --dist loadfile
	$(RUN) -m pytest tests/cloud -n 2 --dist loadfile -m "not long"

test-long: setup .venv-mlflow/ready ## the slow proofs: the CDK CLI, bursts, the container's install, the demo; each folder in a process of its own
	$(RUN) -m pytest tests/unit tests/contracts -m long -n 2
	$(RUN) -m pytest tests/cloud -m long
	$(RUN) -m pytest tests/long

bench-flow: setup ## localcloud's speed and memory, and the flow's; writes benchmarks/results/flow.json
	$(RUN) -m benchmarks.flow

bench-prepare: setup ## prepare against pandas, polars and duckdb; writes benchmarks/results/prepare.json
	$(RUN) -m benchmarks.prepare

bench-train: setup ## training against plain scikit-learn; writes benchmarks/results/train.json
	$(RUN) -m benchmarks.train

format: setup ## format and sort
	$(RUN) -m ruff format .
	$(RUN) -m ruff check --fix .

lock: setup ## compile the locks from pyproject.toml
	sh requirements/lock.sh

bundle: setup ## build the Lambda layers of the local stage
	$(RUN) -m infra.bundle

clean: ## remove what was built, not what was installed
	rm -rf build cdk.out .localcloud

.venv/bin/uv:
	$(PYTHON) -c 'import sys; sys.exit(not sys.version_info >= (3, 11) and "python 3.11 or later is needed")'
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.8

.venv/ready: .venv/bin/uv requirements/dev.txt pyproject.toml
	$(UV) pip install --quiet --python $(RUN) --require-hashes -r requirements/dev.txt
	$(UV) pip install --quiet --python $(RUN) --no-deps --editable .
	@touch $@

.venv-lambda/ready: .venv/bin/uv requirements/lambda-runtime.txt
	$(PYTHON) -m venv --without-pip .venv-lambda
	$(UV) pip install --quiet --python .venv-lambda/bin/python --require-hashes -r requirements/lambda-runtime.txt
	@touch $@

.venv-mlflow/ready: .venv/bin/uv requirements/mlflow.txt
	$(PYTHON) -m venv --without-pip .venv-mlflow
	$(UV) pip install --quiet --python .venv-mlflow/bin/python --require-hashes -r requirements/mlflow.txt
	@touch $@

node_modules/ready: package-lock.json
	npm ci --silent --no-audit --no-fund
	@touch $@
