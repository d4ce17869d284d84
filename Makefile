# Everything a fresh machine needs is made here: Python 3.11+ and make are enough to begin.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SAMPLE := .nasmigrate/sample/marketplace.db

.DEFAULT_GOAL := help
.PHONY: help rehearse test unit lint types layers check stack package docs soak fuzz faults bench clean distclean

help:                  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

$(VENV)/.run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	  { echo "python3-venv is needed: apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run tests/support/packages.sh
	@sh tests/support/packages.sh
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group test --group lint
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group bench
	@touch $@

rehearse: $(VENV)/.run ## rehearse the sample marketplace on an embedded Postgres
	@mkdir -p $(dir $(SAMPLE))
	@$(BIN)/python data_samples/generate.py $(SAMPLE) --scale small --force > /dev/null
	@$(BIN)/nasmigrate rehearse $(SAMPLE)

test: $(VENV)/.test lint types layers unit stack package ## install what the tests need and run them all

# Two workers, and a file's tests in one: a worker has a server of its own.
unit: $(VENV)/.test
	@$(BIN)/python -m pytest --ignore=tests/stack --numprocesses=2 --dist=loadfile

# Most of it is waiting: two workers, each with a stack of its own. What restarts the engine has it alone.
stack: $(VENV)/.test   ## the container stack on real servers; sets up an engine and the images where absent
	@tests/support/images/engine sh -c '\
	  $(BIN)/python -m pytest tests/stack -m "not alone" --numprocesses=2 --dist=loadfile --no-loadscope-reorder && \
	  $(BIN)/python -m pytest tests/stack -m alone'

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.test
	@$(BIN)/mypy

layers: $(VENV)/.test
	@$(BIN)/lint-imports --no-cache

package: $(VENV)/.test ## build wheel and sdist; rehearse with the wheel in an empty venv elsewhere
	@BIN=$(BIN) PYTHON=$(PYTHON) sh tests/support/wheel.sh

docs: $(VENV)/.test ## write the generated pages of docs/
	@PYTHONPATH=.:tests $(BIN)/python -m support.generate_docs
	@PYTHONPATH=.:tests $(BIN)/python -m support.generate_sample

soak: $(VENV)/.test  ## what takes hours: ten writers all the way (MINUTES=5 on each engine, ROUNDS=3), and large cases
	@NASMIGRATE_SOAK_SERVING=$$(( $(or $(MINUTES),5) * 60 )) NASMIGRATE_SOAK_ROUNDS=$(or $(ROUNDS),3) \
	  $(BIN)/python -m pytest -q -s tests/faults/test_soak.py
	@NASMIGRATE_EVERY_CRASH=1 $(BIN)/python -m pytest -q tests/faults/test_cutover_crashes.py
	@NASMIGRATE_ORDERS=100 $(BIN)/python -m pytest -q tests/faults/test_any_order.py
	@NASMIGRATE_LATE_ROWS=5000000 $(BIN)/python -m pytest -q tests/integration/test_late_surprise.py
	@NASMIGRATE_SEED_PEOPLE=2000 tests/support/images/engine \
	  $(BIN)/python -m pytest -q tests/stack/test_4_seed.py -k killed_in_the_middle_and_run_again

fuzz: $(VENV)/.test  ## 5,000 damaged files through copy; writes docs/hostile-files.md
	@PYTHONPATH=.:tests $(BIN)/python -m support.fuzz_files $(if $(CASE),--case $(CASE),5000 --page docs/hostile-files.md)

faults: $(VENV)/.test ## every fault at every phase of a cutover and a rollback (MINUTES=10: a sample; JOBS=2); writes docs/faults.md
	@PYTHONPATH=.:tests $(BIN)/python -m support.run_faults $(if $(MINUTES),--minutes $(MINUTES)) $(if $(JOBS),--jobs $(JOBS))

bench: $(VENV)/.bench ## side by side with pgloader and DuckDB; writes benchmarks/RESULTS.md
	@$(BIN)/python -m compileall -q cli # as pip does when it installs
	@$(BIN)/python benchmarks/run.py

clean:                 ## remove caches and build products
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean       ## and the virtual environment and all runs
	@rm -rf $(VENV) .nasmigrate
