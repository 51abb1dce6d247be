# tocsin: one binary. `make demo` runs the main job with nothing installed but Go; `make test` installs what
# the tests need and passes them.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  = -s -w \
  -X github.com/prometheus/common/version.Version=$(VERSION) \
  -X github.com/prometheus/common/version.Revision=$(shell git rev-parse HEAD 2>/dev/null) \
  -X github.com/prometheus/common/version.Branch=$(shell git rev-parse --abbrev-ref HEAD 2>/dev/null) \
  -X github.com/prometheus/common/version.BuildDate=$(shell git log -1 --format=%cI 2>/dev/null)

export CGO_ENABLED ?= 0

.PHONY: build demo test check race lint bench deps fuzz clean

## build: the static binary, ./tocsin
build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o tocsin ./cmd/tocsin

## demo: the outage replayed, on loopback, until Ctrl-C
demo: build
	./tocsin demo

## test: install what the tests need (Prometheus, PostgreSQL) where that is possible, and run all tests
test: deps
	TOCSIN_TEST_PROMETHEUS=require TOCSIN_TEST_POSTGRES=require $(GO) test -timeout 20m ./...

## deps: what the tests need beyond Go; says what is missing where it cannot install it
deps:
	./scripts/test-deps

## check: the fast gate before a commit: format, vet, linters, tests without the slow ones
check: lint
	$(GO) test -short ./...

## lint: formatting, vet and the linters, see scripts/lint
lint:
	./scripts/lint

## race: the tests under the race detector, with fewer repetitions (needs a C compiler); e2etest starts the
## ordinary binary, in which the detector would see nothing
race: deps
	TOCSIN_TEST_PROMETHEUS=require TOCSIN_TEST_POSTGRES=require CGO_ENABLED=1 \
	  $(GO) test -race -short -timeout 60m $$($(GO) list ./... | grep -v /e2etest)

## bench: Go benchmarks, then the figures of the whole process
bench:
	$(GO) test -run '^$$' -bench . -benchmem -timeout 30m ./...

## fuzz: a short run of every fuzz target
fuzz:
	./scripts/fuzz

clean:
	rm -f tocsin
