# Everything runs in .venv, which is made from PYTHON and made again when pyproject.toml changes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test mutants check types lint docs conformance bench bench-echo wheel test-pypy test-windows bench-windows clean

demo: $(READY)  ## file servers, a proxy and an echo server on every backend, checked byte by byte
	$(BIN)/python examples/demo.py

test: $(READY) check  ## every test but `make mutants`, the types, lint, the generated docs
	$(BIN)/python -m pytest -n 2 -q -rs --ignore tests/test_mutants.py

mutants: $(READY)  ## netcore broken in fifty ways: each fails the rule that names its fault
	$(BIN)/python -m pytest -n 2 -q tests/test_mutants.py

check: types lint docs

types: $(READY)
	for platform in linux darwin win32; do $(BIN)/mypy --platform $$platform || exit 1; done

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(READY)  ## fails if docs/rules.md is not what the suite says
	$(BIN)/python ci/rules.py --check

conformance: $(READY)  ## make conformance BACKEND=poll
	$(BIN)/python -m pytest -q -rs tests/conformance $(if $(BACKEND),--netcore-backend=$(BACKEND))

bench: $(READY)  ## the figures of the README, as a table, as JSON and as a plot
	$(BIN)/python bench/selectors_bench.py --json bench/results.json --plot docs/bench.svg

bench-echo: $(READY)  ## an echo server on netcore, on the raw epoll, on asyncio, uvloop and trio
	$(BIN)/python bench/echo_bench.py --syscalls --json bench/results-echo.json

wheel: $(READY)  ## build it, then hold what it installed to the rules, the sources out of sight
	PYTHON=$(BIN)/python ci/wheel.sh

test-pypy:  ## the suite in Debian's PyPy
	ci/pypy.sh

test-windows:  ## the suite and CPython's tests in a Windows Python under Wine
	ci/windows/test.sh

bench-windows:  ## ratios only: under Wine every call is a round trip
	ci/windows/run.sh bench/windows_bench.py

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@
