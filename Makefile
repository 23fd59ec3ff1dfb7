# SPDX-License-Identifier: Apache-2.0
# Verbs in front of Meson. `make help` lists them.
.DEFAULT_GOAL := all
.PHONY: all setup test unit san tsan fuzz bench bench-sites bench-kube soak sim tidy format demo demo-router install image clean help

PREFIX ?= /usr/local
BUILD ?= build
SHARE = $(DESTDIR)$(PREFIX)/share
SEED ?= 1
ROUTERS ?= 50
ADDRESSES ?= 0
SHARDS ?= 0
FUZZ_SECONDS ?= 60
CONNECTIONS ?= 1000000

all: setup ## build the programs: build/skrouterd, build/skupper
	@script/build build --buildtype=debugoptimized

setup: ## install what is missing (Debian packages)
	@script/setup

test: setup ## every test; the last line counts them
	@script/test

unit: all ## unit tests of the ordinary build
	@meson test -C build --print-errorlogs --suite unit

san: setup ## unit tests and simulator with address and undefined-behaviour sanitizers
	@script/build build-san -Db_sanitize=address,undefined
	@meson test -C build-san --print-errorlogs

tsan: setup ## tests of threads with the thread sanitizer
	@script/build build-tsan -Db_sanitize=thread
	@meson test -C build-tsan --print-errorlogs --suite threads

fuzz: setup ## every fuzz target for FUZZ_SECONDS
	@FUZZ_SECONDS=$(FUZZ_SECONDS) script/fuzz

bench: all ## throughput and latency; PEER_SKROUTERD names a router to compare with
	@script/setup haproxy stunnel4
	@/usr/bin/python3 bench/bench.py
	@/usr/bin/python3 bench/services.py

soak: all ## CONNECTIONS short TCP connections through two routers, whose memory must stay flat
	@/usr/bin/python3 test/e2e/soak.py $(CONNECTIONS)

bench-sites: all ## sites on this machine: start, link, share, 50 sites with 20 services each
	@/usr/bin/python3 bench/sites.py

bench-kube: all ## 500 Listeners and 500 Connectors in a namespace: time, writes, memory
	@SKUPPER=$(BUILD)/skupper SKROUTERD=$(BUILD)/skrouterd /usr/bin/python3 -m pytest -q -s \
	    -p no:cacheprovider test/kube/test_many.py

sim: all ## a random network with faults: SEED=… ROUTERS=… SHARDS=…; with ADDRESSES=… how it converges
	@build/sim $(SEED) $(ROUTERS) $(ADDRESSES) $(SHARDS)

tidy: setup ## style, structure and static analysis
	@/usr/bin/python3 test/tidy/tidy.py --deep

format: ## clang-format over all C sources
	@git ls-files '*.c' '*.h' | xargs clang-format -i

demo: all ## three sites use each other's services, in under 15 seconds
	@/usr/bin/python3 demo/demo.py

demo-router: all ## three routers exchange messages, in under 20 seconds
	@/usr/bin/python3 demo/router.py

install: all ## install under PREFIX (default /usr/local): programs, manual pages, completion
	@install -D -m 755 $(BUILD)/skrouterd $(DESTDIR)$(PREFIX)/sbin/skrouterd
	@install -D -m 755 $(BUILD)/skupper $(DESTDIR)$(PREFIX)/bin/skupper
	@install -d $(SHARE)/man/man1 $(SHARE)/bash-completion/completions \
	    $(SHARE)/zsh/site-functions $(SHARE)/fish/vendor_completions.d
	@install -D -m 644 docs/man/skrouterd.8 $(SHARE)/man/man8/skrouterd.8
	@$(BUILD)/skupper man --output-directory $(SHARE)/man/man1
	@$(BUILD)/skupper completion bash >$(SHARE)/bash-completion/completions/skupper
	@$(BUILD)/skupper completion zsh >$(SHARE)/zsh/site-functions/_skupper
	@$(BUILD)/skupper completion fish >$(SHARE)/fish/vendor_completions.d/skupper.fish

# Without the debugger's part the programs do not depend on where they were built.
image: setup ## a container image with both programs, build-image/skupper.tar; IMAGE names it
	@TARGETS="skrouterd skupper" script/build build-image --buildtype=debugoptimized -Ddebug=false
	@script/image build-image build-image/skupper.tar $(if $(IMAGE),--name $(IMAGE))

clean: ## remove what was built
	@rm -rf build build-*

help: ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12
