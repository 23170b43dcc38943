#!/usr/bin/env bash
# Puts what the tests of dist/ ask for their opinion under target/dist-tools/:
#
#   schema, schemas/   holds Kubernetes manifests against the OpenAPI schemas of their own projects
#   promtool           Prometheus' own checker, out of Debian's package
#
# usage: tests/dist/build.sh
#
# Interrupt it anywhere and run it again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
out=$target/dist-tools
# Of Kubernetes, whose OpenAPI documents kubectl-validate carries. A CronJob has been stable since 1.21.
readonly KUBERNETES=1.30

main() {
    mkdir -p "$out"
    exec 9>"$out/.lock"
    flock 9
    rm -rf "$out"/.partial-*
    schema
    promtool
}

schema() {
    local key partial validate operator
    key="$KUBERNETES $(cat "$here"/schema/* | sha256sum | cut -c1-16)"
    if [[ $(cat "$out/schemas/stamp" 2>/dev/null) == "$key" && -x $out/schema ]]; then return; fi
    command -v go >/dev/null || die "Go is missing: install Go 1.26 or newer"
    say "building the schema checker"
    partial=$(mktemp -d "$out/.partial-schema-XXXXXX")
    # The checked-in sums say exactly what is built and read; nothing may change them on the way.
    (cd "$here/schema" && CGO_ENABLED=0 go build -mod=readonly -o "$partial/schema" .)
    validate=$(module sigs.k8s.io/kubectl-validate)
    operator=$(module github.com/prometheus-operator/prometheus-operator)
    mkdir "$partial/schemas"
    cp "$validate/pkg/openapiclient/builtins/$KUBERNETES/apis/batch/v1.json" "$partial/schemas/batch_v1.json"
    cp "$operator/example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml" \
        "$partial/schemas/prometheusrule.yaml"
    echo "$key" >"$partial/schemas/stamp"
    rm -rf "$out/schemas"
    mv "$partial/schema" "$out/schema"
    mv "$partial/schemas" "$out/schemas"
    rmdir "$partial"
}

# Where a module of tests/dist/schema/go.mod is unpacked.
module() { (cd "$here/schema" && go mod download -json "$1") | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p'; }

# Downloaded and unpacked, never installed: the package would start a server.
promtool() {
    if [[ -x $out/promtool ]] && "$out/promtool" --version >/dev/null 2>&1; then return; fi
    say "unpacking promtool from Debian's prometheus"
    local partial
    partial=$(mktemp -d "$out/.partial-promtool-XXXXXX")
    if ! download "$partial"; then
        # Package lists may be absent on a fresh machine, or old.
        if ((EUID == 0)); then apt-get -qq update; else sudo -n apt-get -qq update || true; fi
        download "$partial" || die "apt has no prometheus (Debian 12 has it): see 'apt-cache policy prometheus'"
    fi
    dpkg -x "$partial"/prometheus_*.deb "$partial/root"
    mv "$partial/root/usr/bin/promtool" "$out/promtool"
    rm -rf "$partial"
}

download() { (cd "$1" && apt-get -qq -o APT::Sandbox::User=root download prometheus) 2>/dev/null; }

say() { echo "dist: $*" >&2; }

die() {
    echo "error: $*" >&2
    exit 1
}

main "$@"
