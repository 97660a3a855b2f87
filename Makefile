# What people type. Each target does its own set-up; nothing but Debian, python3, make and git is needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup demo down test live alone clocks playbooks hosts drill faults unit package module lint docs bench update pins bundle

VENV := .venv
BIN := $(VENV)/bin
# On a new machine this needs root once, for Debian's python3-venv.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
# Asks for the sudo password where it is needed.
BECOME := $(if $(filter 0,$(shell id -u)),,--ask-become-pass)
PLAY := $(BIN)/ansible-playbook $(BECOME)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/controller ## Ansible and what it needs, pinned, for deploying your own site; and the command dicom-worklist

demo: $(VENV)/controller ## a whole site on this machine, and a day of it
	$(PLAY) -i inventories/demo playbooks/site.yml
	@$(SUDO) /opt/dicom-worklist/current/bin/python inventories/demo/day.py

down: $(VENV)/controller ## take the demo away again, its images and bookings too
	$(PLAY) -i inventories/demo playbooks/teardown.yml -e site_teardown_data=true

bundle: $(VENV)/controller ## dist/bundle: images and wheels, for a site without internet
	$(PLAY) -i inventories/demo playbooks/bundle.yml

# What `package`, `module` and `alone` run of the package; less than fail_under in pyproject.toml fails.
test: $(VENV)/test ## every test but the long ones of make hosts, and every check, in three processes at a time
	$(PLAY) -i tests/inventory tests/prepare.yml
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --quiet $(REMOVING)
	$(MAKE) --jobs 3 --no-print-directory live alone package playbooks module lint
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# CLOCK=2026-10-25T02:30 is what the clock at the deployed site shows; no test depends on the machine's.
live: $(VENV)/test
	$(BIN)/pytest -m "not hosts" $(addprefix --clock=,$(CLOCK)) $(addprefix --ignore=,$(ALONE)) tests/integration tests/faults $(addprefix tests/deploy/test_,containers.py examples.py site.py site_teardown.py)

# What removes images runs while nobody builds others.
REMOVING := $(patsubst %,tests/module/test_%.py,container_image waiting_updates)

# What needs containers of its own and no site runs beside it.
ALONE := $(patsubst %,tests/integration/test_%.py,ae_titles backup broker_library commitment consoles delivery explorer \
    front_door_configuration front_door_limits front_door_past front_door_sign_on front_door_updates kept_connections \
    page_drawn page_live source_postgresql stored_files three_centres viewer whole) \
    $(patsubst %,tests/faults/test_%.py,delivery whole)
alone: $(VENV)/test
	$(BIN)/coverage run -m pytest $(ALONE)

clocks: $(VENV)/test ## a day at the site, played at odd hours and on odd days; half an hour
	$(PLAY) -i tests/inventory tests/prepare.yml
	$(BIN)/pytest tests/integration/test_status.py $(addprefix --clock=,$(CLOCKS))
# In Amsterdam 02:30 of 25 October is there twice, and that of 29 March not at all.
CLOCKS = 2026-11-24T02:30 2026-11-24T12:00 2026-11-24T16:30 2026-11-24T23:40 2026-03-29T02:30 2026-10-25T02:30 \
         2026-10-25T02:30+01:00 2026-12-31T23:40 2027-01-01T00:00

playbooks: $(VENV)/test
	$(BIN)/pytest --quiet tests/playbooks

hosts: $(VENV)/test ## every deployment, on this machine and on fresh ones, and a table of what was shown where; an hour and a half
	$(PLAY) -i tests/inventory tests/prepare.yml
	$(BIN)/pytest tests/deploy

drill: $(VENV)/test ## a site of IMAGES images is saved, destroyed and restored on an empty host, and every image compared
	$(PLAY) -i tests/inventory tests/prepare.yml
	DRILL_IMAGES=$(IMAGES) $(BIN)/pytest tests/deploy/test_drill.py -rP
IMAGES = 50000

faults: $(VENV)/test ## every fault, as often as docs/reliability.md says, and a table of the results; about two hours
	$(PLAY) -i tests/inventory tests/prepare.yml
	$(BIN)/pytest tests/faults tests/integration/test_backup.py --long

unit: package module
	$(BIN)/coverage run -m pytest --quiet $(REMOVING)

package: $(VENV)/test
	$(BIN)/coverage run -m pytest --quiet tests/unit

module: $(VENV)/test
	$(BIN)/coverage run -m pytest --quiet $(addprefix --ignore=,$(REMOVING)) tests/module

lint: $(VENV)/test ## every check that runs nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline
	$(BIN)/python -m tools.docs --check
	$(BIN)/python -m tools.requirements
	$(BIN)/python -m tools.words

docs: $(VENV)/test ## the generated parts of the pages, after a variable, the command or a metric changed
	$(BIN)/python -m tools.docs

bench: $(VENV)/test ## speed, against the stock things, side by side
	$(PLAY) -i tests/inventory tests/prepare.yml
	cd tests && ../$(BIN)/python -m bench

update: $(VENV)/test ## pin the newest versions of what pyproject.toml asks for, and say what changed
	$(MAKE) --no-print-directory pins PINS=--upgrade
	@git diff --unified=0 requirements | sed -n 's/^\([+-]\)\([^ ]*==[^ ]*\).*/\2 \1/p' | sort --unique \
	    | awk '{ print ($$2 == "+" ? "now   " : "before") "  " $$1 }'

# Without PINS=--upgrade only what pyproject.toml newly asks for is added.
pins: $(VENV)/test
	$(BIN)/uv pip compile $(LOCK) -o requirements/host.txt pyproject.toml
	$(BIN)/uv pip compile $(LOCK) --extra controller -c requirements/host.txt -o requirements/controller.txt pyproject.toml
	$(BIN)/uv pip compile $(LOCK) --extra test -c requirements/controller.txt -o requirements/test.txt pyproject.toml
	$(BIN)/python -m tools.requirements
LOCK = --quiet $(PINS) --excludes requirements/excludes.txt --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

$(VENV)/bin/python:
	/usr/bin/python3 -c 'import ensurepip' 2>/dev/null \
	    || { $(SUDO) apt-get update && $(SUDO) apt-get install --yes --no-install-recommends python3-venv; }
	/usr/bin/python3 -m venv $(VENV)

# The stamps are newer than what they install, so that a second run installs nothing.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-deps
$(VENV)/controller: requirements/controller.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r $<
	$(PIP) --no-build-isolation --editable .
	touch $@
$(VENV)/test: requirements/test.txt pyproject.toml | $(VENV)/bin/python
	$(PIP) --require-hashes -r $<
	$(PIP) --no-build-isolation --editable .
	touch $@ $(VENV)/controller
