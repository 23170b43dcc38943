#!/usr/bin/env bash
# Puts real etcd servers and their tools under target/etcd/, where the tests find them:
#
#   target/etcd/<minor>/{etcd,etcdctl,etcdutl}   (3.4 has no etcdutl)
#   target/etcd/bbolt
#
# usage: tests/etcd/build.sh [MINOR...] [bbolt]     without arguments: everything in versions.tsv, and bbolt
#
# A result appears by one rename, together with a stamp of what it was made from: interrupt this
# script anywhere and run it again. The module and build caches are Go's own (GOMODCACHE, GOCACHE).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
out=$target/etcd

main() {
    local minors=() bbolt=no arg
    for arg in "$@"; do
        if [[ $arg == bbolt ]]; then bbolt=yes; else minors+=("$arg"); fi
    done
    if (($# == 0)); then
        mapfile -t minors < <(table | cut -f1)
        bbolt=yes
    fi

    mkdir -p "$out"
    # Two runs at once would build the same thing twice and trip over each other's renames.
    exec 9>"$out/.lock"
    flock 9
    rm -rf "$out"/.partial-*

    local minor version source
    for minor in "${minors[@]}"; do
        IFS=$'\t' read -r version source < <(table | awk -F'\t' -v m="$minor" '$1 == m { print $2 "\t" $3 }') ||
            die "etcd $minor is not in tests/etcd/versions.tsv"
        case $source in
            module) from_module "$minor" "$version" ;;
            debian) from_debian "$minor" "$version" ;;
            *) die "tests/etcd/versions.tsv: etcd $minor has source '$source'; known are module and debian" ;;
        esac
    done
    if [[ $bbolt == yes ]]; then bbolt; fi
}

table() { grep -v '^#' "$here/versions.tsv"; }

# The module and the table must name the same version: the table is what people read. That holds
# for the libraries too: server v3.8.0-alpha.0 by itself asks for api v3.7.0-beta.0 and would then
# call itself 3.7 on the wire and on disk.
from_module() {
    local minor=$1 version=$2 strays key partial
    key="$version $(fingerprint "$here/$minor")"
    if fresh "$minor" "$key"; then return; fi
    need_go
    strays=$(awk -v v="v$version" '/go.etcd.io\/etcd\/.*\/v3 v/ && $2 != v { print $1, $2 }' "$here/$minor/go.mod")
    [[ -z $strays ]] ||
        die "tests/etcd/versions.tsv says v$version, tests/etcd/$minor/go.mod pins: $strays"
    say "building etcd $version (a minute or two the first time)"
    partial=$(mktemp -d "$out/.partial-$minor-XXXXXX")
    go_build "$here/$minor" "$partial/etcd" go.etcd.io/etcd/server/v3
    go_build "$here/$minor" "$partial/etcdctl" go.etcd.io/etcd/etcdctl/v3
    go_build "$here/$minor" "$partial/etcdutl" go.etcd.io/etcd/etcdutl/v3
    publish "$partial" "$minor" "$key"
}

# Downloaded and unpacked, never installed: the package would start a service.
from_debian() {
    local minor=$1 version=$2 key partial package full
    key="$version debian $(dpkg --print-architecture)"
    if fresh "$minor" "$key"; then return; fi
    say "unpacking etcd $version from Debian packages"
    partial=$(mktemp -d "$out/.partial-$minor-XXXXXX")
    for package in etcd-server etcd-client; do
        full=$(apt_version "$package" "$version")
        (cd "$partial" && apt-get -qq -o APT::Sandbox::User=root download "$package=$full")
        dpkg -x "$partial/${package}"_*.deb "$partial/root"
    done
    mv "$partial/root/usr/bin/etcd" "$partial/root/usr/bin/etcdctl" "$partial/"
    rm -rf "$partial/root" "$partial"/*.deb
    publish "$partial" "$minor" "$key"
}

# The Debian version string (with revision) of PACKAGE at upstream VERSION. Package lists may be
# absent on a fresh machine; only then are they fetched.
apt_version() {
    local package=$1 version=$2 full
    full=$(apt_madison "$package" "$version")
    if [[ -z $full ]] && ((EUID == 0)); then
        apt-get -qq update
        full=$(apt_madison "$package" "$version")
    elif [[ -z $full ]] && sudo -n true 2>/dev/null; then
        sudo -n apt-get -qq update
        full=$(apt_madison "$package" "$version")
    fi
    [[ -n $full ]] ||
        die "apt knows no $package $version (Debian 12 has it); run 'apt-get update' as root, or see 'apt-cache policy $package'"
    echo "$full"
}

apt_madison() {
    apt-cache madison "$1" | awk -F' *[|] *' -v v="$2-" 'index($2, v) == 1 { print $2; exit }'
}

bbolt() {
    local version key partial
    key=$(fingerprint "$here/bbolt")
    if [[ -x $out/bbolt && $(cat "$out/bbolt.stamp" 2>/dev/null) == "$key" ]]; then return; fi
    need_go
    say "building bbolt"
    partial=$(mktemp -d "$out/.partial-bbolt-XXXXXX")
    go_build "$here/bbolt" "$partial/bbolt" go.etcd.io/bbolt/cmd/bbolt
    rm -f "$out/bbolt.stamp"
    mv "$partial/bbolt" "$out/bbolt"
    echo "$key" >"$out/bbolt.stamp"
    rmdir "$partial"
}

# The checked-in sums say exactly what is built; nothing may change them on the way.
go_build() {
    local dir=$1 binary=$2 package=$3
    (cd "$dir" && CGO_ENABLED=0 go build -mod=readonly -o "$binary" "$package")
}

need_go() {
    command -v go >/dev/null || die "Go is missing: install Go 1.26 or newer"
    (cd "$here/3.8" && go list -m >/dev/null) ||
        die "Go 1.26 or newer is needed to build the test servers; $(go version)"
}

fingerprint() { cat "$1/go.mod" "$1/go.sum" | sha256sum | cut -c1-16; }

fresh() { [[ $(cat "$out/$1/stamp" 2>/dev/null) == "$2" ]]; }

publish() {
    local partial=$1 minor=$2 key=$3
    chmod 755 "$partial"
    echo "$key" >"$partial/stamp"
    rm -rf "${out:?}/$minor"
    mv -T "$partial" "$out/$minor"
}

say() { echo "etcd: $*" >&2; }

die() {
    echo "error: $*" >&2
    exit 1
}

main "$@"
