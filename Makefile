# The only entrance: every command of the README and of CI is a target here.
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help install up demo test test-unit test-faults check format lock browser javascript \
	bench-start bench-ingest bench-proxy bench-queue screenshot

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | \
		while IFS="$$(printf '\t')" read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

install: $(STAMP) ## make .venv with everything, from the lock file

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11))' || { \
		echo "Tracequill needs Python 3.11 or newer; '$(PYTHON)' is older. Run: make PYTHON=python3.11 ..."; exit 1; }
	@echo "creating .venv (one to three minutes)"
	@$(PYTHON) -m venv .venv || { \
		echo "'$(PYTHON) -m venv' failed. On Debian run: apt-get install -y python3-venv"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --no-index --editable .
	@touch $(STAMP)

up: install ## run everything on this machine
	$(BIN)/tracequill up

demo: install ## the same, and send conversations to look at
	$(BIN)/tracequill up --demo

test: install browser javascript ## run every test (needs Debian's Chromium and Node)
	$(BIN)/python tests/all.py

test-unit: install ## run the tests that need no network
	$(BIN)/pytest tests/unit tests/architecture

test-faults: install ## the long fault runs: kills, lost disks, outages (needs root and strace)
	@sh tests/faults/tools.sh
	$(BIN)/pytest tests/faults/test_kill_rounds.py tests/faults

browser:
	@sh tests/browser.sh

javascript:
	@sh tests/javascript.sh

check: install ## lint, formats, types and import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install ## let ruff format everything
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench-start: install ## time from start to the first visible trace, memory of each process
	$(BIN)/python -m bench.start

bench-ingest: install ## ingest against stock Phoenix and a bare COPY, in one run
	$(BIN)/python -m bench.ingest

bench-proxy: install ## the proxy beside nginx, LiteLLM and Portkey, in one run (installs them in .peers)
	@sh bench/proxy/peers/tools.sh
	@PYTHON=$(PYTHON) sh bench/proxy/peers/install.sh
	$(BIN)/python -m bench.proxy

bench-queue: install browser ## the annotation queue: one person at the page, fifty people at once
	$(BIN)/python -m bench.queue

screenshot: install browser ## make docs/images anew from a running demo
	$(BIN)/python -m docs.images.make

lock: install ## resolve all dependencies anew into requirements.lock
	$(BIN)/python -m uv pip compile pyproject.toml --extra phoenix --extra grpc --group dev \
		--universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate \
		--no-header --no-emit-index-url --no-emit-find-links --upgrade --output-file requirements.lock
