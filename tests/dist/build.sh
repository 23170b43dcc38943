#!/usr/bin/env bash
# Puts what the tests of dist/ ask for their opinion under target/dist-tools/:
#
#   schema, schemas/   holds Kubernetes manifests against the OpenAPI schemas of their own projects
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

say() { echo "dist: $*" >&2; }

die() {
    echo "error: $*" >&2
    exit 1
}

main "$@"
