# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One worker per core, of one thread each. A file stays with one worker, as its tests share what they train; files go
# in order, so that the long journeys do not come last.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: demo test test-slow check format benchmarks clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c constraints.txt torch
	$(BIN)/pip install --quiet -c constraints.txt -e '.[demo,dev]'
	touch $@

demo: $(READY)  ## train one model on pictures, names and speech, score it, write demo/gallery.html
	$(BIN)/python examples/demo.py -o demo

test: $(READY)  ## all tests but the slow ones
	$(PYTEST)

test-slow: $(READY)  ## tests that learn for minutes
	$(BIN)/python -m pytest -m slow

check: $(READY)  ## format, lint, types, tests
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy
	$(PYTEST)

format: $(READY)
	$(BIN)/ruff format src tests benchmarks examples
	$(BIN)/ruff check --fix src tests benchmarks examples

benchmarks: $(READY)  ## all that is timed: tables on the screen, JSON in benchmarks/results/, docs/benchmarks.md
	$(BIN)/pip install --quiet -c constraints.txt -e '.[bench]'
	$(BIN)/pip install --quiet --no-deps --target runs/multivae multivae==1.0.3 pythae==0.1.2
	$(BIN)/python benchmarks/all.py

clean:
	rm -rf $(VENV) build dist
