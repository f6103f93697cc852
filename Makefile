# The door to the Meson build: `make help` lists the targets, docs/design/build.md tells how they work.

PREFIX ?= /usr/local
LIBDIR ?= $(if $(filter /usr,$(PREFIX)),lib/$(shell gcc -print-multiarch),lib)
DESTDIR ?=
PMEMLOG ?= auto

# A build depends on this tree and on Debian's packages: their programs come first, whatever PATH says, and nothing from
# outside steers where compilers and Python look. (The loader's variables stay: fakeroot make install needs them.)
export PATH := /usr/bin:/bin:$(PATH)
unexport LIBRARY_PATH CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH PYTHONPATH PYTHONHOME
export PYTHONDONTWRITEBYTECODE = 1

check = python3 scripts/check.py

.PHONY: all help deps run check histories crash-long install uninstall asan tsan valgrind bench fuzz fmt fmt-check clean

all: ## build the libraries into build/release (installs nothing; names Debian packages that are missing)
	@scripts/deps.sh need build
	@scripts/build.sh release

deps: ## install the Debian packages that building, running and checking need
	@scripts/deps.sh install check
	@echo "The Debian packages that building, running and checking need are installed."

run: ## install what building needs, build, and keep this machine's logs in a stream that is killed half-way
	@scripts/deps.sh install run
	@scripts/build.sh release
	@mkdir -p build/run
	@scripts/run.sh

check: ## install what is missing, build with gcc and clang, run every test (STAGES='gcc docs': only those)
	@scripts/deps.sh install check
	@$(check) $(STAGES)

install: ## install below DESTDIR and PREFIX (default /usr/local); what is not built yet is built first
	@scripts/deps.sh need build
	@scripts/build.sh release '-Dprefix=$(PREFIX)' '-Dlibdir=$(LIBDIR)' '-Dpmemlog=$(PMEMLOG)'
	@python3 scripts/install.py install '$(DESTDIR)'

uninstall: ## remove what install put below the same DESTDIR and PREFIX
	@scripts/deps.sh need build
	@scripts/build.sh release '-Dprefix=$(PREFIX)' '-Dlibdir=$(LIBDIR)' '-Dpmemlog=$(PMEMLOG)'
	@python3 scripts/install.py uninstall '$(DESTDIR)'

asan: ## the unit tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/deps.sh install check
	@$(check) asan

tsan: ## the unit tests under ThreadSanitizer
	@scripts/deps.sh install check
	@$(check) tsan

valgrind: ## the unit tests under valgrind's memcheck (slow, not part of check)
	@scripts/deps.sh install check
	@$(check) valgrind

SECONDS ?= 60
SEED ?= $(shell date +%s)000000
histories: ## random histories against the stream, SECONDS=60 for each kind of medium, from SEED=now, on all processors
	@scripts/deps.sh install check
	@scripts/build.sh release
	@build/release/tests/histories/histories --seed=$(SEED) --seconds=$(SECONDS) --jobs=$$(nproc)

crash-long: ## random scripts of the stream, every moment cut, SECONDS=60 from SEED=now
	@scripts/deps.sh install check
	@scripts/build.sh release
	@build/release/tests/crash/test_crash_random --seed $(SEED) --seconds $(SECONDS)

FUZZ ?= 200000
fuzz: ## FUZZ=200000 mutated log pools, pool set files and streams under AddressSanitizer, then libFuzzer for SECONDS=60
	@scripts/deps.sh install check
	@scripts/build.sh asan
	@build/asan/tests/logpool/fuzz_logpool $(FUZZ) $(SEED)
	@build/asan/tests/fuzz/fuzz_stream $(FUZZ) $(SEED)
	@scripts/build.sh fuzz
	@mkdir -p build/fuzz/corpus
	@build/fuzz/tests/fuzz/libfuzzer_stream -max_total_time=$(SECONDS) -timeout=20 -max_len=257 \
		-artifact_prefix=build/fuzz/ build/fuzz/corpus

bench: ## install what is missing, measure beside other logs, report in build/bench (STAGES='disk recover': only those)
	@scripts/deps.sh install bench
	@scripts/build.sh release -Dpeers=enabled
	@python3 scripts/bench.py --seed=$(SEED) $(STAGES)

fmt: ## format the C code in place
	@scripts/deps.sh install check
	@$(check) reformat

fmt-check: ## name the C code that is not formatted
	@scripts/deps.sh install check
	@$(check) format

clean: ## remove build/, where everything that is made lies
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
