# The project's commands. `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3

export REGISTRY_HOME ?= $(CURDIR)/var
export DAGSTER_HOME ?= $(REGISTRY_HOME)/dagster

.DEFAULT_GOAL := help
.PHONY: help install demo dev test crash soak lint bench clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Install the registry and its tools into .venv

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install ## Publish four invented publications, from their sources to downloads
	$(BIN)/python -m examples.demo

dev: install ## Open Dagit on http://127.0.0.1:3000 with the demo's publications (DEV='--port 3001' elsewhere)
	$(BIN)/python -m examples.serve $(REGISTRY_HOME)/demo/sources -- $(BIN)/python -m registry_assets.cli dev $(DEV)

test: install ## Run the tests, those of three files at once
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile

lint: install ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

crash: install ## Kill the exporter and runs at thousands of moments, and check what is left
	REGISTRY_CRASH_ROUNDS=10 $(BIN)/python -m pytest tests/exporter/test_crash.py \
		tests/registry_assets/test_crash_runs.py tests/registry_assets/test_outages.py

soak: install ## Let 150 publications live for two simulated months
	REGISTRY_SOAK='150 60' REGISTRY_SOAK_REPORT=$(REGISTRY_HOME)/soak.json $(BIN)/python -m pytest tests/registry_assets/test_soak.py

bench: install ## Compare the exporter with the plain way (BENCH='--input FILE' on another input, SCALE=--large to 5 GB)
	$(BIN)/python benchmarks/bench_exporter.py --excel $(BENCH)
	$(BIN)/python benchmarks/bench_exporter.py --scale $(SCALE)
	$(BIN)/python benchmarks/bench_kingfisher.py

clean: ## Remove what the commands above made
	rm -rf $(VENV) var build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
