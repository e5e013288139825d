# `make` says what there is.
.DEFAULT_GOAL := help
.PHONY: help setup root lab test test-systems test-vagrant bench lint unit infra down clean lock audit

bin := .venv/bin
INVENTORY = inventory/lab
playbook = $(bin)/ansible-playbook -i $(INVENTORY)
keep := $(if $(filter-out 0 no false,$(KEEP_ROOTFS)),-e lab_keep_rootfs=true)

help: ## Say what there is
	@printf 'copytool: mirror live TCP sessions onto a test copy of a service\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile
	@printf '\nStart with "make lab": it needs Debian 12 or later, root (or sudo) and about 2 GB, and takes a few minutes once.\n'
	@printf 'lab, infra and down with INVENTORY=inventory/lab-2x2x2: the lab with two hosts of each kind (docs/scaling.md).\n'

setup: ## Make .venv with all that is needed (done by the others when it is needed)
	@scripts/setup

root:
	@[ "$$(id -u)" -eq 0 ] || command -v sudo >/dev/null || \
	    { echo 'neither root nor sudo: run as root, or install sudo and let your user run all with it' >&2; exit 1; }

lab: root setup ## Make the lab, start the mirror and check that sessions arrive
	@$(playbook) site.yml

test: root ## Set everything up and run every check and test
	@scripts/test

test-systems: root ## Run what needs other systems: unit tests under each Python, a lab of two releases, the image
	@scripts/test-systems

test-vagrant: root ## Test the lab of virtual machines, docs/vagrant.md (20 minutes or more; 3: it cannot be tested here)
	@scripts/test-vagrant

bench: root setup ## Measure copytool beside tcpcopy and goreplay (BENCH='--quick', TCPCOPY_DIR=, INTERCEPT_DIR=, GOREPLAY=)
	@scripts/bench $(BENCH)

lint: setup ## Check style, types, playbooks and roles
	@scripts/lint

unit: setup ## Run the tests that need neither root nor the lab
	@$(bin)/pytest tests/unit

infra: setup ## Check the lab that runs: routes, daemons, mirrored sessions
	@COPYTOOL_INVENTORY=$(or $(COPYTOOL_INVENTORY),$(INVENTORY)) $(bin)/pytest tests/infra

down: root setup ## Remove every trace of the lab (KEEP_ROOTFS=1 keeps the root file system for next time)
	@$(playbook) playbooks/teardown.yml $(keep)

clean: ## Remove what was built in this directory; the lab must be down
	@labs=$$(echo $$(ls -d .lab .lab-* 2>/dev/null)); [ -z "$$labs" ] || \
	    { echo "There is still a lab, see $$labs: run \"make down\" first, with INVENTORY=inventory/lab-2x2x2 for that one." >&2; exit 1; }
	@[ ! -e .build/servers ] || [ -w .build/servers ] || sudo -n scripts/servers-rootfs --remove
	@[ ! -e .build/servers ] || scripts/servers-rootfs --remove
	@for made in .build/pythons .build/image; do [ ! -e $$made ] || [ -w $$made ] || sudo -n rm -rf --one-file-system $$made; done
	rm -rf .venv .build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .ansible
	find copytool \( -name '*.so' -o -name '*.c' \) -delete
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock: setup ## Renew the locks requirements-*.txt from their .in
	@for name in requirements-dev requirements-audit; do \
	    $(bin)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras \
	        --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --output-file=$$name.txt $$name.in || exit; \
	done

audit: setup ## Look the locked packages up in a public list of known vulnerabilities (3: none can be reached)
	@scripts/audit
