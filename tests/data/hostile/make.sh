#!/usr/bin/env bash
# Makes rich-MINOR.db: a small snapshot of a real server that has a little of everything.
#
# usage: tests/data/hostile/make.sh MINOR...     servers from target/etcd, see tests/setup.sh etcd
#
# Put, overwrite, delete, re-create, a transaction, leases (one of them revoked later), a compaction,
# history after it, a value on overflow pages, users and roles, auth on. What the server
# invents (ids, passwords' salts) differs from run to run: the files are committed, this says how.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
servers=${ETCD_BINARIES:-$here/../../../target/etcd}

main() {
    (($# > 0)) || { sed -n 's/^# usage: //p' "$0"; exit 2; }
    local minor
    for minor in "$@"; do
        (make "$minor")
    done
}

make() {
    # Not local: the trap needs them.
    bin=$servers/$1 out=$here/rich-$1.db
    local url=http://127.0.0.1:23891 peer=http://127.0.0.1:23892
    work=$(mktemp -d)
    "$bin/etcd" --name default --data-dir "$work/data" --listen-client-urls $url --advertise-client-urls $url \
        --listen-peer-urls $peer --initial-advertise-peer-urls $peer --initial-cluster default=$peer \
        --logger zap --bcrypt-cost 4 >"$work/log" 2>&1 &
    server=$!
    trap 'kill $server; wait $server || true; rm -rf "$work"' EXIT
    ctl() { ETCDCTL_API=3 "$bin/etcdctl" --endpoints $url "$@"; }
    local tries=0
    until ctl endpoint health >"$work/health" 2>&1; do
        ((++tries < 100)) || { cat "$work/health" "$work/log"; exit 1; }
        sleep 0.1
    done

    local i lease short
    for i in 1 2 3 4 5 6 7 8 9; do
        ctl put "/registry/configmaps/ns/cm-$i" "$(printf 'k8s value %s ' "$i"{1..12})" >"$work/out"
    done
    lease=$(ctl lease grant 360000 | awk '{print $2}')
    short=$(ctl lease grant 5000 | awk '{print $2}')
    ctl put /leased/one --lease="$lease" 1 >"$work/out"
    ctl put /leased/two --lease="$lease" 2 >"$work/out"
    ctl put /leased/short --lease="$short" 3 >"$work/out"
    ctl put overwritten one >"$work/out"
    ctl put overwritten two >"$work/out"
    ctl del /registry/configmaps/ns/cm-2 >"$work/out"
    ctl compact 14 >"$work/out"
    ctl lease revoke "$short" >"$work/out"
    ctl put overwritten three >"$work/out"
    ctl put /registry/configmaps/ns/cm-2 again >"$work/out"
    ctl del /registry/configmaps/ns/cm-3 >"$work/out"
    printf '\nput a 1\nput b 2\ndel overwritten\n\n\n' | ctl txn >"$work/out" # no comparisons, three operations, no others
    ctl put large "$(head -c 7000 /dev/zero | tr '\0' L)" >"$work/out"
    ctl role add reader >"$work/out"
    ctl role grant-permission reader read /registry/ /registry0 >"$work/out"
    ctl user add root:secret >"$work/out"
    ctl user add guest:guest >"$work/out"
    ctl user grant-role guest reader >"$work/out"
    ctl user grant-role root root >"$work/out" 2>&1 || { ctl role add root; ctl user grant-role root root; } >"$work/out"
    ctl auth enable >"$work/out"
    # 3.6 and later write their storage version some seconds after they started.
    sleep 7
    ctl --user root:secret snapshot save "$work/snapshot.db" >"$work/out" 2>&1
    install -m 644 "$work/snapshot.db" "$out"
    ls -l "$out"
}

main "$@"
