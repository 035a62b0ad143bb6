# make demo     a tour of the zoo on this machine; weights are in the package, and no data need be at hand
# make test     lint, types and tests
# make clean    removes .venv and everything else that was made
#
# The first two set up .venv, and again only when pyproject.toml or a variable has changed. By default they install what
# the recorded scores were made with. To choose otherwise (after another PYTHON: make clean):
#   PYTHON=python3.12          the Python to use, 3.11 or 3.12
#   TORCH=torch==2.4.1         the PyTorch: a version, or the address or file of a build (PyPI's for Linux brings CUDA)
#   DGL=dgl==1.1.3             the DGL

PYTHON ?= python3.11 python3.12 python3 python
TORCH ?= torch==2.13.0
DGL ?= dgl==2.1.0
VENV := .venv

# Two test processes on two cores: threads of each would only be in the other's way.
test: export OMP_NUM_THREADS = 1

.PHONY: demo test clean FORCE

demo: $(VENV)/ready
	$(VENV)/bin/zoo demo

test: $(VENV)/ready
	$(VENV)/bin/ruff check
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest -n 2

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/ready: pyproject.toml $(VENV)/wanted
	@echo 'Setting up $(VENV) with $(TORCH) and $(DGL): a few minutes the first time.'
	@$(VENV)/bin/python -m pip install -qq --disable-pip-version-check '$(TORCH)' '$(DGL)' -e '.[dev]'
	@touch $@

# Changes only when TORCH or DGL do.
$(VENV)/wanted: $(VENV)/bin/python FORCE
	@echo '$(TORCH) $(DGL)' | cmp -s - $@ || echo '$(TORCH) $(DGL)' > $@

$(VENV)/bin/python:
	@for python in $(PYTHON); do \
	    if $$python -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then \
	        exec $$python -m venv $(VENV); \
	    fi; \
	done; \
	echo 'The zoo needs Python 3.11 or 3.12 with its venv module (Debian, Ubuntu: apt install python3-venv).' >&2; \
	echo 'None of these is one: $(PYTHON). If there is one elsewhere: make PYTHON=/path/to/python3.11' >&2; \
	exit 1
