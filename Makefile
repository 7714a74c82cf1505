# The two commands of the README are `make demo` and `make test`; `make quick` is for in between.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test quick busy lint types bench clean

demo: $(VENV)/.installed
	$(BIN)/pytest example_project

# What measures real time runs by itself, after all else has run side by side.
test: $(VENV)/.installed-dev
	$(BIN)/pytest -n logical --maxprocesses=4 --dist=worksteal --durations=25 -m 'not real_time'
	$(BIN)/pytest --durations=25 -m real_time

quick: $(VENV)/.installed-dev
	$(BIN)/pytest -n logical --maxprocesses=4 --dist=worksteal --durations=25 \
		-m 'not (real_time or simulation or subprocess or tensorflow)'

# No test may be red because the machine is busy: all of them, three times, beside two processes
# that spin for all the time.
busy: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/busy.py --times 3 --spinning 2 -- $(MAKE) test

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy --strict pytest_dlperf

# Writers of every store of baselines are killed 200 times each; `make test` does it 24 times.
.PHONY: kills
kills: $(VENV)/.installed-dev
	STORE_KILLS=200 $(BIN)/pytest tests/baselines/test_stores.py -k killed

# The peers have an environment of their own: locust brings a pytest plugin, which would be in the
# way of the tests.
bench: $(BENCH_VENV)/.installed $(VENV)/.installed-dev
	$(BENCH_VENV)/bin/python benchmarks/engine.py
	$(BIN)/python benchmarks/replicas.py
	$(BIN)/python benchmarks/coverage.py --more
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/overhead.py

clean:
	rm -rf $(VENV) $(BENCH_VENV)

$(VENV)/.installed: pyproject.toml example_project/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	@echo "Installing (TensorFlow is large: a minute or two the first time) ..."
	$(PIP) --editable . --editable ./example_project
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) --editable '.[dev]'
	@touch $@

$(BENCH_VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@
