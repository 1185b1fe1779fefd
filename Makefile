# Everything from a machine that has Python 3.11 or later, make and a network. `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab test test-all test-browser kernels soak-claims lint format bounds clean

VENV := .venv
PY := $(VENV)/bin/python
BOUNDS := .venv-bounds
# Besides the newest ipykernel, which VENV has: they differ in the thread that a widget's callback runs on.
KERNELS := 6.31.0 7.3
KERNEL_PYTHONS := $(KERNELS:%=.venv-ipykernel-%/bin/python)
KERNEL_NOTEBOOKS = $(wildcard notebooks/00_*.ipynb notebooks/07_*.ipynb notebooks/12_*.ipynb)
NOTEBOOK_JOBS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# $(call venv,DIRECTORY): a virtual environment there, from the first Python that can make one; PYTHON=... names it.
define venv
if $(1)/bin/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
found=; bare=; chosen=; \
for name in $(or $(PYTHON),python3.13 python3.12 python3.11 python3); do \
    version=$$($$name -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || continue; \
    found="$$found $$name ($$version)"; \
    $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue; \
    if $$name -c 'import ensurepip, venv' 2>/dev/null; then chosen=$$name; break; fi; \
    bare="$$bare $$name"; \
done; \
if [ -n "$$chosen" ]; then echo "Creating $(1) with $$chosen ($$version)"; $$chosen -m venv --clear $(1); \
elif [ -n "$$bare" ]; then \
    set -- $$bare; \
    echo "$$1 cannot make a virtual environment (it has no ensurepip). On Debian and Ubuntu: apt install $$1-venv" >&2; \
    exit 1; \
else \
    echo "labkit needs Python 3.11 or later; found:$${found:- no Python}. Name another: make PYTHON=/path/to/python3" >&2; \
    exit 1; \
fi
endef

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml
	@$(call venv,$(VENV))
	@echo "Installing labkit, JupyterLab and the test tools into $(VENV): once, a minute or two"
	@$(PY) -m pip install --quiet --editable '.[all]'
	@touch $@

$(BOUNDS)/.installed: pyproject.toml constraints-lower.txt
	@$(call venv,$(BOUNDS))
	@echo "Installing the lowest releases of constraints-lower.txt into $(BOUNDS)"
	@$(BOUNDS)/bin/python -m pip install --quiet --editable '.[notebook,test]' --constraint constraints-lower.txt
	@touch $@

.venv-ipykernel-%/.installed: pyproject.toml
	@$(call venv,$(@D))
	@echo "Installing labkit with ipykernel $* into $(@D)"
	@$(@D)/bin/python -m pip install --quiet --editable '.[notebook,test,browser]' 'ipykernel==$*.*'
	@touch $@

lab: $(VENV)/.installed  ## open JupyterLab on the first notebook
	@$(PY) -m labkit lab

# The unit tests first and one at a time, since some compare measured times; then the notebooks. There a warning is no
# error: labkit runs in the kernels, and what would warn in pytest's own process is Jupyter. Charts are made and not
# photographed: a static picture starts a Chromium, and `make test-browser` looks at them.
test: $(VENV)/.installed  ## run the tests, every notebook, and the first two in a browser if there is one
	$(PY) -m pytest tests
	@mkdir -p build && rm -f build/claims.jsonl
	LABKIT_CLAIMS="$(CURDIR)/build/claims.jsonl" PLOTLY_RENDERER=plotly_mimetype \
	    $(PY) -m pytest -W default --nbmake --timeout=900 -n $(NOTEBOOK_JOBS) notebooks

test-browser: $(VENV)/.installed  ## run everything that needs a browser, every notebook in JupyterLab; fails without
	LABKIT_REQUIRE_CHROMIUM=1 LABKIT_ALL_IN_JUPYTER=1 $(PY) -m pytest tests -m browser

kernels: $(KERNELS:%=.venv-ipykernel-%/.installed)  ## run what depends on ipykernel on its older releases too
	@mkdir -p build && rm -f build/claims-kernels.jsonl
	@set -e; for python in $(KERNEL_PYTHONS); do \
	    echo "--- $$python"; \
	    LABKIT_REQUIRE_CHROMIUM= $$python -m pytest tests/course/where_the_server_lives/test_kernel.py tests/test_nested.py; \
	    LABKIT_CLAIMS="$(CURDIR)/build/claims-kernels.jsonl" PLOTLY_RENDERER=plotly_mimetype LABKIT_REQUIRE_CHROMIUM= \
	        $$python -m pytest -W default --nbmake --timeout=900 -n $(NOTEBOOK_JOBS) $(KERNEL_NOTEBOOKS); \
	done

test-all: $(VENV)/.installed $(KERNELS:%=.venv-ipykernel-%/.installed)  ## what `make test` runs, on three ipykernels
	@set -e; for python in $(PY) $(KERNEL_PYTHONS); do echo "--- $$python"; $(MAKE) test PY=$$python; done

soak-claims: $(VENV)/.installed  ## put each claim to the test 20 times beside a busy core: hours; goes on where it ended
	$(PY) -m labkit soak $(CLAIMS)

lint: $(VENV)/.installed  ## check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.installed  ## format the code and the notebooks
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bounds: $(BOUNDS)/.installed  ## run the tests at the lowest releases labkit supports
	LABKIT_REQUIRE_CHROMIUM= $(BOUNDS)/bin/python -m pytest tests --ignore=tests/jupyter -m 'not browser'

clean:  ## remove the environments and everything built or cached
	rm -rf $(VENV) $(BOUNDS) $(KERNELS:%=.venv-ipykernel-%) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find labkit tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
