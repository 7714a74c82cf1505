# The two commands of the README are `make demo` and `make test`; `make quick` is for in between.

PYTHON ?= python3
VENV ?= .venv
BENCH_VENV ?= .venv-bench
PLUGINS_VENV ?= .venv-plugins
LOWEST_VENV ?= .venv-lowest
VERSIONS ?= .venv-versions
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The tests start hundreds of processes: each would compile all modules anew.
unexport PYTHONDONTWRITEBYTECODE

# The tests of `make quick`, and a duel in processes of its own.
QUICK := -n logical --maxprocesses=4 --dist=worksteal \
	-m 'not (real_time or simulation or subprocess or tensorflow or frameworks)'
DUEL := tests/pytest_plugin/test_duel_controller.py -k 'ordinary_run or each_verdict'

.PHONY: demo test quick busy lint types bench clean

demo: $(VENV)/.installed
	$(BIN)/pytest example_project

# What measures real time runs by itself, after all else has run side by side.
test: $(VENV)/.installed-dev
	$(BIN)/pytest -n logical --maxprocesses=4 --dist=worksteal --durations=25 \
		-m 'not (real_time or frameworks)'
	$(BIN)/pytest --durations=25 -m real_time

quick: $(VENV)/.installed-dev
	$(BIN)/pytest $(QUICK) --durations=25

# Keras on its other backends, and each framework by itself in the processes of a duel.
.PHONY: frameworks
frameworks: $(VENV)/.installed-dev
	$(BIN)/pytest -n logical --maxprocesses=4 --dist=worksteal --durations=10 -m frameworks

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

# Runs and duels beside each of the plugins of docs/ci.md. They have an environment of their own,
# beside that of the tests, whose runs they would change: pytest loads what is installed.
.PHONY: plugins
plugins: $(PLUGINS_VENV)/.installed
	PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 $(PLUGINS_VENV)/bin/python -m pytest \
		-p dlperf -p xdist -n logical --maxprocesses=4 --dist=worksteal --durations=5 \
		tests/pytest_plugin/test_other_plugins.py

# The lowest version of pytest that pyproject.toml allows, whose hooks and errors only the tests of
# the plugin meet.
.PHONY: lowest
lowest: $(LOWEST_VENV)/.installed
	$(LOWEST_VENV)/bin/python -m pytest --version
	$(LOWEST_VENV)/bin/python -m pytest $(QUICK) tests/pytest_plugin tests/config
	$(LOWEST_VENV)/bin/python -m pytest $(DUEL)

# The lowest versions that pyproject.toml allows, and the newest ones on the newest Python here.
# TensorFlow is installed twice: ten minutes, so `.ci/run` leaves it out.
.PHONY: versions
versions: $(VERSIONS)-lowest/.installed $(VERSIONS)-newest/.installed
	for made in $(VERSIONS)-lowest $(VERSIONS)-newest; do \
		$$made/bin/python -c 'import sys, numpy, pytest, tensorflow as tf; print(sys.version, numpy.__version__, pytest.__version__, tf.__version__)' && \
		$$made/bin/python -m pytest $(QUICK) && $$made/bin/python -m pytest $(DUEL) || exit 1; \
	done

# The peers have an environment of their own: locust brings a pytest plugin, which would be in the
# way of the tests.
bench: $(BENCH_VENV)/.installed $(VENV)/.installed-dev
	$(BENCH_VENV)/bin/python benchmarks/engine.py
	$(BIN)/python benchmarks/replicas.py
	$(BIN)/python benchmarks/coverage.py --more
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/overhead.py

clean:
	rm -rf $(VENV) $(BENCH_VENV) $(PLUGINS_VENV) $(LOWEST_VENV) $(VERSIONS)-*

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

$(PLUGINS_VENV)/.installed: $(VENV)/.installed-dev .ci/environment.py
	$(BIN)/python .ci/environment.py $(PLUGINS_VENV) --beside $(VENV) --extra plugins
	@touch $@

$(LOWEST_VENV)/.installed: $(VENV)/.installed-dev .ci/environment.py
	$(BIN)/python .ci/environment.py $(LOWEST_VENV) --beside $(VENV) --lowest pytest
	@touch $@

# The client of Triton has to fit the protobuf that this TensorFlow wants, and JAX its ml_dtypes.
$(VERSIONS)-lowest/.installed: $(VENV)/.installed-dev .ci/environment.py
	$(BIN)/python .ci/environment.py $(VERSIONS)-lowest --beside $(VENV) \
		--lowest pytest --lowest tensorflow --lowest numpy \
		'tritonclient[grpc,http]>=2.50' 'jax>=0.4.34,<0.5'
	@touch $@

# The newest Python that is installed; pip takes the newest of all else.
NEWEST_PYTHON ?= $(firstword $(foreach minor,13 12 11,$(shell python3.$(minor) -c 'import sys; print(sys.executable)' 2>/dev/null)))
$(VERSIONS)-newest/.installed: pyproject.toml .ci/environment.py
	$(NEWEST_PYTHON) .ci/environment.py $(VERSIONS)-newest --extra dev
	@touch $@
