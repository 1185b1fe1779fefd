# Everything from a machine that has Python 3.11 or later, make and a network. `make` alone lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help lab test test-all test-browser kernels pythons one-python power planted symptoms soak-claims intermediaries lint format bounds clean

VENV := .venv
PY := $(VENV)/bin/python
BOUNDS := .venv-bounds
BOUND_TIMING := tests/lab tests/measuring tests/room tests/server tests/course/where_the_server_lives/test_kernel.py
# Between the lowest ipykernel, which BOUNDS has, and the newest, which VENV has: they differ in the thread that a
# widget's callback runs on.
KERNELS := 7.3
KERNEL_PYTHONS := $(KERNELS:%=.venv-ipykernel-%/bin/python)
# What draws five times a second for as long as it runs takes a core of its own.
DRAWS := tests/jupyter/test_control_room.py
IN_JUPYTER := LABKIT_REQUIRE_CHROMIUM=1 LABKIT_ALL_IN_JUPYTER=1
# What depends on a kernel and its loops the most.
KERNEL_TESTS := $(addprefix tests/course/where_the_server_lives/,test_kernel.py test_nested_asyncio.py)
KERNEL_NOTEBOOKS = $(wildcard notebooks/00_*.ipynb notebooks/07_*.ipynb notebooks/12_*.ipynb)
PACKAGES := "import sysconfig; print(sysconfig.get_path('purelib'))"
ADD_PACKAGES := "import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))"
# At once: browsers, which take a core; notebooks and tests, which wait for half of their time; tests that only wait.
JOBS ?= 2
NOTEBOOKS ?= 4
UNITS ?= 4
WAITING ?= 7
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

# $(call unit,PYTHON,TESTS[,AND]): first what compares no times, then the rest. No notebook is among them, and nbmake
# takes seconds to import in each process.
define unit
$(1) -m pytest -p no:nbmake $(2) -m 'not timing$(3)' -n $(UNITS) --dist worksteal
$(call timing,$(1),$(2),$(3))
endef

# $(call timing,PYTHON,TESTS[,AND]): WAITING at a time what waits for most of its time, then what must be alone.
define timing
$(1) -m pytest -p no:nbmake $(2) -m 'timing and not alone$(3)' -n $(WAITING) --dist worksteal
$(1) -m pytest -p no:nbmake $(2) -m 'alone$(3)'
endef

# $(call notebooks,PYTHON,CLAIMS,NOTEBOOKS). Here a warning is no error: labkit runs in the kernels, and what would warn
# in pytest's own process is Jupyter. Charts are made and not photographed: a static picture starts a Chromium, and
# `make test-browser` looks at them. The long ones are the first ones: each goes to whoever is free.
define notebooks
@mkdir -p build && rm -f build/$(2).jsonl
LABKIT_CLAIMS="$(CURDIR)/build/$(2).jsonl" PLOTLY_RENDERER=plotly_mimetype \
    $(1) -m pytest -W default --nbmake -p kernels_at_files --timeout=900 -n $(NOTEBOOKS) --dist load --maxschedchunk 1 $(3)
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

# It has ipykernel alone, and all else from VENV: `make bounds` is who installs labkit with an old one.
.venv-ipykernel-%/.installed: $(VENV)/.installed
	@echo "Installing ipykernel $* into $(@D)"
	@$(PY) -m venv --clear $(@D)
	@$(PY) -c $(ADD_PACKAGES) > $$($(@D)/bin/python -c $(PACKAGES))/venv.pth
	@$(@D)/bin/python -m pip install --quiet 'ipykernel==$*.*'
	@touch $@

lab: $(VENV)/.installed  ## open JupyterLab on the first notebook
	@$(PY) -m labkit lab

test: $(VENV)/.installed  ## run the tests, every notebook, and 00 and 07 in a browser if there is one; WITHOUT=browser
	$(call unit,$(PY),tests,$(WITHOUT:%= and not %))
	$(call notebooks,$(PY),claims,notebooks)

test-browser: $(VENV)/.installed  ## run everything that needs a browser, every notebook in JupyterLab; fails without
	$(IN_JUPYTER) $(PY) -m pytest -p no:nbmake $(DRAWS)
	$(IN_JUPYTER) $(PY) -m pytest -p no:nbmake tests -m browser --ignore $(DRAWS) -n $(JOBS) --dist worksteal

kernels: $(KERNELS:%=ipykernel-%)  ## run what depends on ipykernel between its lowest release and the newest

ipykernel-%: export LABKIT_REQUIRE_CHROMIUM =
ipykernel-%: .venv-ipykernel-%/.installed
	$(<D)/bin/python -m pytest -p no:nbmake $(KERNEL_TESTS) -m 'not alone' -n $(UNITS) --dist worksteal
	$(<D)/bin/python -m pytest -p no:nbmake $(KERNEL_TESTS) -m alone
	$(call notebooks,$(<D)/bin/python,claims-kernels,$(KERNEL_NOTEBOOKS))

# pyenv's shims are there for each version that is installed and refuse all but the chosen ones: look behind them too.
pythons:  ## run the unit tests and three notebooks on every other Python from 3.11 on that this machine has
	@set -e; seen=$$($(PY) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true); \
	for python in $$(for folder in $$(echo "$$PATH" | tr : ' ') $$HOME/.pyenv/versions/*/bin; do \
	        ls $$folder/python3.1[1-9] $$folder/python3.[2-9][0-9] 2>/dev/null || :; done); do \
	    version=$$($$python -c 'import sys, ensurepip, venv; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue; \
	    case " $$seen " in *" $$version "*) continue ;; esac; \
	    seen="$$seen $$version"; \
	    echo "--- $$python"; \
	    $(MAKE) --no-print-directory one-python PYTHON=$$python VENV=.venv-python-$$version; \
	done; echo "Pythons: $$seen"

one-python: $(VENV)/.installed
	$(call unit,$(PY),tests, and not browser)
	$(call notebooks,$(PY),claims-pythons,$(KERNEL_NOTEBOOKS))

test-all: $(VENV)/.installed $(BOUNDS)/.installed $(KERNELS:%=.venv-ipykernel-%/.installed)  ## what `make test` runs, on three ipykernels
	@set -e; for python in $(PY) $(BOUNDS)/bin/python $(KERNEL_PYTHONS); do echo "--- $$python"; $(MAKE) test PY=$$python; done

power: $(VENV)/.installed  ## what each claim's check can tell apart, on simulated worlds: 15 minutes; SEED=..., CLAIMS=...
	PYTHONPATH=tests $(PY) -m power $(CLAIMS) --seed $(or $(SEED),0)

planted: $(VENV)/.installed  ## what each claim that no simulation makes says of a lie, ten times each: 45 minutes; CLAIMS=..., TIMES=...
	PYTHONPATH=tests $(PY) -m planted $(CLAIMS) --times $(or $(TIMES),10)

symptoms: $(VENV)/.installed  ## what `labkit probe` says of planted causes and healthy servers: 4 minutes a time; WORDS=..., TIMES=...
	PYTHONPATH=tests $(PY) -m symptoms $(WORDS) --times $(or $(TIMES),5)

soak-claims: $(VENV)/.installed  ## put each claim to the test 20 times beside a busy core (IDLE=1: without): hours; goes on
	$(PY) -m labkit soak $(if $(IDLE),--idle --times 10) $(CLAIMS)

intermediaries: $(VENV)/.installed  ## what nginx and eight others do to each technique, those that are there: 5 minutes; PROGRAMS=..., IDLE=S
	$(PY) bench/intermediaries.py --idle $(or $(IDLE),20) $(PROGRAMS)

lint: $(VENV)/.installed  ## check style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(VENV)/.installed  ## format the code and the notebooks
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Of the tests, those that try a library whose lowest release is not the one that VENV has; of those that compare times
# not the course's experiments, which need none that the rest does not.
bounds: export LABKIT_REQUIRE_CHROMIUM =
bounds: $(VENV)/.installed $(BOUNDS)/.installed  ## run what depends on the libraries at the lowest releases labkit supports
	@mkdir -p build && $(PY) -m pip freeze > build/newest.txt
	$(BOUNDS)/bin/python -m pytest -p no:nbmake tests --ignore=tests/jupyter --newest=build/newest.txt -m 'not timing and not browser' -n $(UNITS) --dist worksteal
	$(call timing,$(BOUNDS)/bin/python,$(BOUND_TIMING) --newest=build/newest.txt, and not browser)
	$(call notebooks,$(BOUNDS)/bin/python,claims-bounds,$(KERNEL_NOTEBOOKS))

clean:  ## remove the environments and everything built or cached
	rm -rf $(VENV) $(BOUNDS) .venv-ipykernel-* .venv-python-* build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find labkit bench tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints -o -name '*-capture.pcapng' \) -prune -exec rm -rf {} +
