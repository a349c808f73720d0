# `make train` and `make test` need nothing but make and Python 3.11, 3.12 or 3.13.
# The first of these that fits makes .venv; PYTHON=/path/to/python3.12 chooses another.
PYTHON ?= python3.11 python3.12 python3.13 python3
RUN := runs/quickstart
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
HUMANOID := git+https://github.com/carlosferrazza/humanoid-bench@791405f5eacf879adbc99105adb3fee73f5a49fc

.PHONY: help train test test-faults test-slurm humanoid lint tutorials lab book figures lock clean

help:  ## Show what can be made
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile | expand -t 14

train: .venv/installed  ## Train PO-MPC on cartpole-swingup; the run lands in runs/quickstart
	@mkdir -p $(RUN)
	$(BIN)/papermill --no-progress-bar --log-level WARNING --stdout-file - --stderr-file - \
		book/train.ipynb $(RUN)/train.ipynb -p lam 1.0 -p preset laptop

test: lint  ## Run every check
	$(BIN)/python -m pytest -q
	$(BIN)/python -m pytest -q --nbval book/tutorials

test-faults: .venv/installed  ## Kill a run at 50 random instants
	POMPC_KILLS=50 $(BIN)/python -m pytest -q -n 0 -s tests/runs/test_faults.py

test-slurm: .venv/installed  ## Run a sweep in a SLURM of its own (needs root, slurm-wlm and munge)
	tests/slurm.sh start
	SLURM_CONF=/tmp/pompc-slurm/slurm.conf $(BIN)/python -m pytest -q -n 0 -s tests/sweep/test_slurm.py; \
		code=$$?; tests/slurm.sh stop; exit $$code

# Editable, since its setup.py leaves out half of its modules and all its models; without its pins,
# which current JAX cannot live with. What it really needs is the extra `humanoid`, locked already.
humanoid: .venv/installed  ## Install HumanoidBench, for the tasks h1hand-* and h1-*
	@echo "Fetching HumanoidBench into .venv/src, where it takes about 220 MB"
	@$(INSTALL) --no-deps --no-build-isolation --use-pep517 \
		-e "$(HUMANOID)#egg=humanoid_bench"
	@$(BIN)/python -c "from pompc.envs import humanoid_compat; print(len(humanoid_compat.task_names()), 'tasks')"

lint: .venv/installed  ## Check style and types
	$(BIN)/ruff check pompc tests
	$(BIN)/ruff format --check pompc tests
	$(BIN)/basedpyright

tutorials: .venv/installed  ## Execute the tutorials anew and store their outputs
	@for page in book/tutorials/*.ipynb; do echo $$page; $(BIN)/python -c \
		"import sys, nbformat, nbclient; page = nbformat.read(sys.argv[1], 4); \
		nbclient.NotebookClient(page, record_timing=False, coalesce_streams=True).execute(cwd='book/tutorials'); \
		nbformat.write(page, sys.argv[1])" $$page; done

# LAB takes options of JupyterLab's: make lab LAB="--no-browser --port 9000"
lab: .venv/installed-lab  ## Open the tutorials in JupyterLab
	$(BIN)/jupyter-lab --ServerApp.root_dir=book --LabApp.default_url=/lab/tree/tutorials $(LAB)

book: .venv/installed  ## Build the book into book/_build/html
	$(BIN)/jupyter-book build book/ -W -n --keep-going

figures: .venv/installed  ## Draw the figures of runs/ into figures/small
	$(BIN)/python -m pompc.figures --profile small

# uv chooses versions for Python 3.11 to 3.13 at once, and keeps those that are locked already.
COMPILE := uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	--no-emit-index-url pyproject.toml
lock:  ## Write the locks and requirements.wheels from pyproject.toml (needs uv)
	@command -v uv > /dev/null || { echo "make lock needs uv, which chooses versions for Python 3.11 to 3.13 at once"; exit 1; }
	$(COMPILE) --generate-hashes --extra book --extra dev -o requirements.lock
	@set -e; scratch=$$(mktemp -d); trap 'rm -r "$$scratch"' EXIT; \
	cp requirements-lab.lock "$$scratch/lab.lock"; \
	$(COMPILE) --generate-hashes --extra lab -c requirements.lock -o "$$scratch/lab.lock"; \
	$(COMPILE) --format pylock.toml --extra book --extra dev --extra lab \
		-c requirements.lock -c "$$scratch/lab.lock" -o "$$scratch/pylock.toml"; \
	uv run --quiet --no-project --python '>=3.11' --with packaging tests/locks.py "$$scratch"

clean:  ## Remove the virtual environment and all built files, but no run
	rm -rf .venv book/_build .pytest_cache .ruff_cache pompc.egg-info
	find book pompc tests -name __pycache__ -prune -exec rm -rf {} +

# The locks name every package, so pip needs to look for none (--no-deps). On Python 3.13 it would
# look for labmaze, which dm-control asks for and pompc does not use: see pyproject.toml.
.venv/installed: requirements.lock pyproject.toml
	@test -x $(BIN)/pip || $(MAKE) --no-print-directory .venv/new
	@echo "Installing the packages of requirements.lock into .venv: a minute or two"
	@$(INSTALL) --no-deps -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

.venv/installed-lab: .venv/installed requirements-lab.lock
	@echo "Installing JupyterLab into .venv"
	@$(INSTALL) --no-deps -r requirements-lab.lock
	@touch $@

.PHONY: .venv/new
.venv/new:
	@for python in $(PYTHON); do \
		"$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2> /dev/null || continue; \
		"$$python" -c 'import ensurepip, venv' 2> /dev/null || { \
			echo "$$python lacks its venv module: on Debian or Ubuntu, install the package python3-venv, then run make again"; exit 1; }; \
		echo "Making .venv with $$($$python --version)"; \
		exec "$$python" -m venv .venv; \
	done; \
	echo "PO-MPC needs Python 3.11, 3.12 or 3.13, and none of these is one: $(PYTHON). Name one: make PYTHON=/path/to/python3.11"; \
	exit 1
