# Everything that a developer runs. The environment is built once, in .venv, by the first target that needs it.

# An index of wheels from which only torch and torchvision are installed; empty: the default index.
TORCH_INDEX ?=
PIP := .venv/bin/python -m pip install --quiet
BUILT := .venv/built

.DEFAULT_GOAL := help
.PHONY: help demo test test-programs check bench chaos image-test protos

# The markers of tests that need a program besides Python, and pytest's exit code if there are no such tests.
PROGRAMS := chromium or postgres or slurm or buildah or bubblewrap
NO_TESTS := 5

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "TORCH_INDEX=URL  install torch from another index, such as that of its CPU builds; only used to build .venv"
	@echo "ARENA_DATA=DIR   the folder with downloaded data sets; tests that need a missing data set are skipped"

demo: $(BUILT) ## play a small tournament and print its table
	.venv/bin/arena run demo --prove

# Three processes on two cores: much of a run is spent waiting for workers of Ray to start and for time limits to pass.
test: $(BUILT) ## run the tests, except those of test-programs
	OMP_NUM_THREADS=1 .venv/bin/pytest -n 3 -m "not ($(PROGRAMS))"

test-programs: $(BUILT) ## run the tests that need a program besides Python, such as Chromium
	@OMP_NUM_THREADS=1 .venv/bin/pytest -m "$(PROGRAMS)" || { \
	  code=$$?; [ $$code -eq $(NO_TESTS) ] || exit $$code; echo "no test needs such a program yet"; }

check: $(BUILT) ## check lint, formatting, types and import contracts
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

bench: $(BUILT) ## run all benchmarks and print their figures
	@set -e; for script in benchmarks/*.py; do echo "## $$script"; OMP_NUM_THREADS=1 .venv/bin/python $$script; done

chaos: $(BUILT) ## kill a run's processes 300 times and prove that nothing is lost or doubled
	OMP_NUM_THREADS=1 .venv/bin/python benchmarks/chaos.py --matches 200 --kills 300

image-test: ## build the container image with buildah, as root, and play a few matches inside
	deploy/docker/image-test.sh

protos: $(BUILT) ## generate arena/proto from protos
	.venv/bin/python protos/generate.py

# Sizes: `pip download` of what was installed, `du -sh .venv`.
# torch is installed first, so that nothing else chooses its build, and torchvision without its dependencies, which follow.
$(BUILT): pyproject.toml constraints.txt
	@python=; for name in python3.11 python3; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then echo "arena needs Python 3.11 or newer as python3.11 or python3" >&2; exit 1; fi; \
	echo "Building .venv: with a CPU build of torch, this downloads 0.5 GB, installs 2.1 GB and takes minutes."; \
	echo "On Linux, the default build of torch adds gigabytes of CUDA libraries; TORCH_INDEX=URL chooses another."; \
	$$python -m venv .venv
	$(PIP) "pip>=25.1"
	$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') torch
	$(PIP) -c constraints.txt $(if $(TORCH_INDEX),--index-url '$(TORCH_INDEX)') --no-deps torchvision
	$(PIP) -c constraints.txt -e '.[art,tables]' --group dev
	@touch $@
