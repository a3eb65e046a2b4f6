# Two commands do everything on a fresh machine: `make train` and `make test`. Both set up .venv first.
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup train test test-fast bench lint clean

setup: $(READY)

# Built once; built again only when one of these files changed.
$(READY): requirements-cpu.lock pyproject.toml scripts/setup.sh
	@bash scripts/setup.sh $(VENV)

train: $(READY)
	@$(BIN)/sp3f quickstart

test: $(READY)
	@$(BIN)/python -m pytest

test-fast: $(READY)
	@$(BIN)/python -m pytest -m "not e2e"

bench: $(READY)
	@$(BIN)/python benchmarks/import_time.py
	@$(BIN)/python benchmarks/reward_group.py
	@$(BIN)/python benchmarks/rewards.py
	@$(BIN)/python benchmarks/judge_schedules.py
	@$(BIN)/python benchmarks/judge_memory.py
	@$(BIN)/python benchmarks/judge_client.py
	@$(BIN)/python benchmarks/judge_step.py
	@$(BIN)/python benchmarks/preference_step.py
	@$(BIN)/python benchmarks/pair_selection.py
	@$(BIN)/python benchmarks/data_assembly.py
	@$(BIN)/python benchmarks/asking_many.py

lint: $(READY)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

# Everything that the targets above made, except downloads in pip's own cache.
clean:
	rm -rf $(VENV) runs outputs build *.egg-info .pytest_cache .hypothesis .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
