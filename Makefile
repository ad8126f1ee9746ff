# Two commands on a machine with Python 3.11+ and make: `make demo`, `make test`.
# ARGS goes through: make demo ARGS="--json figures.json", make test ARGS="-k outbox"
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
READY := .venv/.ready
PYTHON ?=
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo test check lint simulate simulate-mutants bench soak torture kernels wheel protos prior lock vectors aarch64

help:
	@echo "make demo    five vehicles through dead zones and crashes, with a verdict (ARGS=\"--log FILE --dbc FILE\": your own drive; ARGS=\"--scenario dyno\": a test stand)"
	@echo "make test    the tests"
	@echo "make check   lint, types, arrows, tests: what CI runs"
	@echo "make bench   codec, decoder and kernels, ten minutes; the other figures: benchmarks/README.md"
	@echo "make simulate vehicles, links and a collector by seed (SEEDS=1000 FIRST=0)     make simulate-mutants  whether that finds planted bugs"
	@echo "make soak    whether memory or descriptors grow, four minutes (a week: ARGS=\"--minutes 60\")"
	@echo "make torture a thousand SIGKILLs and as much else, half an hour (ARGS=\"--minutes 5 --kills 200\")"
	@echo "make wheel   dist/*.whl for vehicles, with compiled kernels: no numba there (ARGS=\"--machine aarch64\": for other machines)"
	@echo "make setup   only .venv with everything; the others do it themselves"
	@echo "make vectors write tests/vectors again          make aarch64  the codec's bits on aarch64, under qemu"
	@echo "make protos  generate protos/*_pb2* again        make lock   resolve requirements/*.lock again     make lint"
	@echo "make kernels compiled kernels beside the sources make prior  train the built-in prior again: only with a new block version"

setup: $(READY)

# A stamp: a second `make` costs nothing until the lock or pyproject.toml changes.
$(READY): requirements/dev.lock pyproject.toml
	@python="$(PYTHON)"; \
	for candidate in python3 python3.13 python3.12 python3.11; do \
	  [ -z "$$python" ] || break; \
	  if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; then python=$$candidate; fi; \
	done; \
	[ -n "$$python" ] || { echo "no Python 3.11 to 3.14 found as python3 or python3.1x; name one: make setup PYTHON=/path/to/python"; exit 1; }; \
	if ! { [ -x $(BIN)/python ] && $(BIN)/python -m pip --version >/dev/null 2>&1; }; then \
	  $$python -m venv --clear .venv || { echo "$$python -m venv failed; on Debian and Ubuntu it is a package of its own: apt install python3-venv"; exit 1; }; \
	fi
	@echo "installing what requirements/dev.lock names into .venv: one to four minutes, once, and nothing is said meanwhile"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)
	$(BIN)/python -m demo $(ARGS)

test: $(READY)
	$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# make simulate SEEDS=1 FIRST=42 replays one seed; a seed that fails prints its history.
SEEDS ?= 1000
FIRST ?= 0
simulate: $(READY)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) --first $(FIRST)

simulate-mutants: SEEDS = 250
simulate-mutants: $(READY)
	$(BIN)/python -m tests.simulation --mutants --seeds $(SEEDS)

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

soak: $(READY)
	$(BIN)/python -m benchmarks.soak $(ARGS)

# With compiled kernels: what starts a thousand times should start fast.
torture: $(READY)
	$(BIN)/python -m codec compile codec decoder collector.battery collector.detectors collector.survey
	$(BIN)/python -m tests.torture $(ARGS)

# Beside the sources, for this kind of machine or another; whatever does not fit the sources is not used.
kernels: $(READY)
	$(BIN)/python -m codec compile codec decoder collector.battery collector.detectors collector.survey $(ARGS)

wheel: kernels
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

# From the root, so that the generated code says `from protos import ...`.
protos: $(READY)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I. --python_out=. --grpc_python_out=. --mypy_out=. --mypy_grpc_out=. protos/telemetry.proto

# The prior that keyframes start from belongs to a block version: train it again only with a new one.
prior: $(READY)
	rm -f codec/built_in.prior
	$(BIN)/python -m benchmarks.prior

# After a change of the codec's constants or its built-in prior: tests/vectors/*.json and the example in docs/wire-format.md.
vectors: $(READY)
	$(BIN)/python -m tests.vectors.generate

# The vectors under qemu-user; the first time it fetches a Debian and four wheels into build/aarch64.
aarch64: $(READY)
	DEADRECKON_AARCH64=build/aarch64 $(BIN)/python -m pytest tests/aarch64

# dev.lock leads; the others take its versions. Resolved for every platform and Python from 3.11, no addresses.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url --no-emit-find-links pyproject.toml requirements/build.in
lock: $(READY)
	$(COMPILE) --all-extras --output-file requirements/dev.lock
	for extra in agent collector logs reading models; do $(COMPILE) --extra $$extra --constraint requirements/dev.lock --output-file requirements/$$extra.lock; done
