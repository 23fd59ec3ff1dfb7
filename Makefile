# SPDX-License-Identifier: Apache-2.0
# Verbs in front of Meson. `make help` lists them.
.DEFAULT_GOAL := all
.PHONY: all setup test unit san tsan fuzz bench sim tidy format demo install clean help

PREFIX ?= /usr/local
SEED ?= 1
ROUTERS ?= 50
FUZZ_SECONDS ?= 60

all: setup ## build the programs: build/skrouterd
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

sim: all ## a random network with faults: SEED=… ROUTERS=…; with ADDRESSES=… how it converges
	@build/sim $(SEED) $(ROUTERS) $(ADDRESSES)

tidy: setup ## style, structure and static analysis
	@/usr/bin/python3 test/tidy/tidy.py --deep

format: ## clang-format over all C sources
	@git ls-files '*.c' '*.h' | xargs clang-format -i

demo: all ## three sites, one network, in under 20 seconds
	@/usr/bin/python3 demo/demo.py

install: all ## install under PREFIX (default /usr/local)
	@install -D -m 755 build/skrouterd $(DESTDIR)$(PREFIX)/sbin/skrouterd

clean: ## remove what was built
	@rm -rf build build-*

help: ## this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 12
