#!/usr/bin/env bash
# Proves that a built binary is what an operator can copy anywhere: one static file of at most 8 MiB
# that works in an empty root, where there is no /proc, /dev, /etc or /tmp, and tells nothing of the
# machine that built it.
#
# usage: dist/check-static.sh [x86_64|aarch64]...       without arguments: x86_64
#
# Looks at target/dist/etcd-rescue-ARCH. An architecture that is not this machine's runs under qemu.
# Needs root, or user namespaces that users may make.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
readonly MOST_BYTES=$((8 * 1024 * 1024))
cd "$root"

main() {
    (($# > 0)) || set -- x86_64
    tests/setup.sh check etcd:3.7
    mkdir -p "$target/tmp"
    work=$(mktemp -d "$target/tmp/check-static-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    tests/etcd/snapshot.sh "$work/good.db"
    head -c -5000 "$work/good.db" >"$work/cut.db"

    local arch
    for arch in "$@"; do
        binary=$target/dist/etcd-rescue-$arch
        [[ -f $binary ]] || die "no $binary: run dist/build.sh $arch"
        static "$arch"
        empty_root "$arch"
        echo "$arch: static, $(stat -c %s "$binary") bytes, works in an empty root"
    done
}

# One file that needs no loader and no library.
static() {
    local kind size found
    kind=$(file --brief "$binary")
    [[ $kind == *"$(machine "$1")"* && $kind =~ (static-pie|statically)\ linked ]] ||
        die "$binary is not a static $1 binary: $kind"
    found=$(readelf --wide --program-headers "$binary")
    [[ $found != *INTERP* ]] || die "$binary asks for a loader:"$'\n'"$found"
    found=$(readelf --wide --dynamic "$binary")
    [[ $found != *NEEDED* ]] || die "$binary needs libraries:"$'\n'"$found"
    size=$(stat -c %s "$binary")
    ((size <= MOST_BYTES)) || die "$binary has $size bytes, more than $MOST_BYTES"
    for found in "$root" "$target" "${CARGO_HOME:-$HOME/.cargo}"; do
        ! grep -qaF -- "$found/" "$binary" || die "$binary has paths of this machine in it: $found"
    done
}

machine() { case $1 in x86_64) echo x86-64 ;; aarch64) echo aarch64 ;; *) die "unknown architecture '$1'" ;; esac; }

# Runs the offline verbs where there is nothing but the binary and snapshots.
empty_root() {
    local arch=$1 sums
    box=$work/$arch
    mkdir "$box"
    cp "$binary" "$box/etcd-rescue"
    cp "$work/good.db" "$work/cut.db" "$box/"
    command=(/etcd-rescue)
    if [[ $arch != $(uname -m) ]]; then
        tests/setup.sh aarch64
        cp "$(command -v "qemu-$arch-static")" "$box/qemu"
        command=(/qemu /etcd-rescue)
    fi
    sums=$(cd "$box" && sha256sum good.db cut.db)

    run 0 --version
    says "etcd-rescue $(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)"
    run 0 verify /good.db
    says GOOD
    run 3 verify /cut.db
    says DAMAGED
    run 0 status -w simple /good.db
    says "$("$target/etcd/3.7/etcdutl" snapshot status -w simple "$work/good.db")"
    run 0 restore /good.db --data-dir /restored
    [[ -s $box/restored/member/snap/db ]] || die "$arch: restore left no /restored/member/snap/db"
    run 3 restore /cut.db --data-dir /never
    [[ ! -e $box/never/member ]] || die "$arch: a damaged snapshot was restored"

    [[ $(cd "$box" && sha256sum good.db cut.db) == "$sums" ]] || die "$arch: an input was changed"
}

# Runs the program in the box and expects an exit code.
run() {
    local expected=$1 code=0
    shift
    what="${command[*]} $*"
    # env -i: not even an environment.
    env -i "${enter[@]}" "$(command -v chroot)" "$box" "${command[@]}" "$@" \
        >"$work/stdout" 2>"$work/stderr" </dev/null || code=$?
    ((code == expected)) || fail "exit code $code instead of $expected"
}

# Expects a text in what the last run printed.
says() { grep -qF -- "$1" "$work/stdout" || fail "no '$1' on stdout"; }

fail() {
    cat "$work/stdout" "$work/stderr" >&2
    die "in an empty root, $what: $1"
}

# How to enter the box: root may; others as root of a namespace of their own.
enter=()
if ((EUID != 0)); then
    enter=("$(command -v unshare)" --user --map-root-user)
    "${enter[@]}" true 2>/dev/null || { echo "error: run this as root: no user namespaces here" >&2; exit 1; }
fi

die() {
    echo "error: $*" >&2
    exit 1
}

main "$@"
