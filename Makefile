# `make` alone lists the targets. Each installs what is missing, so that Go, git and make are enough to begin with.

WEB := internal/playground/web
CLIENTS := e2e/clients
# What `make generate` writes, and what it reads. Both are committed: a build needs Go alone.
GENERATED := graph models/generated.go internal/playground/dist
SOURCES := schema.graphqls gqlgen.yml go.mod models $(WEB)
# The checksum of both when they were last found to belong together.
UP_TO_DATE := .cache/generated.sum
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help tools run check test soak generate check-generated bench lint

help:
	@sed -n 's/^## //p' Makefile

tools:
	@internal/devenv/install.sh test

## make run       start it all on :8080, with demo data (ARGS="--seed medium --addr :9090 --reset")
run:
	@internal/devenv/install.sh run
	go run . dev $(ARGS)

## make check     before each commit: format, vet, lint, generated files, and the tests that need no server and no browser
check: lint check-generated
	@go run ./cmd/test -without-servers -shuffle=on ./...

## make test      all checks and all tests, as CI runs them
test: tools $(CLIENTS)/node_modules/.package-lock.json $(WEB)/node_modules/.package-lock.json
	@$(MAKE) --no-print-directory lint check-generated
	cd deploy && go test -shuffle=on -count=1 ./...
	@go run ./cmd/test -race -shuffle=on -count=1 -vet=off -timeout 25m ./...

## make soak      before a release: the tests that inject faults for minutes
soak: tools
	@go run ./cmd/test -tags soak -run '^TestSoak_' -race -count=1 -vet=off -timeout 3h ./...

## make generate  write graph/, models/generated.go and the built playground again, from the schema and from npm packages
generate: tools $(WEB)/node_modules/.package-lock.json
	go tool gqlgen generate
	cd $(WEB) && npm run build

# npm leaves this file behind when it has installed everything.
%/node_modules/.package-lock.json: %/package-lock.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@

# The files are compared with those of a moment ago, not with a commit, so that it also tells before one. Nothing is
# generated while the files are those of the last success.
checksum = find $(SOURCES) $(GENERATED) -type f -not -path '*/node_modules/*' | sort | xargs cksum
check-generated:
	@before=$$($(checksum)) && \
	if [ "$$before" = "$$(cat $(UP_TO_DATE) 2>/dev/null)" ]; then exit 0; fi && \
	$(MAKE) --no-print-directory generate && \
	if [ "$$before" != "$$($(checksum))" ]; then \
		echo "Generated files were not up to date. They are now, so look at them and commit: git status $(GENERATED)" >&2; exit 1; \
	fi && \
	mkdir -p $(dir $(UP_TO_DATE)) && echo "$$before" >$(UP_TO_DATE)

## make bench     what a request costs, and what freshness costs, on the medium data (ARGS="--json")
bench:
	@internal/devenv/install.sh run
	go run ./cmd/bench $(ARGS)

## make lint      format (gofumpt), go vet, staticcheck
lint:
	@unformatted=$$(go tool gofumpt -l .) && if [ -n "$$unformatted" ]; then \
		echo "Not formatted; run: go tool gofumpt -w ." >&2; echo "$$unformatted" >&2; exit 1; fi
	go vet ./...
	cd deploy && go vet ./...
	go tool staticcheck ./...
