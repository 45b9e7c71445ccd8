# What people and CI do in this repository. `make` alone lists it.

CARGO ?= cargo
# Words for the broker: make run ARGS="--listen 127.0.0.1:8000".
ARGS ?=

# Tests that cargo doesn't run. Each folder has an executable `run`, which sets up all that it needs (it may rely on Rust
# and Node), shows how many tests passed, and fails if one did not.
SUITES := $(wildcard tests/*/run clients/*/run)

.DEFAULT_GOAL := help
.PHONY: help run test verify fix chaos simulate upgrade failover soak fuzz slowloris client-chaos golden licences pictures bench bench-publish bench-fanout bench-idle bench-batteries \
	test-rust check-format check-lints check-docs $(SUITES)

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

run: ## Start a broker on this machine (ARGS="…" are its arguments)
	$(CARGO) run --release --locked -- $(ARGS)

test: test-rust $(SUITES) ## Run every test

verify: check-format check-lints check-docs test ## Check everything and change nothing, as CI does

fix: ## Format, and mend what clippy can mend
	$(CARGO) clippy --workspace --fix --allow-dirty --allow-staged --all-targets
	$(CARGO) fmt --all

# What is done in it, and under which seeds: make chaos SEEDS="7 8" ROUNDS=22.
SEEDS ?= 1 2 3
ROUNDS ?= 110
CUTS ?= 50

chaos: ## Put three nodes through 330 faults of 22 kinds, cut the power of all 50 times, and check every promise (as root, all kinds)
	set -e; for seed in $(SEEDS); do \
		REPL_CHAOS_SEED=$$seed REPL_CHAOS_ROUNDS=$(ROUNDS) REPL_CHAOS_MESSAGES=350 $(CARGO) test --locked --test it whatever_happens; \
	done
	REPL_CHAOS_KINDS=PowerCut REPL_CHAOS_ROUNDS=$(CUTS) $(CARGO) test --locked --test it whatever_happens

# Where from: make upgrade FROM=v0.1.0. By default the last release or, as long as there is none, a build of its time.
FROM ?= $(shell git describe --tags --abbrev=0 2>/dev/null || echo 46fa19c)
BEFORE := target/upgrade/$(FROM)

upgrade: ## Take three nodes from an earlier build (FROM=revision) to this one, under load, and check every promise
	rm -rf $(BEFORE) && mkdir -p $(BEFORE)
	git archive $(FROM) | tar -x -C $(BEFORE)
	cd $(BEFORE) && $(CARGO) build --locked --bin repl --target-dir $(CURDIR)/target/upgrade/target
	REPL_UPGRADE_FROM=$(CURDIR)/target/upgrade/target/debug/repl REPL_CHAOS_MESSAGES=350 $(CARGO) test --locked --test it goes_over_to_the_next_build

simulate: ## Go through 100 seeds of a simulated cluster, 60 seconds each
	REPL_SIMULATION_SEEDS=$${REPL_SIMULATION_SEEDS:-100} REPL_SIMULATION_SECONDS=60 $(CARGO) test --locked --lib keeps_the_promises

# With overflow checks, as the tests have them.
fuzz: ## Give 10 million inputs, right ones changed at random, to everything that reads from outside (4 minutes)
	REPL_FUZZ_INPUTS=$${REPL_FUZZ_INPUTS:-1100000} $(CARGO) test --locked --lib -- fuzz --nocapture

failover: ## Take the leader away in six ways, 100 times each, and show how long nothing was acknowledged (as root, all of them)
	REPL_FAILOVER_ROUNDS=$${REPL_FAILOVER_ROUNDS:-100} $(CARGO) test --release --locked --test it failover -- --test-threads 1

soak: ## Publish five million messages, and show that nothing grows
	REPL_SOAK_MESSAGES=$${REPL_SOAK_MESSAGES:-5000000} $(CARGO) test --release --locked --test it nothing_grows

client-chaos: ## Kill 100 nodes under a page in Chromium that uses the TypeScript client, and check its sequence
	CLIENT_KILLS=100 clients/ts/run tests/cluster.test.ts

golden: ## Rewrite the texts that tests compare with; read the difference before you commit it
	UPDATE_GOLDENFILES=1 $(CARGO) test --locked --quiet

licences: ## Check what the program is linked to (cargo-deny), and write down the licences of it anew (cargo-about)
	$(CARGO) deny check
	$(CARGO) about generate --locked --fail --output-file THIRD-PARTY.txt deploy/licences/third-party.hbs --config deploy/licences/about.toml

pictures: ## Take the pictures of docs/console.md again
	CONSOLE_PICTURES=$(CURDIR)/docs/console tests/browser/run console.test.js

# Each starts its own servers, on loopback, and takes less than a minute once it is built; `bench` takes half an hour. See
# bench/README.md.
BENCH = $(CARGO) build --release --locked --workspace --bins && ./target/release/repl-bench

# A page to fill in: make bench REPORT=docs/performance.md.
bench: ## Measure everything beside other systems, and show which targets are met (REPORT=FILE fills in a page)
	-bench/peers/install
	$(BENCH) targets $(if $(REPORT),--report $(REPORT)) $(ARGS)

bench-publish: ## Measure durable publishes, on one node and on three
	$(BENCH) publish --seconds 3 $(ARGS)

bench-fanout: ## Measure deliveries to the subscribers of one topic
	$(BENCH) fanout --seconds 5 $(ARGS)

bench-idle: ## Measure the memory of idle subscribers
	$(BENCH) idle $(ARGS)

slowloris: ## Measure what publishers notice of 5,000 trickled heads and 1,000 streams that nobody reads
	$(BENCH) slowloris $(ARGS)

bench-batteries: ## Fill the tables of the thesis: three demo applications and the broker, five numbers of subscribers
	$(BENCH) fanout --systems repl,node,node-redis,node-repl --subscribers 50,100,500,1000,2000 --seconds 10 $(ARGS)

test-rust:
	UPDATE_GOLDENFILES= $(CARGO) test --workspace --locked --no-fail-fast

check-format:
	$(CARGO) fmt --all --check

check-lints:
	$(CARGO) clippy --workspace --locked --all-targets -- -D warnings

# Private items too, and links to them: the readers of these pages are those who change the code.
check-docs:
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --workspace --locked --no-deps --document-private-items

$(SUITES):
	./$@
