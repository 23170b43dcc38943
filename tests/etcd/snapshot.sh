#!/usr/bin/env bash
# Makes a small snapshot with a real etcd and its own etcdctl, for scripts that need a good file.
#
# usage: tests/etcd/snapshot.sh OUT [MINOR]       MINOR defaults to 3.7
#
# The server listens on unix sockets in a directory of its own: no ports to collide with.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
out=$(realpath -m "${1:?usage: tests/etcd/snapshot.sh OUT [MINOR]}")
bin=$target/etcd/${2:-3.7}
[[ -x $bin/etcd ]] || { echo "error: no $bin/etcd: run tests/setup.sh etcd" >&2; exit 1; }

mkdir -p "$target/tmp"
work=$(mktemp -d "$target/tmp/snapshot-XXXXXX")
cd "$work"
env -i "$bin/etcd" --data-dir=data --logger=zap \
    --listen-client-urls=unix://client:1 --advertise-client-urls=http://127.0.0.1:1 \
    --listen-peer-urls=unix://peer:1 --initial-advertise-peer-urls=http://127.0.0.1:1 \
    --initial-cluster=default=http://127.0.0.1:1 >log 2>&1 &
server=$!
finish() {
    if kill "$server" 2>/dev/null; then wait "$server" || true; fi
    cd / && rm -rf "$work"
}
trap finish EXIT

ctl() { env -i "$bin/etcdctl" --endpoints=unix://client:1 "$@"; }
for _ in {1..100}; do
    if ctl put /registry/configmaps/default/first value >>log 2>&1; then break; fi
    kill -0 "$server" 2>/dev/null || { cat log >&2; echo "error: etcd ended at its start" >&2; exit 1; }
    sleep 0.2
done
for name in second third fourth; do ctl put "/registry/configmaps/default/$name" "value of $name" >>log; done
ctl del /registry/configmaps/default/third >>log
ctl snapshot save "$out" >>log 2>&1 || { cat log >&2; exit 1; }
