# Sallyport's targets. `make help` lists them. Everything runs on the Node that package.json pins, whatever the machine has.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
NODE := node --disable-warning=ExperimentalWarning
JEST := node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js
STAMP := node_modules/.sallyport-setup

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(STAMP) node-check ## install everything (npm packages, the pinned Node)

# `npm ci` refuses lock files whose platform packages a registry does not have; install and compare instead.
$(STAMP): package.json package-lock.json .npmrc
	npm install --no-audit --no-fund --loglevel=error
	@if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then git diff --exit-code --stat package-lock.json || { echo 'package-lock.json changed by npm install: commit it or restore it'; exit 1; }; fi
	@touch $@

node-check: $(STAMP)
	@node -e 'const [a,b]=process.versions.node.split(".").map(Number); if (a<24||(a===24&&b<9)) { console.error("Node "+process.version+" at "+process.execPath+" is too old: 24.9 or newer is needed. The npm package node@24.21.0 brings it; its install script must be allowed (allowScripts in package.json)."); process.exit(1); }'

demo: setup ## the main job end to end on real servers; KEEP=1 leaves it running
	@$(NODE) examples/demo/demo.ts $(if $(KEEP),--keep)

test: verify lint typecheck unit e2e ## everything below; what the suite needs it gets by itself

verify: setup ## generated files are current
	@$(NODE) tools/verify-generated.ts

generate: setup ## write the generated files anew
	@$(NODE) tools/generate-api.ts && $(NODE) tools/generate-docs.ts && $(NODE) tools/generate-boundaries.ts

lint: setup ## format, import boundaries, promise rules, dead code
	biome check --error-on-warnings=false .
	oxlint --type-aware --deny-warnings .
	knip

typecheck: setup ## all projects
	tsc -b --force

unit: setup ## tests without sockets
	$(JEST) --selectProjects unit

e2e: setup ## tests with real servers and clients
	$(JEST) --selectProjects e2e --maxWorkers=2

leaks: setup ## run leak cases: make leaks FILE=e2e/leaks/leak_channels.json
	@$(NODE) e2e/leaks/run-leaks.ts $(or $(FILE),e2e/leaks/leak_channels.json)

fuzz: setup ## 1,000,000 hostile frames and startup packets
	@$(NODE) e2e/fuzz/fuzz.ts $(or $(COUNT),1000000)

bench: setup ## ratios against a direct connection, paired in one run
	@$(NODE) bench/bench.ts

stats: setup ## sizes of files
	@$(NODE) tools/stats.ts

build: setup ## compile to dist/
	tsc -b

clean: ## remove what was built
	rm -rf dist coverage .demo

.PHONY: help setup node-check demo test verify generate lint typecheck unit e2e leaks fuzz bench stats build clean
