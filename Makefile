# Everything needs only Go 1.26 or newer, git and make. On Debian and Ubuntu as root, the rest is installed when it is
# missing (a Docker engine, g++ to link DuckDB); elsewhere the targets say what to install.

SHELL       := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse HEAD 2>/dev/null)
PREFIX   ?= /usr/local
DESTDIR  ?=
UNITDIR  ?= $(PREFIX)/lib/systemd/system
FUZZTIME ?= 30s
PKG      ?= ./...

STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
LDFLAGS     := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
CORE        := ./desired/... ./reconciler
# A test binary that takes longer hangs; 'make test' as a whole stays under 15 minutes on two cores.
TEST        := $(GO) test -count=1 -timeout 30m
# The three that take longest begin first: what waits for an engine leaves the processors to the others.
ALL         := ./cmd/fairlead ./reconciler/docker ./examples/demo ./...

.PHONY: help
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: need-go need-gcc ## build bin/fairlead
	CGO_ENABLED=1 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/fairlead ./cmd/fairlead

.PHONY: test
test: need-go need-gcc need-named need-proxies need-postgres need-promtool need-chromium need-axe engine oracle pebble caddy pythonimage check ## run every check and test; brings up an engine first
	$(TEST) -race -p 3 $(ALL)

.PHONY: test-short
test-short: need-go ## run the tests that need no engine, no network and no C compiler
	CGO_ENABLED=0 $(TEST) $(CORE)

.PHONY: race
race: need-go need-gcc need-named need-proxies need-postgres need-promtool need-chromium need-axe engine oracle pebble caddy pythonimage ## run tests with the race detector; PKG=./reconciler/... for some
	$(TEST) -race -p 3 $(PKG)

.PHONY: check
check: need-go
	$(GO) vet ./...
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not gofmt-ed:" $$unformatted >&2; exit 1; }

.PHONY: lint
lint: check ## run go vet, gofmt and staticcheck
	$(GO) run $(STATICCHECK) ./...

.PHONY: fuzz
fuzz: need-go ## run every fuzz target for FUZZTIME (30s) each; PKG=./desired for some
	GO=$(GO) scripts/fuzz.sh $(FUZZTIME) $(PKG)

.PHONY: bench
bench: need-go need-gcc engine oracle ## measure against docker compose and the raw engine API; writes bench.json
	$(GO) run -buildvcs=false ./examples/bench -o bench.json

SOAK ?= 1000
.PHONY: soak
soak: need-go need-gcc engine oracle ## change images SOAK (1000) times under load; no request may fail, nothing may be left over
	$(GO) run -buildvcs=false ./examples/bench -only soak -n $(SOAK)

.PHONY: demo
demo: need-go need-gcc engine ## play the demo on real containers
	$(GO) run -buildvcs=false ./examples/demo

.PHONY: demo-down
demo-down: need-go ## remove what the demo left running
	$(GO) run -buildvcs=false ./examples/demo down

.PHONY: verify
verify: need-go ## regenerate schema, docs and goldens; fails when that changes a file
	GO=$(GO) scripts/verify.sh

.PHONY: install
install: build ## install the binary and the systemd units under PREFIX (/usr/local)
	install -d '$(DESTDIR)$(PREFIX)/bin' '$(DESTDIR)$(UNITDIR)'
	install -m 0755 bin/fairlead '$(DESTDIR)$(PREFIX)/bin/fairlead'
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' scripts/fairlead.service >bin/fairlead.service
	install -m 0644 bin/fairlead.service scripts/fairlead-http.socket scripts/fairlead-https.socket '$(DESTDIR)$(UNITDIR)'

.PHONY: clean
clean: ## remove what was built
	rm -rf bin bench.json coverage.out

.PHONY: engine
engine: # bring up a Docker engine if none answers
	@scripts/engine.sh up

.PHONY: oracle
oracle: need-go # build docker compose and sops from their own modules once; the tests compare with them
	@scripts/compose-oracle.sh
	@scripts/sops.sh

.PHONY: pebble
pebble: need-go # build the ACME server of the tests from its own module once
	@scripts/pebble.sh

.PHONY: caddy
caddy: need-go # build the proxy of the tests from its own module once
	@scripts/caddy.sh

.PHONY: pythonimage
pythonimage: engine need-pip # make the image that the tests run Python connectors in, without a registry, once
	@scripts/pythonimage.sh

.PHONY: need-pip
need-pip: # connectors that run as processes of this host install their requirements with it
	@export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin; \
		python3 -m pip --version >/dev/null 2>&1 || scripts/need.sh pip3 python3-pip

.PHONY: need-go
need-go:
	@command -v $(GO) >/dev/null || { echo "$(GO) is missing: install Go 1.26 or newer from https://go.dev/dl/" >&2; exit 1; }

.PHONY: need-gcc
need-gcc: # DuckDB and the race detector are linked by a C++ compiler
	@scripts/need.sh g++ g++

.PHONY: need-named
need-named: # a name server that takes dynamic updates; the package's own service is not to run on port 53
	@PATH="$$PATH:/usr/sbin"; command -v named >/dev/null || { scripts/need.sh named bind9; \
		systemctl disable --now named >/dev/null 2>&1 || true; }

.PHONY: need-proxies
need-proxies: # servers that certificates are delivered to; the packages' own services are not to run on port 80
	@PATH="$$PATH:/usr/sbin"; scripts/need.sh openssl openssl; for pair in nginx:nginx-light haproxy:haproxy; do \
		command -v "$${pair%:*}" >/dev/null || { scripts/need.sh "$${pair%:*}" "$${pair#*:}"; \
		systemctl disable --now "$${pair%:*}" >/dev/null 2>&1 || true; }; done

.PHONY: need-postgres
need-postgres: # the tests run a server of their own; that of the package is not to run on port 5432
	@scripts/postgres.sh

.PHONY: need-promtool
need-promtool: # alert rules are tested with it; the package's own service is not to run on port 9090
	@command -v promtool >/dev/null || { scripts/need.sh promtool prometheus; \
		systemctl disable --now prometheus >/dev/null 2>&1 || true; }

.PHONY: need-chromium
need-chromium: # the browser that the tests drive through the pages
	@scripts/need.sh chromium chromium

.PHONY: need-axe
need-axe: # the accessibility checker that the browser tests run in each page
	@scripts/axe.sh

.PHONY: screenshots
screenshots: need-go need-gcc need-chromium engine ## take the pictures in docs/img anew, in a real browser
	FAIRLEAD_SCREENSHOTS=$(CURDIR)/docs/img $(GO) test -count=1 -timeout 10m -run TestScreenshots -v ./examples/browser
