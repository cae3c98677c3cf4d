# oaq: every command a developer needs. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Nothing of the caller's Python environment may leak into ours.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

PYTHON ?= python3
VENV := .venv
BENCH_VENV := .venv-bench
PY := $(VENV)/bin/python
STEP := @.ci/step
CONSTRAINTS := requirements/constraints.txt
PIP_INSTALL := $(PY) -m pip install --quiet --constraint $(CONSTRAINTS)
NATIVE_FILES := $(wildcard CMakeLists.txt) $(shell find native -type f \( -name '*.cc' -o -name '*.h' -o -name '*.txt' -o -name '*.cmake' -o -name '*.inc' -o -name '*.py' \) 2>/dev/null)
CXX_FILES := $(filter %.cc %.h %.inc,$(NATIVE_FILES))
PY_DIRS := src tests recipes benchmarks native

NET ?= efficientnet-lite0
MODEL_ARGUMENTS ?=
BENCHMARKS ?=
TASK ?=
DEMO_ARGUMENTS ?=
DEMO_detect := detection
DEMO_segment := segmentation
DEMO_superres := superres

.PHONY: help demo web-demo test build check format format-check lint types layers tests order wheel other-systems bench clean distclean env env-dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo $(if $(filter detect,$(TASK)),$(VENV)/.detect) ## EfficientNet-Lite0, photo to proof to table; NET= names another network, TASK=detect a detector, TASK=segment a segmenter, TASK=superres an enlarger
	@$(PY) -m $(if $(TASK),recipes.$(or $(DEMO_$(TASK)),$(error TASK=$(TASK): is detect, segment or superres, or is left out)) $(if $(filter command line environment,$(origin NET)),$(NET)) $(DEMO_ARGUMENTS),recipes.demo $(NET))

web-demo: $(VENV)/.demo $(VENV)/.dev ## networks in your browser, on this machine; beside onnxruntime-web after `npm install` in web/
	@$(PY) -m benchmarks.web.demo

test: check sanitize ## everything: environment, build, all checks, sanitizer run

check: format-check lint types layers tests ## format, lint, types, layers, tests, doctests

# --- the environment: stamps in .venv, so that a second run does nothing ---

env build: $(VENV)/.demo ## .venv with oaq built and everything the demo needs
env-dev: $(VENV)/.dev $(VENV)/.emulator ## .venv with everything the checks need

$(VENV)/.created:
	@.ci/preflight $(PYTHON)
	$(STEP) "create .venv" $(PYTHON) -m venv $(VENV)
	@touch $@

# torch first and pinned: whatever comes later finds it there and does not ask for another build of it.
$(VENV)/.torch: $(VENV)/.created $(CONSTRAINTS)
	$(STEP) "install torch" $(PIP_INSTALL) torch
	@touch $@

$(VENV)/.build-tools: $(VENV)/.torch
	$(STEP) "install build tools" $(PIP_INSTALL) scikit-build-core nanobind cmake ninja
	@touch $@

$(VENV)/.demo: $(VENV)/.build-tools pyproject.toml $(NATIVE_FILES)
	$(STEP) "build and install oaq" $(PIP_INSTALL) --no-build-isolation --editable '.[demo]'
	@touch $@

$(VENV)/.detect: $(VENV)/.demo
	$(STEP) "install what the detector is scored with" $(PIP_INSTALL) --no-build-isolation --editable '.[demo,detect]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(STEP) "install what the checks need" $(PIP_INSTALL) --no-build-isolation --editable '.[dev]'
	@touch $@

# Without one, tests of rows for Arm are listed as not run.
$(VENV)/.emulator: $(VENV)/.created .ci/emulator
	$(STEP) "find or fetch an emulator of Arm" .ci/emulator $(VENV)/arm
	@touch $@

$(VENV)/.bench: $(VENV)/.demo
	$(STEP) "install what the benchmarks need" $(PIP_INSTALL) --no-build-isolation --editable '.[bench]'
	@touch $@

# --- the checks ---

format: $(VENV)/.dev ## write every file as the formatters want it
	$(STEP) "ruff format" $(VENV)/bin/ruff format $(PY_DIRS)
	$(if $(CXX_FILES),$(STEP) "clang-format" $(VENV)/bin/clang-format -i $(CXX_FILES))

format-check: $(VENV)/.dev
	$(STEP) "format, Python" $(VENV)/bin/ruff format --check $(PY_DIRS)
	$(if $(CXX_FILES),$(STEP) "format$(,) C++" $(VENV)/bin/clang-format --dry-run --Werror $(CXX_FILES))

lint: $(VENV)/.dev ## ruff
	$(STEP) "lint" $(VENV)/bin/ruff check $(PY_DIRS)

types: $(VENV)/.dev ## pyright
	$(STEP) "types" $(VENV)/bin/pyright --pythonpath $(PY)

layers: $(VENV)/.dev ## import-linter: imports point down
	$(STEP) "layers" $(VENV)/bin/lint-imports --config pyproject.toml

tests: $(VENV)/.dev $(VENV)/.emulator ## unit, property, end-to-end tests and doctests
	$(STEP) --last "tests" $(PY) -m pytest -q -p no:cacheprovider --numprocesses auto --maxprocesses 4 --dist loadgroup

order: $(VENV)/.dev ## every folder of tests alone, then all of them in a shuffled order: no test depends on another
	@$(PY) -m tests.order

wheel: $(VENV)/.dev ## every wheel that this machine can build, audited, installed and run, into dist; says what it cannot
	@$(PY) -m tests.packaging.wheels

other-systems: $(VENV)/.dev ## native sources compiled for Windows, macOS and musl, by the cross compiler; nothing runs
	@$(PY) -m benchmarks.other_systems

# The peers have an environment of their own: what they need never reaches the one that is tested.
bench: ## time oaq beside its peers in .venv-bench, into build/results; BENCHMARKS=--record writes benchmarks/results
	@$(MAKE) VENV=$(BENCH_VENV) $(BENCH_VENV)/.bench
	@$(BENCH_VENV)/bin/python -m benchmarks $(BENCHMARKS)

clean: ## remove what was built, keep .venv
	rm -rf build dist out .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find src tests recipes benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f $(VENV)/.demo $(VENV)/.detect $(VENV)/.dev $(BENCH_VENV)/.demo $(BENCH_VENV)/.bench

distclean: clean ## remove .venv and .venv-bench too
	rm -rf $(VENV) $(BENCH_VENV)

, := ,

-include native/native.mk # native, sanitize
