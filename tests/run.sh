#!/usr/bin/env bash
# Sets up what the tests need and runs every one of them. Arguments go to `cargo test`.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:$HOME/.cargo/bin:/usr/local/go/bin

tests/setup.sh
# Tests wait for servers more than they compute: run more of them than there are cores.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$(($(nproc) * 2))}
# A shell ignores SIGINT in what it runs in the background, and so would the programs under test.
env --default-signal=HUP,INT,TERM cargo test --locked "$@"
