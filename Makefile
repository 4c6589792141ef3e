# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-runtime test-bulk test-bridges test-page screenshots check format lint types contracts docs dist clean

# Versions come from constraints.txt; torch is asked for by its exact version, because a range would
# take the newest build, with several gigabytes of CUDA libraries.
TORCH := $(shell grep '^torch==' constraints.txt)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,docs]'
	touch $(READY)

# Photographs of six kinds, with names that a person would type; examples/README.md says whose they are.
demo: $(READY)
	$(BIN)/escnet segment examples/demo/cow.jpg --classes "cow, grass, tree, sky" --out out
	$(BIN)/escnet segment examples/demo/cyclists.jpg --classes "person, bicycle, tree, road" --out out
	$(BIN)/escnet segment examples/demo/pizza.jpg --classes "pizza, plate, salad, table" --out out
	$(BIN)/escnet segment examples/demo/room.jpg --classes "couch, chair, lamp, table, wall, floor, picture, curtain" --out out
	$(BIN)/escnet segment examples/demo/ruins.jpg --classes "sky, tree, building, rock" --out out
	$(BIN)/escnet segment examples/demo/paris.jpg --classes "sky, tower, tree, grass, water, building, road" --out out
	$(BIN)/escnet segment examples/coffee.jpg --classes "cup=cup|coffee cup, table=table|dining table" --out out
	$(BIN)/escnet segment examples/chelsea.jpg --classes "cat" --background --out out
	@echo "Look at the eight pictures out/*.overlay.jpg"

# One thread a process: the networks of the tests are too small to share out.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile

# The wheel without extras in an environment of its own, which has no PyTorch.
RUNTIME := build/runtime
TORCH_FREE := tests/annotations tests/class_lists tests/inference/exported/test_method.py tests/test_files.py \
	tests/test_small_file.py tests/test_vocabulary.py
test-runtime:
	rm -rf $(RUNTIME)
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(RUNTIME)/wheel .
	$(RUNTIME)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		$(RUNTIME)/wheel/*.whl beartype hypothesis pytest
	! $(RUNTIME)/bin/python -c "import torch" 2> /dev/null
	OMP_NUM_THREADS=1 $(RUNTIME)/bin/python -m pytest $(TORCH_FREE)

# Jobs on workers of Ray, and in buckets of a server that speaks S3, in an environment of their own.
BULK := .venv-bulk
BULK_READY := $(BULK)/.ready

$(BULK_READY): pyproject.toml tests/bulk/requirements.txt tests/bulk/constraints.txt
	$(PYTHON) -m venv $(BULK)
	$(BULK)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BULK)/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement tests/bulk/requirements.txt --constraint tests/bulk/constraints.txt --editable .
	touch $(BULK_READY)

test-bulk: $(BULK_READY)
	OMP_NUM_THREADS=1 $(BULK)/bin/python -m pytest -m "slow or not slow" -W ignore tests/bulk

# The programs that results are for, in an environment of their own (some 2 GB): docs/how-to/other-programs.md
BRIDGES := .venv-bridges
BRIDGES_READY := $(BRIDGES)/.ready

$(BRIDGES_READY): tests/bridges/requirements.txt tests/bridges/constraints.txt
	$(PYTHON) -m venv $(BRIDGES)
	$(BRIDGES)/bin/python -m pip install --quiet --disable-pip-version-check \
		--requirement tests/bridges/requirements.txt --constraint tests/bridges/constraints.txt
	$(BRIDGES)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $(BRIDGES_READY)

test-bridges: $(BRIDGES_READY)
	cd tests/bridges && FIFTYONE_DO_NOT_TRACK=true ../../$(BRIDGES)/bin/python -m pytest -c pytest.ini

# The page in a real browser, which has to be here: apt-get install chromium npm
PAGE_READY := build/page/.ready

$(PAGE_READY): $(READY) tests/web/page/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tests/web/page/requirements.txt
	npm install --silent --no-save --prefix build/page axe-core@4
	touch $(PAGE_READY)

test-page: $(PAGE_READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow tests/web/page

screenshots: $(PAGE_READY)
	$(BIN)/python docs/page_screenshots.py

check: format lint types contracts

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

contracts: $(READY)
	$(BIN)/lint-imports

# Any warning, such as a link to nowhere, is an error.
docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs
	@echo "Look at build/docs/index.html"

# The source archive and the wheel, each tried: the tests of the unpacked source, and the wheel alone.
RELEASE := build/release
dist: $(READY)
	rm -rf dist $(RELEASE)
	$(PYTHON) -m venv $(RELEASE)
	$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check build
	$(RELEASE)/bin/python -m build --outdir dist .
	mkdir $(RELEASE)/source
	tar --extract --gzip --file dist/*.tar.gz --directory $(RELEASE)/source --strip-components 1
	cd $(RELEASE)/source && PYTHONPATH=src OMP_NUM_THREADS=1 $(CURDIR)/$(BIN)/python -m pytest --numprocesses=logical --maxprocesses=4 --dist=loadfile
	$(RELEASE)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt dist/*.whl
	$(RELEASE)/bin/escnet segment examples/chelsea.jpg --classes "cat" --background --out $(RELEASE)/out

clean:
	rm -rf $(VENV) $(BRIDGES) $(BULK) out build dist .mypy_cache .pytest_cache .ruff_cache
