# Everything CI runs, and each step alone. "make check" runs them all.
#
# The modules of go.work are reached by the package pattern "work". Four modules
# stand outside it, so that what they need never enters a user's dependency
# graph: examples/bench, examples/langchain and .ci/tools, which are checked on
# their own, and .ci/proto, which has tools and no code.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
unexport GOWORK

# A program with the race detector waits a second before it exits, and the tests start
# many.
export GORACE ?= atexit_sleep_ms=0

outside := examples/bench examples/langchain .ci/tools

# Tools are built once for each version of Go, at the versions that
# .ci/tools/go.mod pins.
bin := bin/$(shell go env GOVERSION)
pins := .ci/tools/go.mod .ci/tools/go.sum

# The tools for .proto files have a module of their own: buf brings much along.
proto := $(addprefix $(bin)/,buf protoc-gen-go protoc-gen-go-grpc)

# What "make check" runs: cheap steps first, the verdict of go test last.
steps := fmt vet cross imports generated fix lint modules binaries race test

# Runs $(1) in each module that stands outside the workspace.
define each_outside
for dir in $(outside); do if [[ -f $$dir/go.mod ]]; then (cd "$$dir" && export GOWORK=off && $(1)); fi; done
endef

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' Makefile

.PHONY: check
check: ## run everything CI runs, one line for each step
	@.ci/check $(steps)

.PHONY: fmt
fmt: ## fail on files that gofmt would change
	@files=$$(gofmt -l .); if [[ -n $$files ]]; then \
		printf 'gofmt -w would change:\n%s\n' "$$files" >&2; exit 1; fi

.PHONY: vet
vet: ## go vet
	go vet work
	@$(call each_outside,go vet ./...)

.PHONY: cross
cross: ## fail where what is written for a system would not compile on Windows, macOS or FreeBSD
	@GOWORK=off go run -C .ci/tools ./cross -root "$(CURDIR)" \
		./mcp/... ./sdk/... ./plugins/auth/... ./plugins/transport/...

.PHONY: fix
fix: ## fail where go fix has a more modern way to write the code
	go fix -diff work
	@$(call each_outside,go fix -diff ./...)

.PHONY: imports
imports: ## fail on imports against the direction that .ci/tools/imports lists
	@GOWORK=off go run -C .ci/tools ./imports -root "$(CURDIR)"

.PHONY: generate
generate: $(proto) ## write generated files and the snippets in Markdown
	@.ci/proto/generate "$(CURDIR)/$(bin)"
	@GOWORK=off go run -C .ci/tools ./configdoc -root "$(CURDIR)"
	@GOWORK=off go run -C .ci/tools ./snippets -root "$(CURDIR)"
	@go run ./plugins/metrics/internal/metricsdoc -root "$(CURDIR)"

.PHONY: generated
generated: $(proto) ## fail if "make generate" would change a file
	@.ci/proto/generate "$(CURDIR)/$(bin)" -check
	@GOWORK=off go run -C .ci/tools ./configdoc -root "$(CURDIR)" -check
	@GOWORK=off go run -C .ci/tools ./snippets -root "$(CURDIR)" -check
	@go run ./plugins/metrics/internal/metricsdoc -root "$(CURDIR)" -check

.PHONY: staticcheck
staticcheck: $(bin)/staticcheck ## staticcheck alone; lint has its checks too
	$(bin)/staticcheck work
	@tool="$(CURDIR)/$(bin)/staticcheck"; $(call each_outside,"$$tool" ./...)

.PHONY: lint
lint: $(bin)/golangci-lint ## golangci-lint, as .golangci.yml says
	@.ci/lint "$(CURDIR)/$(bin)/golangci-lint" $(outside)

.PHONY: modules
modules: ## build, vet and tidy each module without the workspace
	@.ci/modules check $(outside)

.PHONY: tidy
tidy: ## go mod tidy in each module
	@.ci/modules tidy $(outside)

.PHONY: test
test: ## every test, with the race detector
	@$(call each_outside,go test ./...)
	go test -race work

.PHONY: race
race: ## the tests of races (ConcurrentSafe in their name), many times
	@go test -race -run ConcurrentSafe -count 3 \
		$$(grep -rl --include='*_test.go' --exclude-dir=bin 'ConcurrentSafe(' . | xargs -n 1 dirname | sort -u)

.PHONY: bench
bench: ## measure core beside other pools, and sessions beside the SDK used directly
	GOWORK=off go run -C examples/bench . -suite core
	GOWORK=off go run -C examples/bench . -suite mcp

.PHONY: plugins
plugins: ## build the plugin binaries into bin/plugins, with checksums and a manifest
	@.ci/plugins bin/plugins

# One of each kind that shares nearly all it is made of with the others: on a machine that
# has built none, all of them take half as long again. "make binaries released=" takes all.
released ?= auth/bearer probe/toolcall transport/ssh

.PHONY: binaries
binaries: ## fail if plugin binaries depend on their folder, or are not what their manifest says
	@.ci/binaries $(released)

.PHONY: cover
cover: ## test coverage, in total and as bin/cover.html
	@mkdir -p bin
	go test -coverprofile bin/cover.out work
	go tool cover -html bin/cover.out -o bin/cover.html
	go tool cover -func bin/cover.out | tail -n 1

.PHONY: tools
tools: $(bin)/staticcheck $(bin)/golangci-lint $(bin)/benchstat ## build the pinned tools

.PHONY: clean
clean: ## remove what was built here
	rm -rf bin

$(bin)/golangci-lint: tool = github.com/golangci/golangci-lint/v2/cmd/golangci-lint
$(bin)/staticcheck: tool = honnef.co/go/tools/cmd/staticcheck
$(bin)/benchstat: tool = golang.org/x/perf/cmd/benchstat
$(bin)/golangci-lint $(bin)/staticcheck $(bin)/benchstat: $(pins)
	GOWORK=off go build -C .ci/tools -o "$(CURDIR)/$@" $(tool)
	@touch $@

$(bin)/buf: tool = github.com/bufbuild/buf/cmd/buf
$(bin)/protoc-gen-go: tool = google.golang.org/protobuf/cmd/protoc-gen-go
$(bin)/protoc-gen-go-grpc: tool = google.golang.org/grpc/cmd/protoc-gen-go-grpc
$(proto): .ci/proto/go.mod .ci/proto/go.sum
	GOWORK=off go build -C .ci/proto -o "$(CURDIR)/$@" $(tool)
	@touch $@
