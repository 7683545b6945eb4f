# Sallyport's targets; `make help` lists them. Everything runs on the Node that package.json pins, whatever the machine has.
SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
NODE := node --disable-warning=ExperimentalWarning
JEST := node --experimental-vm-modules --disable-warning=ExperimentalWarning node_modules/jest/bin/jest.js
STAMP := node_modules/.sallyport-setup

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## /\1\t/' | awk -F'\t' '{printf "  %-12s %s\n", $$1, $$2}'

setup: $(STAMP) ## install everything (npm packages, the pinned Node)

# `npm ci` refuses lock files whose platform packages a registry does not have, and older npms rewrite what newer ones wrote: so install, and save nothing.
# The pinned Node arrives by an install script, so an installation made while scripts were blocked is completed by `npm rebuild`.
# The native parts of ssh2 are compiled where there is a compiler; elsewhere SSH stays off, and says so.
$(STAMP): package.json package-lock.json .npmrc $(wildcard tools/native/*)
	@echo 'npm install'; before=$$(cksum package-lock.json); \
	npm install --no-save --no-audit --no-fund --loglevel=error && \
	{ [ -x node_modules/.bin/node ] || npm rebuild --loglevel=error >/dev/null || true; } && \
	{ [ "$$before" = "$$(cksum package-lock.json)" ] || { echo 'npm install changed package-lock.json: restore it'; exit 1; }; }
	@if node tools/node-check.mjs 2>/dev/null; then $(NODE) tools/native/build-native.ts; fi
	@touch $@

# A failed check removes the stamp, so that `make setup` tries again once the cause is gone.
node-check: setup ## is this the Node that the project needs?
	@node tools/node-check.mjs || { rm -f $(STAMP); exit 1; }

demo: node-check ## the main job end to end on real servers; KEEP=1 leaves it running
	@$(NODE) examples/demo/demo.ts $(if $(KEEP),--keep)

demo-cluster: build ## the main job on a real cluster: your kubeconfig's (asks first, or YES=1; IMAGE=registry/sallyport:tag), else a node of our own; KEEP=1 leaves it running
	@$(NODE) examples/demo-cluster/demo.ts $(if $(KEEP),--keep)

# All suites run even when one fails, so that one run tells everything.
test: verify lint typecheck ## verify, lint, typecheck, unit, coverage, e2e, cluster; what the suites need they get by themselves
	@status=0; for suite in unit coverage e2e cluster; do $(MAKE) --no-print-directory $$suite || status=1; done; exit $$status

verify: node-check ## generated files are current
	@$(NODE) tools/verify-generated.ts

generate: node-check ## write the generated files anew
	@$(NODE) tools/generate-api.ts && $(NODE) tools/generate-docs.ts && $(NODE) tools/generate-helm.ts && $(NODE) tools/generate-boundaries.ts

lint: node-check ## import boundaries, house rules, promise rules, dead code
	biome lint --max-diagnostics=200 .
	oxlint --type-aware .
	knip

typecheck: node-check ## all projects, tests included
	tsc -b --force

unit: node-check ## tests without sockets; ONLY=path for some of them
	$(JEST) --selectProjects unit $(if $(ONLY),-- $(ONLY))

coverage: node-check ## does every line of sidecar/core and operator/render run in the unit tests?
	@$(NODE) tools/coverage.ts

# dist/ is built first: some scenarios run the compiled programs.
e2e: build ## tests with real servers and clients; ONLY=path for some of them
	@$(NODE) tools/e2e-assets.ts
	$(JEST) --selectProjects e2e --maxWorkers=2 $(if $(ONLY),-- $(ONLY))

cluster: build ## scenarios on a real Kubernetes node, with the chart installed on it; ONLY=path for some of them
	@$(NODE) tools/e2e-assets.ts
	$(JEST) --selectProjects cluster --runInBand $(if $(ONLY),-- $(ONLY))

node: build ## a Kubernetes node with the chart installed, until Ctrl-C; prints how to use it; BARE=1 without the chart
	@$(NODE) tools/e2e-assets.ts && $(NODE) e2e/cluster/keep-node.ts $(if $(BARE),--bare)

leaks: node-check ## run leak cases: make leaks FILE=e2e/leaks/leak_channels.json
	@$(NODE) e2e/leaks/run-leaks.ts $(or $(FILE),e2e/leaks/leak_channels.json)

shell-cases: node-check ## verdicts of inspection for shell texts: make shell-cases FILE=sidecar/core/shell/testdata/ssh_cases.json
	@$(NODE) tools/shell-cases.ts $(FILE)

usefulness: node-check ## everyday statements on a schema with masked columns, directly and through the gateway: make usefulness FILE=corpus.sql VERBOSE=1
	@$(NODE) e2e/usefulness/run-usefulness.ts $(FILE) $(if $(VERBOSE),--verbose)

shell-fuzz: node-check ## COUNT=5000 random command lines: what real shells start is what inspection lists, repeatable with SEED
	@$(NODE) e2e/fuzz/shell.ts $(or $(COUNT),5000) $(SEED)

fuzz: node-check ## COUNT=1000000 hostile frames and startup packets, repeatable with SEED
	@$(NODE) e2e/fuzz/fuzz.ts $(or $(COUNT),1000000) $(SEED)

model: node-check ## COUNT=2000 random message sequences answered as the server answers them
	@$(NODE) e2e/fuzz/model.ts $(or $(COUNT),2000) $(SEED)

kills: node-check ## COUNT=200 times SIGKILL during pgbench: no forwarded statement without its record
	@$(NODE) e2e/kills/run-kills.ts $(or $(COUNT),200)

bench: node-check ## ratios against a direct connection, paired in one run: PostgreSQL, then SSH
	@$(NODE) bench/bench.ts && $(NODE) bench/ssh.ts

bench-operator: node-check ## the operator on a real control plane: 1,000 Targets, 10,000 sessions, idle writes; SCALE_NAMESPACES, SCALE_SESSIONS, SCALE_IDLE narrow it
	@$(NODE) bench/operator-scale.ts

stats: node-check ## sizes of files
	@$(NODE) tools/stats.ts

build: node-check ## compile to dist/
	tsc -b

manifests: node-check ## IMAGE=repository@sha256:...: install.yaml and crds.yaml from the charts, for kubectl apply, into dist/manifests
	@$(NODE) tools/render-manifests.ts $(IMAGE)

image: build ## the container image, with docker, podman or buildah: NAME=localhost/sallyport:TAG, ARCHIVE=file writes it there too
	@$(NODE) tools/image/build-image.ts $(if $(NAME),--name $(NAME)) $(if $(ARCHIVE),--archive $(ARCHIVE))

clean: node-check ## remove what was built
	rm -rf dist coverage .demo

.PHONY: help setup node-check demo demo-cluster test verify generate lint typecheck unit coverage e2e cluster node leaks shell-cases shell-fuzz fuzz model kills bench bench-operator stats build manifests clean
