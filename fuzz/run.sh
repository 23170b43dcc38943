#!/usr/bin/env bash
# Runs fuzz targets for a while and says what came of it.
#
# usage: fuzz/run.sh SECONDS [TARGET...]      each target for SECONDS; without TARGETs: all of them
#
# Needs a nightly toolchain and cargo-fuzz (tests/setup.sh fuzz). Starts from the committed seeds and
# regressions; what it finds on the way stays in target/fuzz/corpus, so that the next run goes on from
# there. A crasher is left in target/fuzz/artifacts/TARGET, and the exit code is 1. Without sanitizers:
# there is no unsafe code to sanitize, and twice as many inputs are tried.
#
# JOBS=2 runs two targets at a time.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
fuzz=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")/fuzz
export fuzz
PATH=$(dirname "$fuzz")/tools/bin:$PATH:$HOME/.cargo/bin
cd "$root"

main() {
    (($# > 0)) || { sed -n 's/^# usage: //p' "${BASH_SOURCE[0]}"; exit 2; }
    local seconds=$1 targets=("${@:2}") failed=0
    ((${#targets[@]})) || mapfile -t targets < <(basename -s .rs fuzz/fuzz_targets/*.rs)
    cargo +nightly fuzz build -s none --target-dir "$fuzz"
    mkdir -p "$fuzz/log"
    export -f run_one length
    printf '%s\n' "${targets[@]}" | xargs -P "${JOBS:-1}" -I{} bash -c 'run_one "$@"' _ "$seconds" {} || failed=1
    echo
    printf '%-16s %12s %8s %8s %8s  %s\n' target executions exec/s cov ft result
    local target
    for target in "${targets[@]}"; do
        summary "$target"
    done
    return $failed
}

# Longest input: a few pages for those that read files, less for the others.
length() {
    case $1 in
        snapshot | walk | snap) echo 16384 ;;
        wal | build_model | meaning | container | manifest) echo 4096 ;;
        *) echo 1024 ;;
    esac
}

run_one() {
    local seconds=$1 target=$2
    local corpus=$fuzz/corpus/$target artifacts=$fuzz/artifacts/$target dirs=("fuzz/seeds/$target")
    mkdir -p "$corpus" "$artifacts"
    [[ ! -d fuzz/regressions/$target ]] || dirs+=("fuzz/regressions/$target")
    echo "$target for $seconds s"
    "$fuzz/$(rustc +nightly -vV | sed -n 's/host: //p')/release/$target" "$corpus" "${dirs[@]}" \
        -max_total_time="$seconds" -max_len="$(length "$target")" -rss_limit_mb=512 -timeout=10 \
        -print_final_stats=1 -artifact_prefix="$artifacts/" >"$fuzz/log/$target" 2>&1 || {
        tail -n 40 "$fuzz/log/$target"
        return 1
    }
}

summary() {
    local log=$fuzz/log/$1 result=clean
    grep -q '^stat::' "$log" || result='no statistics'
    if grep -q 'Test unit written to' "$log"; then result=$(sed -n 's/.*Test unit written to //p' "$log"); fi
    awk -v target="$1" -v result="$result" '
        /cov: / { for (i = 1; i < NF; i++) { if ($i == "cov:") cov = $(i + 1); if ($i == "ft:") ft = $(i + 1) } }
        /^stat::number_of_executed_units/ { executions = $2 }
        /^stat::average_exec_per_sec/ { rate = $2 }
        END { printf "%-16s %12s %8s %8s %8s  %s\n", target, executions, rate, cov, ft, result }' "$log"
}

main "$@"
