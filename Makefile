# Every target installs what it needs into one virtual environment, .venv. A stamp file for each
# extra of pyproject.toml keeps it from being installed twice.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

EXTRAS := examples test docs dev
TORCH_VERSIONS ?= 2.11.0 2.14.1 newest
BENCHMARKS := run layers heads style scaling data_parallel thread_split targets overhead smaller_side guarantees

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-versions reliability lint docs bench gpu all clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.extra-examples ## compare pooling heads and normalisations on real images
	$(BIN)/python examples/image_classification/compare.py

test: $(VENV)/.extra-examples $(VENV)/.extra-test ## run the tests and the doctests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist loadfile

test-versions: ## run the tests with each of TORCH_VERSIONS, on one and on two threads
	set -e; for version in $(TORCH_VERSIONS); do \
		venv=.venv-torch-$$version; \
		$(MAKE) VENV=$$venv $$venv/.created; \
		$$venv/bin/python -m pip install --upgrade --editable ".[examples,test]" \
			"$$(echo torch==$$version | sed s/==newest//)"; \
		for threads in 1 2; do \
			echo "torch $$version, threads: $$threads"; \
			OMP_NUM_THREADS=$$threads $$venv/bin/python -m pytest; \
		done; \
	done

reliability: $(VENV)/.extra-examples $(VENV)/.extra-test ## try and count what is promised
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.reliability

lint: $(VENV)/.extra-dev ## check style, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.extra-docs ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -n -W --keep-going -b html docs docs/_build/html

bench: $(VENV)/.extra-bench ## measure time, memory and error; how they grow; what is promised
	set -e; for script in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$script; done

gpu: $(VENV)/.extra-examples $(VENV)/.extra-test ## measure and check on a GPU all that is promised of one
	$(BIN)/python -m benchmarks.gpu

all: $(VENV)/.extra-all ## install every extra

clean: ## remove what the targets made, except environments
	rm -rf build dist docs/_build docs/_static/generated docs/api/generated logs lightning_logs
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +

# An environment that was only half made is made again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "covlayers needs Python 3.11 or newer; choose one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "$(PYTHON) cannot make virtual environments; install its venv and ensurepip modules (on Debian and Ubuntu the package python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

$(VENV)/.extra-%: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install --editable ".[$*]"
	touch $@

$(VENV)/.extra-all: pyproject.toml | $(VENV)/.created
	$(BIN)/python -m pip install --editable ".[all]"
	touch $(EXTRAS:%=$(VENV)/.extra-%) $@
