# Every target sets up what it needs: .venv has the versions pinned in constraints.txt, and is rebuilt when these,
# pyproject.toml, setup.py, the interpreter or the path of this folder have changed.

.DEFAULT_GOAL := help
.PHONY: help demo test slow check format docs stress oldest notebooks

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
ifndef PYTHON
PYTHON := $(or $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done),python3)
endif

# This file is written last and named after all that .venv depends on, so an interrupted installation is repeated.
READY := .venv/ready-$(shell { pwd; $(PYTHON) -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null; \
	cat pyproject.toml setup.py constraints.txt; } | cksum | tr ' ' '-')

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' Makefile

demo: $(READY) ## train on synthetic faces and show the results (three to five minutes on two cores)
	.venv/bin/peclip fit --config demo

# The tests of a file run in one process, and so do those of some folders (tests/conftest.py), which makes what they share
# once; without compiled modules each would compile all.
PYTEST := env -u PYTHONDONTWRITEBYTECODE OMP_NUM_THREADS=1 .venv/bin/pytest -n auto --maxprocesses 8 --no-loadscope-reorder

test: $(READY) ## run the tests that take at most a few seconds each
	$(PYTEST) -m "not slow and not gpu"

slow: $(READY) ## run the tests that take longer, but not those of make stress
	$(PYTEST) -m "slow and not stress and not gpu"

check: $(READY) ## check style and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: $(READY) ## fix the style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: $(READY) ## build the documentation into site/; every warning is an error
	PATH=$(CURDIR)/.venv/bin:$$PATH NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet --site-dir site

notebooks: $(READY) ## run the notebooks and store their outputs
	.venv/bin/pytest --nbmake --nbmake-timeout=600 --overwrite notebooks

stress: $(READY) ## run the tests that take long or need a GPU
	.venv/bin/pytest -m "stress or gpu"

# Without ONNX, which needs a newer torch than the rest, and without the stored help, which has the words of the pinned versions.
oldest: ## run the tests with the oldest versions that pyproject.toml allows
	rm -rf .venv-oldest && $(PYTHON) -m venv .venv-oldest && .venv-oldest/bin/pip install --quiet uv
	.venv-oldest/bin/uv pip install --python .venv-oldest/bin/python --resolution lowest-direct 'pytest>=8.3' 'pytest-xdist>=3.8' 'setuptools>=77' 'websocket-client>=1.8' \
		-e '.[app,embed,faces,mlflow,notebooks,optuna,peft,siglip,votes]'
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest --ignore tests/test_help.py -m "not slow and not gpu" \
		-n auto --maxprocesses 8 --no-loadscope-reorder

# The base interpreter of PYTHON creates the venv, because PYTHON may be the activated .venv itself. --no-compile halves the
# installation time: Python compiles a module when it first imports it. peclip fit --help compiles the modules that training
# imports; where PYTHONDONTWRITEBYTECODE is set, every start would otherwise compile them again and take twice as long.
$(READY):
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { echo 'peclip needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is not one of them:' \
		'run make PYTHON=python3.12, for example' >&2; exit 1; }
	base=$$($(PYTHON) -c 'import os, sys; print(os.path.realpath(sys._base_executable))') && \
		rm -rf .venv && "$$base" -m venv .venv
	.venv/bin/python -m pip install --no-compile -c constraints.txt -e '.[dev]'
	env -u PYTHONDONTWRITEBYTECODE .venv/bin/peclip fit --print_config > /dev/null
	@touch $@
