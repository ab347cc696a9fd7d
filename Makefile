# Every target sets up what it needs: .venv holds the versions pinned in constraints.txt, and is built again when these,
# pyproject.toml, the interpreter or the place of this folder have changed.

.DEFAULT_GOAL := help
.PHONY: help demo test check format stress notebooks

SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
ifndef PYTHON
PYTHON := $(or $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done),python3)
endif

# The name of this file is its meaning: it is written last, so a venv whose installation was cut short has none.
READY := .venv/ready-$(shell { pwd; $(PYTHON) -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null; \
	cat pyproject.toml constraints.txt; } | cksum | tr ' ' '-')

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' Makefile

demo: $(READY) ## train on the drawn faces and show the results (two to three minutes on two cores)
	.venv/bin/peclip fit --config demo

test: $(READY) ## run the tests
	OMP_NUM_THREADS=1 .venv/bin/pytest -m "not slow and not gpu" -n auto --maxprocesses 8

check: $(READY) ## check style and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy

format: $(READY) ## put the code into the project's style
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

notebooks: $(READY) ## run the notebooks
	.venv/bin/pytest --nbmake --nbmake-timeout=600 notebooks

stress: $(READY) ## run the tests that take long or need a GPU
	.venv/bin/pytest -m "slow or gpu"

# The interpreter behind PYTHON builds the venv, because PYTHON may be the activated .venv itself. Python compiles a module
# when it is first imported; compiling all of them here would take half of the time. Those of a training are compiled here,
# because where PYTHONDONTWRITEBYTECODE is set every start would compile them again, which doubles its time.
$(READY):
	@$(PYTHON) -c '$(SUPPORTED)' 2>/dev/null || { echo 'peclip needs Python 3.11, 3.12 or 3.13, which $(PYTHON) is not:' \
		'name one, as in make PYTHON=python3.12' >&2; exit 1; }
	base=$$($(PYTHON) -c 'import os, sys; print(os.path.realpath(sys._base_executable))') && \
		rm -rf .venv && "$$base" -m venv .venv
	.venv/bin/python -m pip install --no-compile -c constraints.txt -e '.[dev]'
	env -u PYTHONDONTWRITEBYTECODE .venv/bin/peclip fit --print_config > /dev/null
	@touch $@
