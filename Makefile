# The targets that a person and CI call alike. Each makes the environment first when it is missing.

SHELL := bash
VENV ?= .venv
BIN := $(VENV)/bin
export PRONGHORN_VENV := $(abspath $(VENV))
TEST_WORKERS ?= 2
export OMP_NUM_THREADS ?= 1

.PHONY: environment test-environment check test chaos multinode demo bench format

environment:
	@source launch/install.sh && pronghorn_install

test-environment:
	@source launch/install.sh && pronghorn_install_for_tests

check: test-environment
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: test-environment
	$(BIN)/pytest --numprocesses=$(TEST_WORKERS) $(PYTEST_ARGS)

chaos: test-environment
	$(BIN)/python -m benchmarks.chaos $(CHAOS_ARGS)

multinode: test-environment
	$(BIN)/python -m benchmarks.multinode $(MULTINODE_ARGS)

demo: environment
	$(BIN)/pronghorn run configs/quickstart.toml

bench: environment
	$(BIN)/python -m benchmarks.all

format: environment
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
