# Everything starts from here. Nothing but python3, make, git and (for the tests) Go has to be on the machine.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help demo test test-fast test-controllers lint type format bench docs controlplane clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.venv/.synced: pyproject.toml uv.lock tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py
	@touch $@

.venv/.demo: pyproject.toml uv.lock tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py demo
	@touch $@

test: lint type controlplane ## lint, types and every tier of tests, on a real kube-apiserver and a real Envoy
	$(BIN)/pytest

test-fast: .venv/.synced ## the tiers that need no process beside Python
	$(BIN)/pytest tests/unit tests/golden tests/props

lint: .venv/.synced ## ruff (format and lint) and the one-way order of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports

type: .venv/.synced ## mypy --strict on sources, tests and tools
	$(BIN)/mypy

format: .venv/.synced ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

controlplane: .venv/.synced ## build etcd, kube-apiserver and kube-controller-manager once (about 8 minutes)
	$(BIN)/python tools/controlplane/build.py

demo: .venv/.demo ## the whole story on this machine; ONCE=1 ends after it
	@$(BIN)/daypass demo

test-controllers: ## not there yet
	@echo "make test-controllers: not there yet; Istio and Envoy Gateway come with the gate" >&2; exit 1

bench: .venv/.synced controlplane ## measure, side by side, what the README quotes
	$(BIN)/python -m bench

docs: .venv/.synced ## draw the README's picture from a real run of the demo
	$(BIN)/python tools/picture.py docs/demo.svg

clean: ## remove what make made here (the cache in your home folder stays)
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
