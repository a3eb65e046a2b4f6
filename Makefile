# Two commands do everything on a fresh machine: `make train` and `make test`. Both set up .venv first.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup train train-real test test-fast test-e2e bench lint clean

setup: $(READY)

# Built once; built again only when one of these files changed.
$(READY): requirements-cpu.lock pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh $(VENV)

train: $(READY)
	@$(BIN)/sp3f quickstart

train-real: $(READY)
	@$(BIN)/sp3f quickstart --preset real --output runs/real

# A test file at a time on each process, one thread each, in the order of tests/conftest.py: the end-to-end runs are chains
# of processes that start one after the other, so two at once use two cores, where there is memory for both; then the
# short files of the fast half fill up what those leave.
JOBS := 2
E2E_JOBS := $(shell awk '/^MemAvailable/ { print ($$2 > 14e6) ? 2 : 1 }' /proc/meminfo)
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder $(PYTEST_OPTIONS)

ifeq ($(JOBS),$(E2E_JOBS))
test: $(READY)
	@$(PYTEST) -n $(JOBS)
else
test: test-fast test-e2e
endif

test-fast: $(READY)
	@$(PYTEST) -m "not e2e" -n $(JOBS)

test-e2e: $(READY)
	@$(PYTEST) -m e2e -n $(E2E_JOBS)

# Each is run, whatever the others found: times are missed on a machine that is slower or busy.
BENCHMARKS := import_time reward_group rewards judge_schedules judge_memory judge_client judge_step preference_step \
	pair_selection data_assembly asking_many
bench: $(READY)
	@missed=; for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py || missed="$$missed $$name"; done; \
	[ -z "$$missed" ] || { echo "these missed a target:$$missed"; exit 1; }

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Everything that the targets above made, except downloads in pip's own cache.
clean:
	rm -rf $(VENV) runs outputs build *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
