# Everything a developer types. `make help` explains it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

KUBERNETES := v1.36.3
VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
NAME       ?= clipper
PEER       ?=
# One way for what is built and what is tested: both take from the same cache.
# Without grpc's tracing pages: whatever runs templates can call any method by
# its name, so the linker would keep every method there is, a fifth of the program.
GOFLAGS    := -trimpath -tags=grpcnotrace
export CGO_ENABLED = 0

kv      := k8s.io/component-base/version
kflags  := -X $(kv).gitVersion=$(KUBERNETES) -X $(kv).gitMajor=1 -X $(kv).gitMinor=36 -X $(kv).gitTreeState=clean
# What go:embed carries in counts too; what is built to be embedded has rules of its own.
go-src  := $(shell find cmd internal \( -name '*.go' -not -name '*_test.go' -o -path '*/openapi/documents/*' -o -path '*/ownership/rules.txt' \) -type f 2>/dev/null) go.mod go.sum
emb     := internal/cli/embedded
cri-emb := internal/cri/embedded

.PHONY: help up down test race fuzz build lint bench generate supervisor test-images deps test-deps clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: build ## Build, start a cluster, deploy a demo and print what it answers
	@bin/clipper start --name $(NAME)
	@bin/clipper demo --name $(NAME)

down: ## Delete the cluster that `make up` started
	@bin/clipper delete --name $(NAME)

test: build test-images | test-deps ## Run every test, those that boot real clusters included
	@go test $(GOFLAGS) -timeout 10m -p 2 ./cmd/... ./internal/...
	@CLIPPER=$(CURDIR)/bin/clipper go test $(GOFLAGS) -count=1 -timeout 10m -p 1 ./test/...

# A detector of races needs cgo. What clusters run is built with it too, beside
# the program as it is.
race: build test-images | test-deps ## Run the tests of packages and of the API, and clusters, under the race detector
	@CGO_ENABLED=1 go test -race $(GOFLAGS) -timeout 30m -p 1 ./cmd/... ./internal/... ./test/upstream
	@CGO_ENABLED=1 go build -race $(GOFLAGS) -ldflags "-X main.version=$(VERSION) -X main.kubernetes=$(KUBERNETES)" -o bin/race/clipper ./cmd/clipper
	@CGO_ENABLED=1 CLIPPER=$(CURDIR)/bin/race/clipper go test -race $(GOFLAGS) -count=1 -timeout 30m -p 1 ./test/history ./test/crash ./test/kubectl ./test/input

FUZZTIME ?= 1m
# Every target for FUZZTIME, a package's after another; what is found is kept
# beside the code, where `go test` finds it from then on. Until Go 1.27 the end of
# the time itself may count as a failure, on a busy machine (golang/go#75804).
fuzz: ## Fuzz every target for FUZZTIME (1m): decoders, selectors, patches, apply, pages
	@said=$$(mktemp); trap 'rm -f $$said' EXIT; \
	grep -rl --include='*_test.go' '^func Fuzz' cmd internal | while read -r file; do \
	  for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9]*\).*/\1/p' $$file); do \
	    echo "$$(dirname $$file) $$target"; \
	    go test $(GOFLAGS) -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) | tee $$said || \
	      grep -q '^    context deadline exceeded$$' $$said; \
	  done; \
	done

lint: ## Check formatting, go vet and the import rules
	@test -z "$$(gofmt -l cmd internal test)" || { echo "gofmt would change:"; gofmt -l cmd internal test; exit 1; }
	@go vet ./...
	@go test $(GOFLAGS) ./internal/lint

bench: build test-images ## Measure; PEER=folder runs upstream's binaries beside it
	@CLIPPER=$(CURDIR)/bin/clipper PEER=$(PEER) go run $(GOFLAGS) ./test/bench

build: bin/clipper ## Build bin/clipper, with all it carries

generate: ## Write generated files anew: the OpenAPI documents, the rules of field ownership
	@go generate ./...

# --- what clipper carries, compressed ---------------------------------------

bin/clipper: $(go-src) $(emb)/kubectl.zst $(emb)/clipper-demo.zst $(cri-emb)/clipper-supervisor.zst
	@echo "building $@"
	@go build $(GOFLAGS) -ldflags "-s -w -X main.version=$(VERSION) -X main.kubernetes=$(KUBERNETES)" -o $@ ./cmd/clipper

# What clipper carries is built without inlining: a sixth smaller, and none of
# it is busy with itself for long.
bin/kubectl: cmd/clipper-kubectl/main.go go.mod go.sum | deps
	@echo "building $@ (upstream's commands; a minute or two the first time)"
	@go build $(GOFLAGS) -gcflags=all=-l -ldflags "-s -w $(kflags)" -o $@ ./cmd/clipper-kubectl

bin/clipper-demo: cmd/clipper-demo/main.go go.mod | deps
	@echo "building $@"
	@go build $(GOFLAGS) -gcflags=all=-l -ldflags "-s -w" -o $@ ./cmd/clipper-demo

supervisor-src := $(shell find cmd/clipper-supervisor internal/cri/supervisor -name '*.go' -not -name '*_test.go' 2>/dev/null)
bin/clipper-supervisor: $(supervisor-src) go.mod go.sum | deps
	@echo "building $@"
	@CGO_ENABLED=1 go build $(GOFLAGS) -gcflags=all=-l -tags "seccomp netgo osusergo runc_nocriu" -ldflags "-s -w -linkmode external -extldflags -static" -o $@ ./cmd/clipper-supervisor

supervisor: $(cri-emb)/clipper-supervisor.zst ## Build the process that holds containers, ready to embed

$(emb)/%.zst: bin/%
	@go run $(GOFLAGS) ./internal/pack $< $@ && touch $@
$(cri-emb)/%.zst: bin/%
	@go run $(GOFLAGS) ./internal/pack $< $@ && touch $@

# --- what tests run: stand-in images, built here ------------------------------

test-images: bin/test-images.tar

bin/test-images.tar: test/image/main.go test/image/web/main.go go.mod
	@[ -e bin/busybox ] || { mkdir -p bin/deb; \
	  (cd bin/deb && { apt-get download -qq busybox-static 2>/dev/null || { apt-get update -qq && apt-get download -qq busybox-static; }; } && dpkg -x busybox-static_*.deb .); \
	  cp bin/deb/bin/busybox bin/busybox 2>/dev/null || cp bin/deb/usr/bin/busybox bin/busybox; rm -rf bin/deb; }
	@go build $(GOFLAGS) -ldflags "-s -w" -o bin/test-web ./test/image/web
	@go run $(GOFLAGS) ./test/image -web bin/test-web -busybox bin/busybox -o $@

# --- what the system must have ------------------------------------------------

# $(call need,WHAT:PACKAGE...) installs the packages whose command or file is missing.
need = missing=; for n in $(1); do \
	  { command -v $${n%%:*} || [ -e $${n%%:*} ]; } >/dev/null || missing="$$missing $${n\#*:}"; \
	done; \
	[ -z "$$missing" ] || { echo "installing$$missing"; \
	  if [ "$$(id -u)" != 0 ]; then echo "run this once as root: apt-get install -y$$missing"; exit 1; fi; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends$$missing >/dev/null; }

deps:
	@command -v go >/dev/null || { echo "Go 1.26 or newer is needed: see https://go.dev/dl"; exit 1; }
	@$(call need,gcc:gcc /usr/include/stdio.h:libc6-dev /usr/include/seccomp.h:libseccomp-dev zstd:zstd)

test-deps:
	@[ "$$(id -u)" = 0 ] || { echo "the tests make namespaces and clusters: run make test as root"; exit 1; }
	@$(call need,nft:nftables ip:iproute2 nsenter:util-linux unshare:util-linux setpriv:util-linux)

clean: ## Remove what was built
	@rm -rf bin $(emb)/*.zst $(cri-emb)/*.zst
