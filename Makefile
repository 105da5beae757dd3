# What a person does with this project. A fresh machine needs Python 3.11, git and make: the rest is brought in once.
#   make demo    shows the worker at work          make test    runs all tests against a real Apache Kafka

PYTHON ?= python3
VENV := $(or $(UV_PROJECT_ENVIRONMENT),.venv)
BIN := $(VENV)/bin
ARGS ?=

# Modules without I/O, clock or randomness: every branch of them is covered by the unit tests.
PURE := offsets scheduler retry as_of privacy limiter sharing completed buffer codec deadletter audit replay avroschema reader sizing redrive
PURE_FILES := $(wildcard $(PURE:%=enricher/%.py) $(PURE:%=enricher/%/*.py))
comma := ,
empty :=
space := $(empty) $(empty)

.DEFAULT_GOAL := help
.PHONY: help demo test unit integration chaos coverage check lint types fmt lock bench politeness endurance scraping long-replay bench-compare wheel image image-test \
  compose-test chart monitoring-test chart-files \
  audit sbom clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'

# The stamps make a second run start at once. `demo` needs only what the worker runs on; `--inexact` leaves in place
# what a developer has installed besides.
$(VENV)/.runtime: pyproject.toml uv.lock scripts/bootstrap.py
	@$(PYTHON) scripts/bootstrap.py sync --no-dev --inexact
	@touch $@

$(VENV)/.dev: pyproject.toml uv.lock scripts/bootstrap.py
	@$(PYTHON) scripts/bootstrap.py sync
	@touch $(VENV)/.runtime $@

demo: $(VENV)/.runtime ## run the demo: events in, enriched events out, nothing else needed
	@$(BIN)/enricher demo $(ARGS)

test: $(VENV)/.dev ## run all tests; TEST_KAFKA=container|jvm|auto, ARGS=... for pytest
	@$(BIN)/python -m pytest $(ARGS)

unit: $(VENV)/.dev ## run the tests that need neither Kafka nor Java
	@$(BIN)/python -m pytest -m 'not kafka and not java' $(ARGS)

integration: $(VENV)/.dev ## run the tests that need Kafka or Java
	@$(BIN)/python -m pytest -m 'kafka or java' $(ARGS)

chaos: $(VENV)/.dev ## workers on a real Kafka while all else fails; MINUTES=30 SEED=7, or ARGS="--seeds 1-25 --jobs 2"
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)

coverage: $(VENV)/.dev ## hold the pure core to 100 % of its branches, by the tests that need no Kafka
	@rm -f .coverage .coverage.*
	@$(BIN)/coverage run -m pytest -q -m 'not kafka and not java' $(ARGS)
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report --show-missing --skip-covered --fail-under=100 \
	  --include='$(subst $(space),$(comma),$(strip $(PURE_FILES)))'

check: lint types ## lint, types and the direction of imports

lint: $(VENV)/.dev ## ruff, spelling, imports, YAML, Dockerfile
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/lint-imports
	@$(BIN)/yamllint --strict .
	@$(BIN)/hadolint Dockerfile

types: $(VENV)/.dev ## mypy, strict, over code and tests
	@$(BIN)/mypy
	@$(BIN)/mypy scripts

fmt: $(VENV)/.dev ## format, and repair what ruff can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## write uv.lock anew after a change of dependencies
	@$$($(PYTHON) scripts/bootstrap.py uv) lock

bench: $(VENV)/.dev ## measure the worker on a real Kafka beside programs that do the same job; ARGS="--rounds 5"
	@$(BIN)/python -m bench $(ARGS)

bench-compare: $(VENV)/.dev ## measure the worker beside that of another git revision: BASE=main, ARGS="--rounds 5"
	@$(BIN)/python -m bench --base $(or $(BASE),$(error say which revision: make bench-compare BASE=main)) $(ARGS)

politeness: $(VENV)/.dev ## measure what the limiter does to a service that bears only so much
	@$(BIN)/python -m bench.politeness $(ARGS)

endurance: $(VENV)/.dev ## look at the worker's memory at full load for ten minutes
	@$(BIN)/python -m bench.endurance $(ARGS)

long-replay: $(VENV)/.dev ## kill a replay of 1,000,000 events ten times, resume it, verify it; ARGS="--events 100000"
	@$(BIN)/python -m bench.long_replay $(ARGS)

scraping: $(VENV)/.dev ## measure what metrics cost the worker, and how long a scrape takes under full load
	@$(BIN)/python -m bench.scraping $(ARGS)

wheel: $(VENV)/.dev ## build the wheel and try it in a clean environment
	@$(BIN)/python scripts/wheel_test.py "$$($(PYTHON) scripts/bootstrap.py uv)"

image: ## build the container image; PYTHON_IMAGE names another base
	@docker build $(if $(PYTHON_IMAGE),--build-arg PYTHON_IMAGE=$(PYTHON_IMAGE)) -t enricher:dev \
	  --build-arg VERSION="$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' enricher/__init__.py)" \
	  --build-arg REVISION="$$(git rev-parse HEAD 2>/dev/null || echo unknown)" .

image-test: $(VENV)/.dev ## run the image under the chart's security context, against Kafka in a container; ARGS=--twice
	@$(BIN)/python -m scripts.image_test $(ARGS)

compose-test: $(VENV)/.dev ## bring docker-compose.yml up, wait for enriched events, take it down
	@$(BIN)/python -m scripts.compose_test

chart: $(VENV)/.dev ## check the Helm chart, the alerts and their tests (helm, helm-unittest, helm-docs, kube-score, promtool)
	@$(BIN)/python -m scripts.chart_check

monitoring-test: $(VENV)/.dev ## have a real Prometheus evaluate all alerts and panels on a running worker
	@$(BIN)/python -m scripts.monitoring_check

chart-files: $(VENV)/.dev ## write the chart's generated files anew: schema, dashboard, README (which needs helm-docs)
	@$(BIN)/python -m scripts.chart_files
	@if command -v helm-docs >/dev/null; then helm-docs --chart-search-root helm --log-level error; \
	  else echo "helm-docs is not on the PATH: helm/enricher/README.md stays as it is" >&2; fi

audit: $(VENV)/.dev ## ask for known vulnerabilities of the image's packages (needs the network; AUDIT_SERVICE=pypi|osv)
	@$(BIN)/python -m scripts.audit

sbom: $(VENV)/.dev ## write dist/sbom.cdx.json (CycloneDX): what the image's Python environment is made of
	@$(BIN)/python -m scripts.sbom

clean: ## remove caches and build results; the environment stays
	@rm -rf dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	@find enricher tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
