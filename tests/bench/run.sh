#!/usr/bin/env bash
# Measures etcd-rescue against etcd's own tools on a real etcd 3.7 over mTLS, and writes a table.
#
# usage: tests/bench/run.sh [--rounds N] [--keys N] [--binary PATH]
#
# Both sides of a row run in turns in the same run, the order changed every round, the page cache warm;
# the table has medians. Memory is the peak resident set of a run of its own, by GNU time. The result
# goes to target/bench/results.md; tests/bench/results.md is the copy that README quotes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
work=$target/bench
etcd=$target/etcd/3.7
rounds=5 keys=110000 many=1000000 archives=1000 binary=
cd "$root"

while (($# > 0)); do
    case $1 in
        --rounds) rounds=$2 && shift 2 ;;
        --keys) keys=$2 && shift 2 ;;
        --binary) binary=$(realpath "$2") && shift 2 ;;
        *) echo "usage: tests/bench/run.sh [--rounds N] [--keys N] [--binary PATH]" >&2 && exit 2 ;;
    esac
done

main() {
    tests/setup.sh build bench etcd:3.7 >&2
    if [[ -z $binary ]]; then
        dist/build.sh >&2
        binary=$target/dist/etcd-rescue-x86_64
    fi
    cargo build --quiet --locked --example bench-load
    rm -rf "$work"
    mkdir -p "$work"
    trap stop_server EXIT
    certificates
    tls=(--endpoints https://127.0.0.1:23790 --cacert "$work/ca.crt" --cert "$work/tls.crt" --key "$work/tls.key")

    say "filling: $keys keys of 10 KiB"
    start_server big
    "$target/debug/examples/bench-load" http://127.0.0.1:23792 "$keys" 10240
    ctl snapshot save "$work/big.db"
    measure_save
    measure_save_archive
    stop_server
    measure_offline
    measure_archive

    say "filling: $many keys of 100 bytes"
    start_server many
    "$target/debug/examples/bench-load" http://127.0.0.1:23792 "$many" 100
    "$binary" save "${tls[@]}" "$work/many.db" >/dev/null
    memory_many
    stop_server
    measure_list
    report
}

measure_save() {
    say "save"
    local ours="$binary save ${tls[*]} $work/out-ours.db"
    local peer="$etcd/etcdctl ${tls[*]} snapshot save $work/out-peer.db"
    pair save "$ours" "$peer" "rm -f $work/out-*.db"
    rm -f "$work"/out-*.db
    memory save-ours "$ours"
    memory save-peer "$peer"
    rm -f "$work"/out-*.db
}

# What there is without archives: a plain copy on the disk, and then zstd.
measure_save_archive() {
    say "save to an archive"
    local ours="$binary save ${tls[*]} $work/out-ours.zst"
    local peer="sh $work/peer-save.sh"
    script peer-save "$etcd/etcdctl ${tls[*]} snapshot save $work/out-peer.db" \
        "zstd -q -1 -T0 $work/out-peer.db -o $work/out-peer.zst"
    pair pack-save "$ours" "$peer" "rm -f $work/out-*"
    rm -f "$work"/out-*
    memory pack-save-ours "$ours"
    memory pack-save-peer "$peer"
    rm -f "$work"/out-*
}

measure_archive() {
    local archive=$work/big.zst out=$work/out-peer.db
    "$binary" pack "$work/big.db" "$archive" >/dev/null
    say "verify an archive"
    script peer-verify "zstd -q -d -f $archive -o $out" "openssl dgst -sha256 $out"
    archive_row pack-verify "$binary verify $archive" "sh $work/peer-verify.sh"
    say "restore from an archive"
    script peer-restore "zstd -q -d -f $archive -o $out" "$etcd/etcdutl snapshot restore $out --data-dir $work/out-data"
    archive_row pack-restore "$binary restore $archive --data-dir $work/out-ours" "sh $work/peer-restore.sh"
    say "unpack"
    script peer-unpack "zstd -q -d -f $archive -o $out" "sync $out"
    archive_row pack-unpack "$binary unpack $archive $work/out-ours.db" "sh $work/peer-unpack.sh"
}

# archive_row NAME OURS PEER
archive_row() {
    pair "$1" "$2" "$3" "rm -rf $work/out-*"
    rm -rf "$work"/out-*
    memory "$1-ours" "$2"
    memory "$1-peer" "$3"
    rm -rf "$work"/out-*
}

# script NAME COMMAND...: one after the other, as a runbook has them.
script() {
    local name=$1
    shift
    { echo "set -e" && printf '%s\n' "$@"; } >"$work/$name.sh"
}

measure_offline() {
    local db=$work/big.db restore_ours restore_peer
    restore_ours="$binary restore $db --data-dir $work/out-ours"
    restore_peer="$etcd/etcdutl snapshot restore $db --data-dir $work/out-peer"
    cat "$db" >/dev/null
    say "status"
    pair status "$binary status $db" "$etcd/etcdutl snapshot status $db" true
    say "verify"
    pair verify "$binary verify $db" "openssl dgst -sha256 $db" true
    say "restore"
    pair restore "$restore_ours" "$restore_peer" "rm -rf $work/out-*"
    rm -rf "$work"/out-*
    say "the disk alone"
    pair disk "dd if=$db of=$work/out-dd bs=1M conv=fsync status=none" "true" "rm -f $work/out-dd"
    rm -f "$work/out-dd"
    memory status-ours "$binary status $db"
    memory status-peer "$etcd/etcdutl snapshot status $db"
    memory verify-ours "$binary verify $db"
    memory verify-peer "openssl dgst -sha256 $db"
    memory restore-ours "$restore_ours"
    memory restore-peer "$restore_peer"
    rm -rf "$work"/out-*
}

# A directory of archives, each of a revision of its own.
measure_list() {
    say "filling a directory with $archives archives"
    start_server small
    mkdir "$work/archives"
    local number
    for ((number = 1; number <= archives; number++)); do
        ctl put key "$number"
        "$binary" save "${tls[@]}" "$work/archives/$number.db.zst" >/dev/null
    done
    stop_server
    say "list"
    pair list "$binary list $work/archives" true true
    memory list-ours "$binary list $work/archives"
}

memory_many() {
    memory save-many "$binary save ${tls[*]} $work/out-many.db"
    memory status-many "$binary status $work/many.db"
    memory verify-many "$binary verify $work/many.db"
    memory restore-many "$binary restore $work/many.db --data-dir $work/out-many"
    rm -rf "$work"/out-*
    memory pack-save-many "$binary save ${tls[*]} $work/many.zst"
    memory pack-verify-many "$binary verify $work/many.zst"
    memory pack-restore-many "$binary restore $work/many.zst --data-dir $work/out-many"
    memory pack-unpack-many "$binary unpack $work/many.zst $work/out-many.db"
    rm -rf "$work"/out-*
}

# pair NAME OURS PEER PREPARE: times both in turns. The page cache keeps what PREPARE leaves.
pair() {
    local name=$1 ours=$2 peer=$3 prepare="$4; sync" round order
    for ((round = 0; round <= rounds; round++)); do
        order=(ours peer)
        ((round % 2 == 0)) || order=(peer ours)
        for side in "${order[@]}"; do
            # Round 0 warms up: it is not counted.
            hyperfine --style none --runs 1 --prepare "$prepare" --export-csv "$work/time.csv" "${!side}" >/dev/null
            ((round == 0)) || tail -n 1 "$work/time.csv" | cut -d, -f2 >>"$work/$name-$side.times"
        done
    done
}

# memory NAME COMMAND: peak resident KiB of one run.
memory() {
    # shellcheck disable=SC2086  # the command is words
    /usr/bin/time -f %M -o "$work/$1.rss" $2 >/dev/null 2>"$work/$1.log" || { cat "$work/$1.log" >&2 && exit 1; }
}

report() {
    {
        echo "$(nproc) cores, $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), $(uname -sr)," \
            "server and client on the same machine; etcd 3.7 over mTLS; medians of $rounds rounds in turns."
        echo "Snapshot: $(stat -c %s "$work/big.db") bytes, $keys keys. Million keys: $(stat -c %s "$work/many.db") bytes."
        echo
        echo "| | ours | peer | ratio | our memory | peer's memory | ours, a million keys |"
        echo "|---|---|---|---|---|---|---|"
        row save "etcdctl snapshot save"
        row status "etcdutl snapshot status"
        row verify "openssl dgst -sha256"
        row restore "etcdutl snapshot restore"
        row pack-save "etcdctl snapshot save, then zstd -1 -T0" "save OUT.zst"
        row pack-verify "zstd -d, then openssl dgst -sha256" "verify an archive"
        row pack-restore "zstd -d, then etcdutl snapshot restore" "restore an archive"
        row pack-unpack "zstd -d, then sync" unpack
        echo
        echo "The archive has $(stat -c %s "$work/big.zst") bytes."
        echo "Listing $archives archives: $(median list-ours) s, $(mib list-ours)."
        echo "Writing and syncing that much data alone (dd conv=fsync): $(median disk-ours) s."
    } >"$work/results.md"
    cat "$work/results.md"
}

row() {
    local ours peer
    ours=$(median "$1-ours") peer=$(median "$1-peer")
    echo "| ${3:-$1} / $2 | $ours s | $peer s | $(awk -v o="$ours" -v p="$peer" 'BEGIN {printf "%.2f", p / o}') |" \
        "$(mib "$1-ours") | $(mib "$1-peer") | $(mib "$1-many") |"
}

median() {
    sort -n "$work/$1.times" | awk '{t[NR] = $1} END {printf "%.2f", (t[int((NR + 1) / 2)] + t[int((NR + 2) / 2)]) / 2}'
}

mib() { awk '{printf "%.0f MiB", $1 / 1024}' "$work/$1.rss"; }

ctl() { "$etcd/etcdctl" "${tls[@]}" "$@" >/dev/null 2>&1; }

# A plaintext listener on loopback is for the loader alone.
start_server() {
    "$etcd/etcd" --name bench --data-dir "$work/data-$1" --quota-backend-bytes 8589934592 --log-level error \
        --listen-client-urls https://127.0.0.1:23790,http://127.0.0.1:23792 --advertise-client-urls https://127.0.0.1:23790 \
        --listen-peer-urls http://127.0.0.1:23791 --initial-advertise-peer-urls http://127.0.0.1:23791 \
        --initial-cluster bench=http://127.0.0.1:23791 --unsafe-no-fsync \
        --cert-file "$work/tls.crt" --key-file "$work/tls.key" --trusted-ca-file "$work/ca.crt" --client-cert-auth \
        >"$work/etcd.log" 2>&1 &
    server=$!
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        ! ctl endpoint health || return 0
        sleep 0.2
    done
    cat "$work/etcd.log" >&2
    exit 1
}

stop_server() {
    [[ -n ${server:-} ]] || return 0
    kill "$server"
    # etcd ends by the signal it was sent: 143.
    wait "$server" || (($? == 143))
    server=
}

certificates() {
    (
        cd "$work"
        openssl ecparam -name prime256v1 -genkey -noout -out ca.key
        openssl req -x509 -new -key ca.key -subj "/CN=bench CA" -days 2 -out ca.crt
        openssl ecparam -name prime256v1 -genkey -noout -out tls.key
        openssl req -new -key tls.key -subj "/CN=bench" -out tls.csr
        printf 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >tls.ext
        openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile tls.ext -out tls.crt
    ) 2>/dev/null
}

say() { echo "bench: $*" >&2; }

main
