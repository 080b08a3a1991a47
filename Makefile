# Everything that a developer runs. The environment is built once, in .venv, by the first target that needs it.

# An index of torch wheels, for torch and torchvision alone; empty: the ordinary one.
TORCH_INDEX ?=
PIP := .venv/bin/python -m pip install --quiet
BUILT := .venv/built

.DEFAULT_GOAL := help
.PHONY: help demo test test-programs check bench protos

# The tests that need a program beside Python, by their markers; and pytest's exit code where there is no such test.
PROGRAMS := chromium or postgres or slurm or buildah or bubblewrap
NO_TESTS := 5

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "TORCH_INDEX=URL  take torch from another index, say the one of builds without CUDA; first time only"
	@echo "ARENA_DATA=DIR   where downloaded data sets lie; tests that need one which is not there are skipped"

demo: $(BUILT) ## play a small tournament and print its table
	.venv/bin/arena run demo --prove

# Two processes, since much of a run is waiting: for workers of Ray to start, for time limits to pass.
test: $(BUILT) ## run the tests
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 2

test-programs: $(BUILT) ## run the tests that need a program beside Python, such as Chromium
	@OMP_NUM_THREADS=1 .venv/bin/pytest -m "$(PROGRAMS)" || { \
	  code=$$?; [ $$code -eq $(NO_TESTS) ] || exit $$code; echo "no test needs one of them yet"; }

check: $(BUILT) ## lint, formatting, types, import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: $(BUILT) ## print every figure, one script after another
	@set -e; for script in benchmarks/*.py; do echo "## $$script"; OMP_NUM_THREADS=1 .venv/bin/python $$script; done

protos: $(BUILT) ## generate arena/proto from protos
	.venv/bin/python protos/generate.py

# Sizes: `pip download` of what was installed, `du -sh .venv`.
# torch goes first, so that nothing else chooses its build; torchvision without what it needs, which comes after it.
$(BUILT): pyproject.toml constraints.txt
	@python=; for name in python3.11 python3; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "arena needs Python 3.11 or newer as python3.11 or python3" >&2; exit 1; fi; \
	echo "Building .venv: fetches about 0.5 GB and installs 2.1 GB with a CPU build of torch, which takes minutes."; \
	echo "On Linux the ordinary torch adds gigabytes of CUDA libraries; TORCH_INDEX=URL takes another."; \
	$$python -m venv .venv
	$(PIP) "pip>=25.1"
	$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') torch
	$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') --no-deps torchvision
	$(PIP) -c constraints.txt -e '.[art]' --group dev
	@touch $@
