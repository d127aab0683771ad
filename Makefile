# Everything starts from here. `make demo` and `make test` need python3, make and git, and a network that
# reaches the package indexes. The other tests need what .ci/setup installs.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Tests mostly wait for other programs, so more of them run at once than there are cores.
# WORKERS=0: one after another, in one process.
WORKERS ?= 4
PYTEST = $(BIN)/pytest -q --no-header --numprocesses $(WORKERS)
BUILD = @$(BIN)/python -m tools.gobuild
# Hundreds of tests start a Python: without its bytecode files each start takes five times as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test test-fast test-docs test-kfp test-cluster test-gate test-weekly test-serving test-serving-kserve test-pythons fuzz lint type format bench docs picture reference controlplane controllers clean
.DEFAULT_GOAL := help

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

.venv/.synced: pyproject.toml uv.lock tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py
	@touch $@

.venv/.demo: pyproject.toml uv.lock tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py demo
	@touch $@

.venv-docs/.synced: pyproject.toml uv.lock tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py docs
	@touch $@

# Exact: it holds all of .venv/.synced, and is made anew after that.
.venv/.release: .venv/.synced
	@$(PYTHON) tools/bootstrap.py release
	@touch $@

# Each client has an environment of its own, from the lock next to its tests.
.venv-client-%/.synced: tests/clients/%/pyproject.toml tests/clients/%/uv.lock pyproject.toml tools/bootstrap.py
	@$(PYTHON) tools/bootstrap.py tests/clients/$*
	@touch $@

.venv-client-openai/.synced: tests/clients/openai/package-lock.json

# With more workers, Envoys may need more than the 128 inotify instances that Linux gives a user.
test: WORKERS = 3
test: .venv/.synced ## lint, types, and the tests of all but the slow tiers, on a real kube-apiserver and Envoy
	@echo "make test: lint, types, the control plane (built once, about 8 minutes) and the kfp client; then the tests, 4 to 8 minutes"
	@$(MAKE) --no-print-directory --jobs lint type controlplane test-kfp
	$(PYTEST)

test-fast: .venv/.synced ## the tiers that need no process other than Python
	$(PYTEST) tests/unit tests/golden tests/props

lint: .venv/.synced ## ruff (format and lint), the order of imports, and wording
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	@$(BIN)/python -m tools.prose

type: .venv/.synced ## mypy --strict on all of it, and pyright on what a user writes
	$(BIN)/mypy
	$(BIN)/basedpyright

format: .venv/.synced ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

controlplane: .venv/.synced ## build etcd, kube-apiserver and kube-controller-manager once (about 8 minutes)
	$(BUILD) controlplane

demo: .venv/.demo ## the whole story on this machine; ONCE=1 ends after it
	@$(BIN)/daypass demo

test-docs: .venv/.synced controlplane ## what users read and copy: links, commands, output, the site, and all examples; PAGE=how-to/NAME: one page
	$(PYTEST) --override-ini "norecursedirs=.* __pycache__" tests/docs tests/examples $(if $(PAGE),-k $(PAGE))

test-kfp: .venv-client-kfp/.synced ## the client of Kubeflow Pipelines, in its own environment
	.venv-client-kfp/bin/pytest -q --no-header tests/clients/kfp

ALL_CLIENTS := $(patsubst tests/clients/%/uv.lock,%,$(wildcard tests/clients/*/uv.lock))
CLIENTS ?= openai mlflow kserve mcp
.PHONY: test-clients $(ALL_CLIENTS:%=test-client-%)
test-clients: $(patsubst %,test-client-%,$(if $(filter all,$(CLIENTS)),$(ALL_CLIENTS),$(CLIENTS))) ## the clients that people have, through the gate: those of CI; CLIENTS="ray jupyter": these; CLIENTS=all

$(ALL_CLIENTS:%=test-client-%): test-client-%: .venv-client-%/.synced
	.venv-client-$*/bin/pytest -q --no-header tests/clients/$*

test-client-kubeflow: controlplane

controllers: .venv/.synced ## build istiod, Envoy Gateway and oauth2-proxy once (about 11 minutes)
	$(BUILD) istiod envoygateway oauth2proxy

OF_GATE = tests/cluster/test_gate*.py
test-cluster: .venv/.synced controlplane ## all admin commands and the door on a real control plane
	$(PYTEST) tests/cluster --ignore-glob="$(OF_GATE)"

test-gate: controlplane controllers ## the gate, its watch and its authorizer on a real control plane, istiod and Envoy Gateway
	$(PYTEST) $(OF_GATE) tests/controllers

test-weekly: .venv/.synced controlplane ## what takes long and seldom changes: thousands of objects, each right left out
	$(PYTEST) -m weekly tests/cluster

test-serving: .venv-client-kserve/.synced controlplane controllers ## models behind gates of their own; metrics, alerts, status, doctor and trace on a real Prometheus
	$(PYTEST) tests/serving tests/operation

test-serving-kserve: .venv/.synced controlplane ## KServe's own controllers, whose routes test-serving has; builds them once (about 5 minutes)
	$(BUILD) kservemanager kservellm
	$(PYTEST) --override-ini "norecursedirs=.* __pycache__" tests/serving/kserve

.PHONY: release test-packages
release: .venv/.release .venv-client-kfp/.synced .venv-docs/.synced ## build wheel, sdist and bill of materials into dist/, and check them; uploads nothing; FINAL=1: no placeholder may be left
	@$(BIN)/python -m tools.release $(if $(FINAL),--final) dist

test-packages: .venv/.release .venv-client-kfp/.synced .venv-docs/.synced controlplane ## what is published, for a release and weekly: packages, images, workflows, completion
	$(BUILD) kubescore actionlint kind
	$(PYTEST) --timeout=900 tests/packages

test-pythons: .venv/.synced ## the client on every other Python of this machine
	$(BIN)/python -m tools.pythons

SECONDS ?= 300
fuzz: .venv/.synced ## property tests with random seeds, for SECONDS=300 in all; prints the @example of what it finds
	@$(BIN)/python -m tools.fuzz $(SECONDS) --numprocesses $(WORKERS)

bench: .venv/.synced controlplane ## measure, side by side, and write the tables of docs/performance.md
	$(BIN)/python -m bench

docs: .venv/.synced .venv-docs/.synced ## build the documentation's site in site/; see it with `python3 -m http.server -d site`
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/python -m mkdocs build
	@$(BIN)/python -m tools.reference.output > site/reference/output.schema.json

picture: .venv/.synced ## draw docs/demo.svg: what a real run of the demo prints
	$(BIN)/python tools/picture.py docs/demo.svg

reference: .venv/.synced ## write the generated parts of docs/reference/ from the code
	$(BIN)/python -m tools.reference

clean: ## remove what make made here (the cache in your home folder stays)
	rm -rf .venv .venv-docs .venv-client-* tests/clients/*/node_modules .venv-3.* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis site
