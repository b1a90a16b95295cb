# SPDX-License-Identifier: Apache-2.0
# A front for people: Meson builds (build/NAME, one folder per kind of build), test/tally runs and
# counts. `make help` prints what stands behind `##`.

MESON_FLAGS ?=
PREFIX ?= /usr/local
ARGS ?=
T ?=
N ?= 20

all: build/release/inferd ## build build/release/inferd (the default)

# Kinds of build. A folder is configured once; ninja then knows what is out of date.
flags_release := -Dprefix=$(PREFIX) -Db_lto=true -Dtests=false
flags_asan := -Doptimization=1 -Ddebug=true -Db_sanitize=address,undefined
flags_tsan := -Doptimization=1 -Ddebug=true -Db_sanitize=thread
flags_fuzz := -Doptimization=2 -Ddebug=true -Db_sanitize=address,undefined -Dfuzz=true
flags_fuzzfast := -Doptimization=3 -Ddebug=true -Dfuzz=true
flags_coverage := -Doptimization=0 -Ddebug=true -Dcoverage=true
flags_count := -Doptimization=2 -Ddebug=true
flags_gcc := -Dwerror=true
flags_clang := -Dwerror=true
cc_fuzz := CC=clang CXX=clang++
cc_fuzzfast := CC=clang CXX=clang++
cc_coverage := CC=clang CXX=clang++
cc_clang := CC=clang CXX=clang++
cc_gcc := CC=gcc CXX=g++
.PRECIOUS: build/%/build.ninja
build/%/build.ninja:
	@echo "configuring build/$*"
	@$(cc_$*) meson setup build/$* $(flags_$*) $(MESON_FLAGS) >build/$*.log 2>&1 || { tail -4 build/$*.log >&2; rm -rf build/$*; exit 1; }

# What the compiler says and nothing else: some releases of ninja tell even --quiet that nothing was to do.
build = out=$$(ninja -C $(1) --quiet $(2) 2>&1); code=$$?; \
	printf '%s\n' "$$out" | grep -vxE '|ninja: (no work to do\.|Entering directory .*)' >&2; exit $$code

# Always asks ninja, which does nothing when nothing changed. Of the release only the program is built.
build/release/inferd: build/release/build.ninja FORCE
	@$(call build,build/release,inferd)
build/%/inferd: build/%/build.ninja FORCE
	@$(call build,build/$*,)

up: build/release/inferd ## build and run `inferd up` (ARGS="--config my.toml")
	build/release/inferd up $(ARGS)

# A step that finds something does not keep the next ones from looking: test/tally has the verdict.
check: ## unit, corpora, raw requests, simulation, end-to-end smoke under ASan+UBSan (4 minutes)
	@test/tally start
	@$(MAKE) -s check-steps; test/tally sum

test: ## check + all end-to-end, SDKs, real engine, short fault rows, acceptance (20 minutes)
	@test/tally start
	@$(MAKE) -s test-steps; test/tally sum

check-steps: build/asan/inferd
	-@test/tally meson build/asan
	-@test/tally pytest build/asan/inferd test/e2e -m smoke

test-steps: build/asan/inferd build/release/inferd
	-@test/tally meson build/asan
	-@test/tally one 'raw requests beside nginx and node' test/http1/differential.py build/asan/test/http1/codec_echo
	-@test/tally pytest build/asan/inferd test/e2e -m 'not full'
	-@test/tally pytest build/release/inferd test/fault -m 'not full' -n 3
	-@test/tally checks 'acceptance, asan' test/acceptance/run build/asan/inferd
	-@test/tally checks 'acceptance, release' test/acceptance/run build/release/inferd

bench: build/release/inferd ## figures beside nginx and HAProxy, written to docs/performance.md
	@scripts/deps bench
	@bench/run $(ARGS)
	@bench/registry
	@bench/detect

fault: build/release/inferd ## every fault row at full length, written to docs/faults.md
	@INFERD=$(CURDIR)/build/release/inferd build/deps/venv/bin/python -m pytest -q -m full test/fault $(ARGS)

fuzz: build/fuzz/build.ninja build/fuzzfast/build.ninja build/coverage/build.ninja ## run every fuzz target (SECONDS=30, or until RUNS=100000000 are on record), write docs/fuzzing.md
	@for kind in fuzz fuzzfast coverage; do ninja -C build/$$kind --quiet fuzzers || exit 1; done
	@test/fuzz/run --docs $(if $(RUNS),--runs $(RUNS)) $(if $(SECONDS),--seconds $(SECONDS)) $(T)

lint: ## layers, names, banned calls, sizes, repeats, format, clang-tidy, cppcheck, gcc -fanalyzer
	@test/tally start
	@tools/lint; test/tally sum

flaky: build/asan/inferd ## run one test N times and stop at the first failure: make flaky T=name N=20
	@test -n "$(T)" || { echo "make flaky T=name N=20" >&2; exit 2; }
	@if meson test -C build/asan --list 2>/dev/null | grep -q "$(T)"; then \
	    meson test -C build/asan --repeat $(N) --maxfail 1 --print-errorlogs $(T); \
	else \
	    for i in $$(seq $(N)); do \
	        INFERD=$(CURDIR)/build/asan/inferd build/deps/venv/bin/python -m pytest -q -x test/e2e test/fault -k "$(T)" || exit 1; \
	    done; \
	fi

docs: build/release/inferd ## write docs/config.md from the option tables
	@build/release/inferd help --format markdown >docs/config.md

install: build/release/inferd ## install the program, unit file, manuals, completion (DESTDIR, PREFIX)
	@grep -qx 'prefix = $(PREFIX)' build/release/meson-private/cmd_line.txt || meson configure build/release -Dprefix=$(PREFIX)
	@ninja -C build/release --quiet inferd manuals >build/release.log 2>&1 || { tail -20 build/release.log >&2; exit 1; }
	@DESTDIR=$(DESTDIR) meson install -C build/release --no-rebuild --quiet --strip

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | while IFS='|' read -r name text; do \
	    printf '  %-8s %s\n' "$$name" "$$text"; done

.PHONY: all up check test check-steps test-steps bench fault fuzz lint flaky docs install help FORCE
FORCE:
