# The daily commands. `make help` lists them.

PYTHON ?= python3
BIN     = .venv/bin
READY   = .venv/.ready
# Half of the tests wait for a server most of the time.
JOBS   ?= 2
COMPILE = $(BIN)/uv pip compile --quiet --python-version 3.11 --universal --generate-hashes \
          --no-emit-index-url --no-header --no-annotate $(if $(UPGRADE),--upgrade)

# This machine's package index and certificates may be known to pip alone: uv does not read pip's settings.
# Hand them on, unless uv has its own. `pip config list` prints those from the environment first.
define PIP_SETTINGS_FOR_UV
settings=$$($(BIN)/pip config list 2>/dev/null || true); \
setting() { printf '%s\n' "$$settings" | sed -n "s/^[^.]*\.$$1='\([^']*\)'$$/\1/p" | head -n 1 | sed 's/\\n/ /g'; }; \
index=$$(setting index-url); extra=$$(echo $$(setting extra-index-url)); cert=$$(setting cert); links=; \
for link in $$(setting find-links); do \
  case $$link in *://*) ;; *) [ -e "$$link" ] || continue ;; esac; links="$$links$${links:+,}$$link"; \
done; \
[ -z "$$index" ] || export UV_DEFAULT_INDEX="$${UV_DEFAULT_INDEX:-$${UV_INDEX_URL:-$$index}}"; \
[ -z "$$extra" ] || export UV_INDEX="$${UV_INDEX:-$${UV_EXTRA_INDEX_URL:-$$extra}}"; \
[ -z "$$links" ] || export UV_FIND_LINKS="$${UV_FIND_LINKS:-$$links}"; \
[ -z "$$cert" ] || export SSL_CERT_FILE="$${SSL_CERT_FILE:-$$cert}"
endef

.PHONY: help demo run test soak testbed check fix bench lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## contain and release something, on a cloud that runs here: no account needed
	@$(BIN)/quarantine demo

run: $(READY)  ## start the server with config.yaml
	@[ -f config.yaml ] || { cp config.example.yaml config.yaml && echo "Wrote config.yaml, a copy of config.example.yaml: yours to edit."; }
	@$(BIN)/quarantine serve --config config.yaml

test: $(READY)  ## run the tests, two files at a time; ARGS="-k lock" picks some, JOBS=0 runs one after the other
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile $(ARGS)

soak: $(READY)  ## the long tests: every mutant, kill -9, frozen servers; SEED=1 repeats, ARGS="-k frozen" picks
	@$(BIN)/pytest -m soak -s $(ARGS)

testbed: $(READY)  ## install the real servers that some tests want (apt, root)
	@if [ -f tests/testbed/install.sh ]; then bash tests/testbed/install.sh; else echo "Nothing to install."; fi

check: $(READY)  ## lint, format, types, import rules
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

fix: $(READY)  ## repair what ruff can repair
	@$(BIN)/ruff check --fix --exit-zero
	@$(BIN)/ruff format

bench: $(READY)  ## measure; ARGS="intake" picks one
	@$(BIN)/python -m benchmarks $(ARGS)

lock: $(BIN)/uv  ## pin the requirements again; UPGRADE=1 takes newer versions
	@$(PIP_SETTINGS_FOR_UV); \
	$(COMPILE) --group bootstrap --output-file requirements/bootstrap.txt && \
	$(COMPILE) pyproject.toml --all-extras --group dev --output-file requirements/lock.txt
	@echo "Wrote requirements/bootstrap.txt and requirements/lock.txt."

clean:  ## remove the set-up, builds and caches; data and config.yaml stay
	@rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find quarantine providers tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/uv: requirements/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "Setting up .venv, once ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/bootstrap.txt
	@touch $@

$(READY): $(BIN)/uv requirements/lock.txt pyproject.toml
	@$(PIP_SETTINGS_FOR_UV); \
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --only-binary :all: requirements/lock.txt && \
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
