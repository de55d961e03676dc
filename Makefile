# make demo, make test: each from a bare clone with nothing but python3.11, make and a package index.
PYTHON ?= python3.11
VENV   := .venv
PEERS  := .venv-peers
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo docs test check test-peers test-peers-all lint clean

help:
	@echo "make demo        simulate images, train, evaluate, export, predict (<= 4 minutes after the install)"
	@echo "make test        ruff, mypy --strict, all tests but gpu"
	@echo "make check       the fast part of it (under 2 minutes)"
	@echo "make test-peers  equality with public packages, in a second environment; test-peers-all: with slow ones"
	@echo "make docs        this documentation as a site that opens from files: site/index.html"
	@echo "make clean       remove both environments and the demo's files"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,serve,dev,itk,docs]'
	@touch $@

$(PEERS)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,peers]'
	@touch $@

demo: install
	$(BIN)/excite demo --out demo
	@echo "(excite is $(BIN)/excite; 'source $(BIN)/activate' puts it on the path)"

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo "open site/index.html"

lint: install
	$(BIN)/ruff check --no-cache .
	$(BIN)/mypy

# Two processes of one thread each: half the time of one with two.
check: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m 'not slow and not gpu and not peers and not real'

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile -m 'not gpu and not peers'

test-peers: $(PEERS)/.installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/pytest -n 2 --dist loadfile -m 'peers and not slow'

# Every public network with inserted attention, every position: a quarter of an hour.
test-peers-all: $(PEERS)/.installed
	OMP_NUM_THREADS=1 $(PEERS)/bin/pytest -n 2 --dist loadfile -m peers

clean:
	rm -rf $(VENV) $(PEERS) demo site
