# `make` or `make help` lists what there is. run, test, bench and invoke need Go
# and nothing else; what needs Python sets up .venv by itself, once.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STAGE ?= dev
ARCH ?= arm64
TARGET_OS ?= linux
BUILD_DIR ?= .aws-sam/build
VENV ?= .venv
EMULATOR ?= .emulator
PYTHON ?= python3
TOOL := go tool -modfile=.ci/tools/go.mod
SAM := SAM_CLI_TELEMETRY=0 $(VENV)/bin/sam
# What AWS calls a processor that Go calls amd64.
processor = $(if $(filter amd64,$(1)),x86_64,$(1))
require-event = @test -n "$(FN)" -a -n "$(EVENT)" || { echo "say which function and event, for example FN=contact-find EVENT=events/contact-find/found-by-phone.json" >&2; exit 2; }
define require-python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or later is needed" >&2; exit 1; }
@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is needed: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }
endef
# The logical id of the function contact-find is ContactFind.
logical-id = $(shell awk -F - '{for (i = 1; i <= NF; i++) printf "%s%s", toupper(substr($$i, 1, 1)), substr($$i, 2)}' <<<"$(1)")
require-docker = @docker version >/dev/null 2>&1 || { echo "sam local starts functions in Docker, and no Docker answers here: start it, or take make run and make invoke, which need none." >&2; exit 1; }
BENCHMARKS = $(shell grep -rl '^func Benchmark' --include='*_test.go' local shared | xargs -n1 dirname | sort -u | sed 's|^|./|')
# Packages with tests that speak to AWS: they ask for the emulator.
AWS_TESTS = $(shell grep -rlE 'contract.Emulator|SITOO_RULE_AWS' --include='*_test.go' local shared | xargs -n1 dirname | sort -u | sed 's|^|./|')
HOST_ARCH = $(shell go env GOHOSTARCH)
HOST_OS = $(shell go env GOHOSTOS)
HOST_BUILD := .aws-sam/host
DOCKER_BUILD := .aws-sam/docker
INVOKE_BUILD := .aws-sam/invoke
export VENV EMULATOR

.PHONY: help
help: ## List every target
	@awk -F ' *## ' '/^## /{printf "\n%s\n", substr($$0, 4)} /^[a-z-]+:.*## /{split($$1, t, ":"); printf "  %-14s %s\n", t[1], $$2}' $(firstword $(MAKEFILE_LIST))

## Every day

.PHONY: run
run: ## Start everything on this machine: API :3000, Rule :3001, Sitoo :3002 (AWS=1: real adapters, see README)
	@go run ./local/run

.PHONY: test
test: ## Run the tests with the race detector; without it, the README's sessions and a simulated shop of 50,000 orders; or of one package: make test PKG=./shared/bonus
	go test -race -parallel 8 -timeout 30m $(or $(PKG),./...)
	$(if $(PKG),,go test -timeout 30m ./local/run ./local/simulation)

# What it leaves out takes minutes of computing: whole backfills in virtual time
# and the documentation's sessions. No test is left out for being short of time.
.PHONY: test-fast
test-fast: ## Run the tests for the inner loop: no race detector, no simulation, no sessions of the README
	go test -skip '^TestReadme$$' $$(go list ./... | grep -v /local/simulation$$)

# FIRST, SEEDS and ORDERS reach it in the environment.
.PHONY: simulate
simulate: ## Play whole backfills with all that can go wrong, and audit them: make simulate SEEDS=100 ORDERS=5000 [FIRST=1]
	@go test ./local/simulation -run '^TestFaults$$' -count=1 -timeout 10h -v | grep -v '^=== '

.PHONY: fmt
fmt: ## Format the Go code
	$(TOOL) gofumpt -w functions shared local

.PHONY: lint
lint: $(VENV)/.installed ## Check formatting, vet, staticcheck and the template
	@unformatted=$$($(TOOL) gofumpt -l functions shared local); \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:" $$unformatted >&2; exit 1; fi
	go vet ./...
	$(TOOL) staticcheck ./...
	$(VENV)/bin/cfn-lint template.yaml
	$(SAM) validate --lint
	$(VENV)/bin/python .ci/transformed

.PHONY: invoke
invoke: ## Start one function with one event, by hand: make invoke FN=contact-find EVENT=events/contact-find/found-by-phone.json
	$(require-event)
	@go run ./local/invoke -fn "$(FN)" -event "$(EVENT)"

# FILE, URL, KEY, PART and COUNTRY reach it in the environment, where make puts
# its arguments: a key is on no other command line then.
.PHONY: import
import: ## Send a file of bonus checks of any size: make import FILE=bonuschecks.csv URL=https://.../sitoo KEY=<Rule API key>
	@go run ./local/importer

# URL and KEY reach it in the environment, too.
.PHONY: check-setup
check-setup: ## Try a shop's whole set-up, leaving nothing behind: make check-setup URL=https://.../sitoo KEY=<Rule API key>
	@go run ./local/setupcheck

.PHONY: backfill
backfill: ## Bring old orders over: make backfill FROM=2024-01-01 TO=2024-12-31 [ACCOUNT= LABEL= ORDERS= DRYRUN= CUSTOMERS= URL= KEY=] (AWS=1 QUEUE_URL=)
	@go run ./local/backfill

# SITOO, KEYID and TABLE reach it in the environment, and AWS credentials as for
# the AWS command line.
.PHONY: release-shop
release-shop: ## Put out the account in Rule that has a Sitoo account's shops, with AWS credentials: make release-shop SITOO=90001 [TABLE=]
	@go run ./local/operator release-shop

.PHONY: restore-key
restore-key: ## Take back that a shop dropped an API key, with AWS credentials: make restore-key KEYID=<keyid> [TABLE=]
	@go run ./local/operator restore-key

## What is deployed

.PHONY: build
build: $(VENV)/.installed ## Build the functions as deployed (ARCH=arm64 or amd64) into .aws-sam/build
	@case "$(ARCH)" in arm64|amd64) ;; *) echo "ARCH is arm64 or amd64, not $(ARCH)" >&2; exit 1;; esac
	ARCH=$(ARCH) TARGET_OS=$(TARGET_OS) $(SAM) build --build-dir $(BUILD_DIR) --parameter-overrides Architecture=$(call processor,$(ARCH))

# What `sam build` calls, once for each function, with ARTIFACTS_DIR set. The
# logical id ContactFind is the folder functions/contact-find. The flags give
# the same bytes for the same source, whatever the commit or the machine.
build-%:
	CGO_ENABLED=0 GOOS=$(TARGET_OS) GOARCH=$(ARCH) go build -trimpath -buildvcs=false -tags lambda.norpc -ldflags '-s -w -buildid=' \
		-o "$(ARTIFACTS_DIR)/bootstrap" ./functions/$$(sed 's/\([a-z0-9]\)\([A-Z]\)/\1-\2/g' <<<'$*' | tr '[:upper:]' '[:lower:]')

.PHONY: host-build
host-build:
	$(MAKE) build ARCH=$(HOST_ARCH) TARGET_OS=$(HOST_OS) BUILD_DIR=$(HOST_BUILD)

.PHONY: smoke
smoke: host-build $(EMULATOR)/.installed ## Build for this machine and feed every event in events/ to the built functions
	.ci/with-emulator go run ./local/smoke -build $(HOST_BUILD)

.PHONY: test-aws
test-aws: $(EMULATOR)/.installed ## Run the tests that speak to AWS against an emulator
	SITOO_RULE_AWS=1 .ci/with-emulator go test -race -timeout 30m $(AWS_TESTS)

# PARAMETERS, PORT, RULE_PORT, SITOO_PORT, RULE_KEY and RULE_SEED reach it in the
# environment.
.PHONY: deploy-local
deploy-local: host-build $(EMULATOR)/.installed ## Deploy the real template into an emulator here, beside the stand-ins: make deploy-local [PARAMETERS="Country=NO"]
	@EMULATOR_LOG=.aws-sam/emulator.log EMULATOR_PORT=$${EMULATOR_PORT:-4566} .ci/with-emulator go run ./local/deploy -build $(HOST_BUILD)

.PHONY: test-deployed
test-deployed: host-build $(EMULATOR)/.installed ## Deploy the real template into an emulator, and play the README's sessions there
	SITOO_RULE_DEPLOYED=1 .ci/with-emulator go test ./local/deploy -count=1 -timeout 30m

.PHONY: deploy
deploy: ## Build and deploy (STAGE=dev or prod; prod asks who is mailed, or ALARM_EMAIL=); needs AWS credentials
	@case "$(STAGE)" in dev|prod) ;; *) echo "STAGE is dev or prod, not $(STAGE)" >&2; exit 1;; esac
	$(MAKE) build ARCH=arm64 TARGET_OS=linux BUILD_DIR=.aws-sam/build
	@config=samconfig.toml; if [ "$(STAGE)" = prod ]; then config=$$(.ci/alarm-email); fi; \
	$(SAM) deploy --config-file "$$PWD/$$config" --config-env $(STAGE)

## With Docker

.PHONY: sam-build
sam-build: $(VENV)/.installed
	$(MAKE) build ARCH=$(HOST_ARCH) TARGET_OS=linux BUILD_DIR=$(DOCKER_BUILD)

# PORT, RULE_PORT, SITOO_PORT, RULE_KEY and so on reach it in the environment.
.PHONY: sam-api
sam-api: ## Serve the built functions with sam local in Docker, beside the stand-ins, as make run does (PORT=3000)
	$(require-docker)
	@$(MAKE) --no-print-directory sam-build $(EMULATOR)/.installed
	@go build -o .aws-sam/run-in-docker ./local/run
	@SAM=$(VENV)/bin/sam SAM_BUILD=$(DOCKER_BUILD) .ci/with-emulator .aws-sam/run-in-docker

# One function is built, into a folder of its own: sam build empties the folder.
.PHONY: sam-invoke
sam-invoke: ## Start one built function with sam local in Docker: make sam-invoke FN=contact-find EVENT=events/contact-find/found-by-phone.json
	$(require-event)
	@test -f "functions/$(FN)/main.go" || { echo "there is no function $(FN), only" $$(ls functions) >&2; exit 2; }
	@test -f "$(EVENT)" || { echo "there is no event $(EVENT)" >&2; exit 2; }
	$(require-docker)
	@$(MAKE) --no-print-directory $(VENV)/.installed $(EMULATOR)/.installed
	@mkdir -p .aws-sam
	@ARCH=$(HOST_ARCH) TARGET_OS=linux $(SAM) build $(call logical-id,$(FN)) --build-dir $(INVOKE_BUILD) --parameter-overrides Architecture=$(call processor,$(HOST_ARCH)) >$(INVOKE_BUILD).log 2>&1 || { cat $(INVOKE_BUILD).log >&2; exit 1; }
	@go build -o .aws-sam/invoke-in-docker ./local/invoke
	@.ci/with-emulator .aws-sam/invoke-in-docker -sam $(VENV)/bin/sam -build $(INVOKE_BUILD) -fn "$(FN)" -event "$(EVENT)"

.PHONY: test-sam-local
test-sam-local: ## With sam local: the README's sessions, every event in events/, and make sam-invoke; .ci/with-docker brings Docker if need be
	$(require-docker)
	@$(MAKE) --no-print-directory sam-build $(EMULATOR)/.installed
	.ci/with-emulator go run ./local/smoke -build $(DOCKER_BUILD) -sam $(VENV)/bin/sam
	SITOO_RULE_SAM=$(CURDIR)/$(VENV)/bin/sam SAM_BUILD=$(CURDIR)/$(DOCKER_BUILD) .ci/with-emulator go test -count=1 ./local/run ./local/samlocal -run 'InDocker$$'

## Speed and fuzzing

.PHONY: bench
bench: ## Measure: requests to Rule, overhead, sizes, start times, orders a second
	go test -run '^$$' -bench . $(BENCHMARKS)

.PHONY: bench-short
bench-short: ## Run every benchmark once, so that none rots
	SHORT=1 go test -run '^$$' -bench . -benchtime 1x $(BENCHMARKS)

.PHONY: fuzz-short
fuzz-short: ## Feed every fuzz test some thousand new inputs
	.ci/fuzz

## Housekeeping

.PHONY: venv
venv: $(VENV)/.installed ## Set up .venv with the Python tools (sam, cfn-lint)

$(VENV)/.installed: .ci/requirements.txt
	$(require-python)
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement .ci/requirements.txt
	@touch $@

.PHONY: emulator
emulator: $(EMULATOR)/.installed ## Set up .emulator with the AWS emulator (MiniStack)

$(EMULATOR)/.installed: .ci/emulator.txt
	$(require-python)
	$(PYTHON) -m venv $(EMULATOR)
	$(EMULATOR)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement .ci/emulator.txt
	@touch $@

.PHONY: clean
clean: ## Remove what was built, .venv and .emulator
	rm -rf .aws-sam .build $(VENV) $(EMULATOR)
