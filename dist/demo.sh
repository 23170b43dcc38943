#!/usr/bin/env bash
# Shows the main job from beginning to end on a real etcd with mutual TLS on loopback: fill it and keep
# writing, save, verify, status, lose the data dir, restore, start etcd on the result, compare everything.
#
# usage: dist/demo.sh [--keep] [--etcd MINOR] [--binary PATH]
#
#   --keep         leave the workspace behind, and say where it is
#   --etcd MINOR   a version of tests/etcd/versions.tsv; without it 3.7
#   --binary PATH  show this etcd-rescue; without it dist/build.sh builds the static one
#
# Whatever begins with $ is run as it stands there. The first step that fails ends the demo, and it
# exits non-zero. It ends only processes that it started, and leaves nothing behind.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
readonly OBJECTS=2000 BATCH=100 # etcd takes 128 operations in one transaction

main() {
    arguments "$@"
    prepare

    scene "A real etcd $version that wants a client certificate, filled with Kubernetes-shaped keys"
    certificates
    start_on_free_ports
    fill
    local before saved
    before=$(revision)

    scene "Save it, while a client keeps writing"
    keep_writing &
    writer=$!
    wait_beyond "$before"
    run "etcd-rescue save --endpoints $ETCDCTL_ENDPOINTS --cacert ca.crt --cert client.crt --key client.key backup.db"

    scene "Is it good? What is in it?"
    run "etcd-rescue verify backup.db"
    run "etcd-rescue status backup.db"
    IFS=', ' read -r _ saved _ < <(etcd-rescue status -w simple backup.db)
    sha256sum backup.db >backup.sha256
    wait_beyond "$saved"
    stop_writer || writer_failed
    run "etcdctl get '' --prefix --rev $saved -w fields | sed 1,4d >before.txt" # without the header

    scene "Lose it"
    local lost
    lost=$(revision)
    stop_etcd
    run "mv data data.lost"

    scene "Restore, and start etcd as it was started before"
    run "etcd-rescue restore backup.db --data-dir data --name demo --initial-cluster demo=$peer"
    start_etcd || etcd_failed "etcd does not start on what was restored"

    scene "Is everything there?"
    run "etcdctl get '' --prefix -w fields | sed 1,4d >after.txt"
    run "cmp before.txt after.txt"
    run "tail -n 1 after.txt"
    run "etcdctl put /registry/configmaps/default/after-the-disaster 'etcd takes writes'"
    expect_compacted "$saved"
    run "sha256sum -c backup.sha256"
    local after keys
    after=$(revision)
    ((after > lost)) || fail "revision $after is not above $lost, the last that clients had seen"
    keys=$(sed -n 's/^"Count" : //p' after.txt)
    ((keys > OBJECTS / 2)) || fail "only $keys keys"

    scene "Proved"
    cat <<END
- A snapshot of etcd $version over mutual TLS, taken while a client kept writing: it is of revision $saved,
  the client began after $before and got to $lost.
- All $keys keys of that revision are back, byte for byte, with their values, versions, revisions and leases.
- etcd $version serves and takes writes on what restore made. Its revision is $after, above everything that
  clients had seen, and a watcher from before the disaster is told to start anew.
- backup.db was only read: its SHA-256 is what it was.
END
}

arguments() {
    keep=no minor=3.7 binary=
    while (($# > 0)); do
        case $1 in
            --keep) keep=yes && shift ;;
            --etcd) minor=${2:?--etcd needs a minor version} && shift 2 ;;
            --binary) binary=$(realpath -e "${2:?--binary needs a path}") && shift 2 ;;
            *)
                echo "usage: dist/demo.sh [--keep] [--etcd MINOR] [--binary PATH]" >&2
                exit 2
                ;;
        esac
    done
}

# Builds what is missing, and makes the workspace with all commands of the demo on its PATH.
prepare() {
    "$root/tests/setup.sh" demo "etcd:$minor" >&2
    if [[ -z $binary ]]; then
        "$root/dist/build.sh" "$(uname -m)" >&2
        binary=$target/dist/etcd-rescue-$(uname -m)
    fi
    mkdir -p "$target/tmp"
    work=$(mktemp -d "$target/tmp/demo-XXXXXX")
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    cd "$work"
    mkdir bin
    ln -s "$binary" bin/etcd-rescue
    ln -s "$target/etcd/$minor/etcd" "$target/etcd/$minor/etcdctl" bin/
    PATH=$work/bin:$PATH
    # Nothing of the caller's own etcd has a say here.
    local name
    for name in "${!ETCD@}"; do unset "$name"; done
    version=$(etcd --version | sed -n 's/^etcd Version: //p')
    echo "# in $work"
}

# One CA; a certificate for the server, as client and as peer, and one for the client.
certificates() {
    {
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
            -subj "/CN=demo CA" -keyout ca.key -out ca.crt
        signed server "subjectAltName=IP:127.0.0.1" "extendedKeyUsage=serverAuth,clientAuth"
        signed client "extendedKeyUsage=clientAuth"
    } 2>openssl.log || { cat openssl.log >&2 && fail "openssl made no certificates"; }
}

signed() {
    local name=$1
    shift
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=demo $name" \
        -keyout "$name.key" -out "$name.csr"
    printf '%s\n' "$@" >"$name.ext"
    openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 \
        -extfile "$name.ext" -out "$name.crt"
}

# Somebody may take a port between the look at it and etcd's start: then others are tried.
start_on_free_ports() {
    for _ in {1..5}; do
        configure "$(free_port)" "$(free_port)"
        if start_etcd; then return; fi
        grep -q "address already in use" etcd.log || break
        rm -rf data etcd.log
    done
    etcd_failed "etcd does not start"
}

etcd_failed() {
    tail -n 20 etcd.log >&2
    fail "$1"
}

configure() {
    local client=https://127.0.0.1:$1
    peer=https://127.0.0.1:$2
    local security='{cert-file: server.crt, key-file: server.key, trusted-ca-file: ca.crt, client-cert-auth: true}'
    cat >etcd.yaml <<END
name: demo
data-dir: data
listen-client-urls: $client
advertise-client-urls: $client
client-transport-security: $security
listen-peer-urls: $peer
initial-advertise-peer-urls: $peer
initial-cluster: demo=$peer
peer-transport-security: $security
logger: zap
END
    run "export ETCDCTL_ENDPOINTS=$client ETCDCTL_CACERT=ca.crt ETCDCTL_CERT=client.crt ETCDCTL_KEY=client.key"
}

# Below the ports that the kernel gives to outgoing connections.
free_port() {
    local port=0
    while ((port == 0)) || (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((10000 + RANDOM % 20000))
    done
    echo "$port"
}

start_etcd() {
    say "etcd --config-file etcd.yaml >>etcd.log 2>&1 &"
    etcd --config-file etcd.yaml >>etcd.log 2>&1 &
    etcd=$!
    local deadline=$((SECONDS + 60))
    until etcdctl endpoint health >health.log 2>&1; do
        if ! kill -0 "$etcd" 2>/dev/null; then etcd= && return 1; fi
        ((SECONDS < deadline)) || return 1
        sleep 0.2
    done
}

stop_etcd() {
    local pid=$etcd tries
    etcd=
    run "kill $pid"
    for ((tries = 0; tries < 300; tries++)); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid"
    fail "etcd did not end when asked to"
}

# Objects as the API server keeps them. Some are updated, some deleted again; some Secrets are big.
fill() {
    local first i
    for ((first = 0; first < OBJECTS; first += BATCH)); do
        objects "$first" 1 "$BATCH" | etcdctl txn >/dev/null
    done
    objects 0 2 "$BATCH" | etcdctl txn >/dev/null
    etcdctl del --prefix /registry/pods/ns-3/ >/dev/null
    for i in {1..8}; do
        head -c 262144 /dev/urandom | etcdctl put "/registry/secrets/ns-1/big-$i" >/dev/null
    done
}

# A transaction that puts COUNT objects: etcdctl wants conditions, what to do, and what to do otherwise,
# an empty line after each. \x00 and the like in a value are bytes.
objects() {
    awk -v first="$1" -v generation="$2" -v count="$3" '
        BEGIN {
            split("pods configmaps secrets leases events", kinds)
            srand(first + generation)
            print ""
            for (i = first; i < first + count; i++) {
                kind = kinds[i % 5 + 1]
                noise = ""
                while (length(noise) < 400) noise = noise sprintf("%06x", rand() * 16777216)
                printf "put /registry/%s/ns-%d/object-%05d \"k8s\\x00\\n%s object-%05d generation %d %s\"\n",
                    kind, i % 7, i, kind, i, generation, noise
            }
            print "\n"
        }'
}

# What a controller does all day: an event appears, a lease is renewed, an old event goes.
keep_writing() {
    local n=0
    while [[ ! -e enough ]]; do
        printf '\nput /registry/events/ns-0/live-%d seen\nput /registry/leases/kube-node-lease/node-0 renewed-%d\ndel /registry/events/ns-0/live-%d\n\n\n' \
            "$n" "$n" $((n - 20)) | etcdctl txn >/dev/null 2>writer.log || return
        n=$((n + 1))
    done
}

wait_beyond() {
    while (($(revision) <= $1)); do
        kill -0 "$writer" 2>/dev/null || writer_failed
        sleep 0.1
    done
}

writer_failed() {
    cat writer.log >&2
    fail "the client that keeps writing has failed"
}

stop_writer() {
    local pid=$writer
    writer=
    touch enough
    wait "$pid"
}

revision() { etcdctl get nothing -w fields | sed -n 's/^"Revision" : //p'; }

# A client that goes on watching where it was before must not miss changes in silence.
expect_compacted() {
    local command="etcdctl watch --rev $1 --prefix /registry/"
    say "$command"
    eval "timeout 20 $command" >watch.log 2>&1 || true
    grep compacted watch.log || { cat watch.log >&2 && fail "the watch was not told that the past is gone"; }
}

scene() { printf '\n# %s\n' "$*"; }

# Shows a command, and runs it in this shell.
run() {
    say "$1"
    eval "$1" || fail "exit code $?: $1"
}

say() { printf '$ %s\n' "$1"; }

fail() {
    echo "error: $*" >&2
    exit 1
}

etcd='' writer=''
finish() {
    local code=$?
    trap - INT TERM HUP
    ((code == 0)) || echo "The demo failed." >&2
    if [[ -n $writer ]]; then stop_writer || true; fi
    if [[ -n $etcd ]] && kill -0 "$etcd" 2>/dev/null; then (stop_etcd >/dev/null) || true; fi
    if [[ $keep == yes ]]; then
        echo "# The workspace stays: $work"
    else
        cd / && rm -rf "$work"
    fi
    exit "$code"
}

main "$@"
