# The commands of the house. `.ci/run` does the same without make.

VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup fmt lint types tidy check test laws integration chaos fuzz bench bench-live matrix benign leakage demo screenshots schemas lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## make the virtual environment for development
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --only-binary :all: --require-hashes -r requirements-dev.lock
	$(PY) -m pip install --quiet --no-deps -e .

fmt: ## format the code
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix --quiet .

lint: ## check format and style
	$(PY) -m ruff format --check --quiet .
	$(PY) -m ruff check .

types: ## check types
	$(PY) -m mypy

tidy: ## check layers, bans, sizes, names and pages
	$(PY) -m pytest -q tests/test_tidy.py

check: lint types tidy ## the round before a commit: everything but laws, golden worlds and brokers
	$(PY) -m pytest -q tests/unit tests/contract tests/signatures

test: ## run every test, doctests too
	$(PY) -m pytest

laws: ## run the engine's and the sketches' laws; HYPOTHESIS_PROFILE=long for many more examples
	$(PY) -m pytest tests/laws

integration: ## run the tests against a real Kafka; says which broker it found
	$(PY) -m pytest tests/integration

chaos: ## disturb workers and broker at random, RUNS times from SEED on; prints the seeds that fail, with their logs
	$(PY) -m tests.integration.chaos --seed $(or $(SEED),1) --runs $(or $(RUNS),10)

fuzz: ## send COUNT hostile records through Kafka, drawn from SEED; each is an event or a dead letter
	STILLWATCH_FUZZ_SEED=$(or $(SEED),1) STILLWATCH_FUZZ_COUNT=$(or $(COUNT),1000000) $(PY) -m pytest -s tests/integration/test_hostile_records.py -k every_record

bench: ## print ratios against a floor of the same run; FULL=1 for the sizes of the bars (an hour)
	@set -e; for bench in $(filter-out %_live.py %_matrix.py %_leakage.py %_benign.py,$(wildcard tests/bench/bench_*.py)); do $(PY) -m tests.bench.$$(basename $$bench .py) $(if $(FULL),--full); done

bench-live: $(VENV)-bench ## print events/s, latency and lag of the live path beside others on the same topic; FULL=1 for full sizes
	$(PY) -m tests.bench.bench_live --peers $(VENV)-bench/bin/python $(if $(FULL),--full)

$(VENV)-bench: requirements-bench.lock
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --quiet --only-binary :all: --require-hashes -r requirements-bench.lock
	touch $@

matrix: ## print what is found of every family of attacks, by coverage of fields; PART, ONLY and FIELDS narrow it (an hour)
	$(PY) -m tests.bench.bench_matrix --part $(or $(PART),validation) $(if $(ONLY),--only $(ONLY)) $(if $(FIELDS),--fields $(FIELDS))

benign: ## replay EVENTS innocent events over SEEDS, ten million of three; whatever is alerted is false (half an hour)
	$(PY) -m tests.bench.bench_benign --part $(or $(PART),validation) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(EVENTS),--events $(EVENTS)) $(if $(FIELDS),--fields $(FIELDS))

leakage: ## look for what gives generated attackers away; ONLY narrows it, FULL=1 for the sizes of the bars
	$(PY) -m tests.bench.bench_leakage $(if $(ONLY),--only $(ONLY)) $(if $(FULL),--full)

demo: ## replay the committed sample log
	$(VENV)/bin/stillwatch demo

screenshots: ## pictures of the report and the live page in a real browser, to out/screenshots; needs chromium
	$(PY) -m tests.bench.screenshots out/screenshots

schemas: ## write schemas/ anew from the code
	$(PY) -c "from pathlib import Path; from detector.schemas import NAMES, schema_text; \
	  [Path(f'schemas/{name}.json').write_text(schema_text(name)) for name in NAMES]"

# Releases younger than a week wait: most bad ones are withdrawn by then.
LOCK = uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
  --only-binary :all: --no-annotate --exclude-newer 7days --custom-compile-command "make lock" pyproject.toml

lock: ## resolve the dependencies anew, for Python 3.11 to 3.13
	$(LOCK) --output-file requirements.lock
	$(LOCK) --extra dev --extra kafka --extra enforce --extra share --extra peers --extra broker --constraint requirements.lock --output-file requirements-dev.lock
	$(LOCK) --extra kafka --extra enforce --constraint requirements-dev.lock --output-file deploy/requirements.lock
	$(LOCK) --extra kafka --extra bench --output-file requirements-bench.lock
	$(subst pyproject.toml,requirements-gateways.in,$(LOCK)) --output-file requirements-gateways.lock

clean: ## remove what tools and runs leave behind, compiled kernels too
	rm -rf build dist out .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find detector tests -name __pycache__ -type d -prune -exec rm -rf {} +
