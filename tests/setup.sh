#!/usr/bin/env bash
# Makes a Debian machine with Rust (rustup) and Go ready to build and test etcd-rescue.
#
# usage: tests/setup.sh [PART...]      without arguments: everything that tests/run.sh needs
#
#   build        protoc, the C toolchains and the Rust target of the static x86_64 binary
#   aarch64      the same for aarch64, and qemu to run it
#   check        what dist/check-static.sh looks with: file, readelf, unshare
#   test         what the tests call besides servers: openssl, certificates of unusual kinds; GNU time;
#                strace, and unshare, nsenter and setpriv of util-linux; zstd with pzstd, and gzip
#   oracles      restic, age and rclone, out of their Debian packages, unpacked under target/tools/debian and not installed;
#                promtool the same way, because installing its package starts a server;
#                good and bad zstd frames, out of a Go module's test data
#   dist         what judges dist/: systemd-analyze, shellcheck, promtool, Kubernetes' schemas; cron, unpacked as promtool is
#   demo         what dist/demo.sh calls besides etcd: openssl
#   bench        hyperfine, GNU time, zstd, openssl
#   etcd         every server of tests/etcd/versions.tsv; etcd:3.7 is one of them
#   bbolt        bbolt's own command
#   deny, fuzz   cargo-deny, cargo-fuzz (under target/tools) and a nightly toolchain for the latter
#
# Installs only what is missing, and Debian packages only as root or with passwordless sudo;
# otherwise it says what to install and stops. The second run finds everything and does nothing.
set -euo pipefail

tests=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$tests")
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
PATH=$PATH:$HOME/.cargo/bin:/usr/local/go/bin
cd "$root"

# Pinned like any other dependency: a new lint or a new default must not break an old commit.
readonly CARGO_DENY=0.20.2 CARGO_FUZZ=0.13.2

main() {
    (($# > 0)) || set -- build check test oracles dist etcd bbolt
    local part packages=() servers=()
    for part in "$@"; do
        case $part in
            build) packages+=(gcc libc6-dev musl-tools protobuf-compiler) ;;
            aarch64) packages+=(gcc libc6-dev protobuf-compiler gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static) ;;
            check) packages+=(file binutils util-linux) ;;
            test) packages+=(gcc libc6-dev protobuf-compiler openssl time strace util-linux zstd gzip) ;;
            oracles) packages+=(unzip) ;;
            dist) packages+=(systemd shellcheck util-linux mount iproute2 bsdutils busybox-static) ;;
            demo) packages+=(openssl) ;;
            bench) packages+=(hyperfine time openssl zstd) ;;
            etcd) servers+=(all) ;;
            etcd:*) servers+=("${part#etcd:}") ;;
            bbolt) servers+=(bbolt) ;;
            deny) ;;
            fuzz) packages+=(g++) ;;
            *) die "unknown part '$part'; the head of tests/setup.sh lists them" ;;
        esac
    done

    debian "${packages[@]}"
    for part in "$@"; do
        case $part in
            build) rust_target x86_64-unknown-linux-musl ;;
            aarch64) rust_target aarch64-unknown-linux-musl ;;
            oracles)
                unpacked restic usr/bin/restic
                unpacked age usr/bin/age
                unpacked rclone usr/bin/rclone
                promtool
                zstd_corpora
                ;;
            dist)
                # One a line: in a list with && bash would overlook the failure of all but the last.
                "$tests/dist/build.sh"
                promtool
                unpacked cron usr/sbin/cron
                ;;
            deny) cargo_tool cargo-deny "$CARGO_DENY" ;;
            fuzz) cargo_tool cargo-fuzz "$CARGO_FUZZ" && nightly ;;
        esac
    done
    case " ${servers[*]} " in
        "  ") ;;
        *" all "*) "$tests/etcd/build.sh" ;;
        *) "$tests/etcd/build.sh" "${servers[@]}" ;;
    esac
}

# Installs those of the named Debian packages that are missing.
debian() {
    local package missing=()
    for package in "$@"; do
        # shellcheck disable=SC2016  # the ${...} is dpkg-query's
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
            missing+=("$package")
    done
    ((${#missing[@]} > 0)) || return 0

    mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
    local sudo=()
    if ((EUID != 0)); then
        if ! sudo -n true 2>/dev/null; then
            die "missing Debian packages; as root run: apt-get update && apt-get install ${missing[*]}"
        fi
        sudo=(sudo -n)
    fi
    say "installing ${missing[*]}"
    "${sudo[@]}" apt-get -qq update
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install --no-install-recommends "${missing[@]}" >&2
}

# Frames that broke decoders, and frames that must not: zstd's own golden files, and what fuzzing found.
zstd_corpora() {
    local to=$target/tools/zstd-corpora module=github.com/klauspost/compress@v1.17.9 dir set
    [[ -d $to ]] && return
    say "unpacking zstd frames from $module"
    dir=$(cd "$root/tests" && GOFLAGS=-mod=mod go mod download -json "$module" | sed -n 's/^\t"Dir": "\(.*\)",\?$/\1/p')
    [[ -d $dir ]] || die "cannot get the Go module $module"
    rm -rf "$to.new"
    mkdir -p "$to.new"
    for set in bad good decode-regression decoder; do
        unzip -q -d "$to.new/$set" "$dir/zstd/testdata/$set.zip"
    done
    mv -T "$to.new" "$to"
}

promtool() { unpacked prometheus usr/bin/promtool; }

# Takes one program out of a Debian package without installing the package. The directory appears whole.
unpacked() {
    local package=$1 program=$2 to=$target/tools/debian/$1 dir
    [[ -x $to/$program ]] && return
    say "unpacking Debian's $package"
    mkdir -p "$target/tools/debian"
    dir=$(mktemp -d "$target/tools/debian/.$package.XXXXXX")
    # Package lists may be absent on a fresh machine, or old.
    if ! download "$package" "$dir" 2>/dev/null; then
        if ((EUID == 0)); then apt-get -qq update >&2; else sudo -n apt-get -qq update >&2 || true; fi
        if ! download "$package" "$dir"; then
            rm -rf "$dir"
            die "cannot get the Debian package $package (Debian 12 has it): see apt-cache policy $package"
        fi
    fi
    dpkg -x "$dir/$package"_*.deb "$dir/root"
    rm -rf "$to"
    mv "$dir/root" "$to"
    rm -rf "$dir"
    [[ -x $to/$program ]] || die "Debian's $package has no $program"
}

# As root apt would download as another user, who may not get into that directory.
download() { (cd "$2" && apt-get -qq -o APT::Sandbox::User=root download "$1" >&2); }

# rust-toolchain.toml names the toolchain; cargo's first call installs it where rustup is set up to.
rust_target() {
    need_cargo
    if ! rustup target list --installed | grep -qx "$1"; then
        say "adding Rust target $1"
        rustup target add "$1" >&2
    fi
}

need_cargo() {
    if ! command -v cargo >/dev/null || ! command -v rustup >/dev/null; then
        die "Rust is missing: install rustup, the Rust toolchain installer"
    fi
    cargo --version >/dev/null
}

# Installs a cargo command of one version under target/tools, unless that version is at hand.
cargo_tool() {
    local tool=$1 version=$2 found
    need_cargo
    PATH=$target/tools/bin:$PATH
    found=$("$tool" --version 2>/dev/null) || found=none
    [[ $found == "$tool $version" ]] && return
    say "installing $tool $version (minutes, the first time)"
    # Unoptimised: these run for seconds, and building them well takes minutes.
    cargo install --quiet --locked --debug --root "$target/tools" --version "$version" "$tool" >&2
}

# libFuzzer needs unstable flags of rustc.
nightly() {
    if ! rustup toolchain list | grep -q '^nightly'; then
        say "installing a nightly toolchain for cargo-fuzz"
        rustup toolchain install nightly --profile minimal >&2
    fi
}

say() { echo "setup: $*" >&2; }

die() {
    echo "error: $*" >&2
    exit 1
}

main "$@"
