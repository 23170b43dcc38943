#!/usr/bin/env bash
# Builds the static release binary into target/dist/etcd-rescue-ARCH, with its SHA-256 beside it.
#
# usage: dist/build.sh [x86_64|aarch64]...        without arguments: x86_64
#
# dist/check-static.sh proves what came out.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
PATH=$PATH:$HOME/.cargo/bin
cd "$root"

main() {
    (($# > 0)) || set -- x86_64
    # No path of the machine that built it belongs into a binary that others run.
    local registry=${CARGO_HOME:-$HOME/.cargo}/registry/src
    export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$registry= --remap-path-prefix=$root= --remap-path-prefix=$target=target"

    local arch
    for arch in "$@"; do
        case $arch in
            x86_64)
                tests/setup.sh build
                export CC_x86_64_unknown_linux_musl=musl-gcc
                ;;
            aarch64)
                tests/setup.sh aarch64
                # Debian has no musl cross compiler: the C parts are built by the glibc one, which
                # gives the same objects for code that calls nothing but libc's plain functions,
                # and Rust's own musl and linker make the file.
                export CC_aarch64_unknown_linux_musl=aarch64-linux-gnu-gcc
                export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld
                ;;
            *)
                echo "error: unknown architecture '$arch'; known are x86_64 and aarch64" >&2
                exit 2
                ;;
        esac
        cargo build --locked --release --target "$arch-unknown-linux-musl"
        install -D "$target/$arch-unknown-linux-musl/release/etcd-rescue" "$target/dist/etcd-rescue-$arch"
        # To be checked with sha256sum -c wherever both files are copied to.
        (cd "$target/dist" && sha256sum "etcd-rescue-$arch" >"etcd-rescue-$arch.sha256")
        echo "$target/dist/etcd-rescue-$arch"
    done
}

main "$@"
