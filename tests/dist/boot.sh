#!/bin/bash
# Boots systemd with nothing but the units of dist/systemd in namespaces of its own, on a copy of this machine's
# file system that is thrown away, installs with dist/install.sh and sees what the units do there.
#
# usage: boot.sh PROGRAM ETCD PKI OUT      OUT gets report, a line for each thing seen, what the program wrote at
#                                          each step, and log, for people
#
# PROGRAM is a file; ETCD is a directory with etcd and etcdctl; PKI has ca.crt, and server and
# healthcheck-client as .crt and .key. Needs root, a cgroup v2 hierarchy (also beside v1) and overlayfs. Touches
# nothing outside of its namespaces but OUT and a cgroup, which it removes; ends by itself.
set -euo pipefail

readonly PROBE_SECONDS=90
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

outside() {
    local cgroup name
    cgroup=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
    [[ -n $cgroup ]] || { echo "error: no cgroup v2 hierarchy is mounted" >&2; exit 1; }
    cgroup=$cgroup/etcd-rescue-test-$$
    for name in "${cgroup%-*}"-*; do # of runs that were killed
        if [[ -e $name && ! -e /proc/${name##*-} ]]; then find "$name" -depth -type d -exec rmdir {} + || true; fi
    done
    mkdir "$cgroup"
    # The end of this process ends unshare, that the namespace's first process, and that all in it.
    (
        echo "$BASHPID" >"$cgroup/cgroup.procs"
        exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --cgroup --uts --ipc --net \
            --propagation private bash "$here/boot.sh" inside "$@"
    ) &
    local unshare=$!
    for ((tenths = 0; tenths < PROBE_SECONDS * 10; tenths++)); do
        if [[ -e $4/ended ]] || ! kill -0 "$unshare" 2>/dev/null; then break; fi
        sleep 0.1
    done
    kill -KILL "$unshare" 2>/dev/null || true # there is nothing to shut down
    { wait "$unshare" || true; } 2>/dev/null
    for _ in {1..50}; do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [[ -e $cgroup ]] || break
        sleep 0.1
    done
    [[ -e $4/done ]] || { cat "$4/report" "$4/log" "$4/kmsg" >&2; echo "error: it did not come to its end" >&2; exit 1; }
}

# The first process of the namespaces: makes the node, and becomes its systemd.
inside() {
    local program=$1 etcd=$2 pki=$3 out=$4 top=$4/top root=$4/top/root name major minor
    mkdir "$top"
    mount -t tmpfs tmpfs "$top"
    mkdir "$top/upper" "$top/work" "$root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$root"
    # What is global to the kernel can be read and not changed.
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    for name in run tmp dev var/lib; do mount -t tmpfs -o mode=755 tmpfs "$root/$name"; done
    chmod 1777 "$root/tmp"
    while read -r name major minor; do
        mknod -m 666 "$root/dev/$name" c "$major" "$minor"
    done <<<$'null 1 3\nzero 1 5\nfull 1 7\nrandom 1 8\nurandom 1 9\ntty 5 0'
    mkdir "$root/dev/pts" "$root/dev/shm"
    mount -t devpts -o newinstance devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    touch "$root/dev/kmsg" "$root/dev/console" # systemd's log goes here
    ip link set lo up

    # None of this machine's own units: a target that does nothing in the place of each that is needed.
    local units=$root/etc/systemd/system
    rm -rf "$units" "$root/etc/kubernetes" "$root/etc/etcd-rescue" "$root/usr/local/bin"
    mkdir -p "$units" "$root/etc/kubernetes/manifests" "$root/etc/kubernetes/pki" "$root/usr/local/bin" \
        "$root/var/lib/node_exporter" "$root/inputs"
    for name in basic sysinit shutdown umount local-fs network-online time-sync timers; do
        printf '[Unit]\nDescription=%s\n' "$name" >"$units/$name.target"
    done
    cat >"$units/probe.service" <<END
[Service]
Type=oneshot
ExecStart=/bin/bash $here/boot.sh probe $here
END
    # A kubeadm node, as far as backups are concerned.
    cp -r "$pki" "$root/etc/kubernetes/pki/etcd"
    chmod 600 "$root"/etc/kubernetes/pki/etcd/*.key
    cat >"$root/etc/kubernetes/manifests/etcd.yaml" <<'END'
    - --listen-client-urls=https://127.0.0.1:2379
    - --trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt
END
    cp "$etcd/etcd" "$etcd/etcdctl" "$root/inputs/"
    "$here/../../dist/install.sh" --root "$root" --systemd --yes --binary "$program" >"$out/installed"

    mkdir "$root/out"
    mount --bind "$out" "$root/out"
    cd "$root"
    mkdir tmp/old
    pivot_root . tmp/old
    # Namespaces of units hang on shared propagation; whoever starts a container sees to it.
    exec env -i container=lxc SYSTEMD_UNIT_PATH=/etc/systemd/system PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        chroot . /bin/sh -c 'umount -l /tmp/old; mount --make-rshared /
            exec /lib/systemd/systemd --system --unit=probe.service --log-target=kmsg --log-level=info' \
        </dev/null >/dev/null 2>&1
}

# A unit under the booted systemd: sees, and says so in /out/report.
probe() {
    exec >/out/log 2>&1
    set -x
    trap 'cp /dev/kmsg /out/kmsg; touch /out/ended' EXIT
    local here=$1 units=/etc/systemd/system settings=/etc/etcd-rescue/backup.env unit
    # Confined as the unit is, before each run; and all that is said, by the program too.
    for unit in backup check; do
        mkdir -p $units/etcd-rescue-$unit.service.d
        cat >$units/etcd-rescue-$unit.service.d/50-confinement.conf <<'END'
[Service]
ExecStartPre=/bin/sh -c 'id -u; sed -n s/CapEff:.//p /proc/self/status; for f in /etc /usr/local/bin /tmp /var/lib /var/lib/etcd-rescue /var/lib/node_exporter; do if touch $f/probe 2>/dev/null; then echo "may write $f"; rm $f/probe; fi; done'
StandardOutput=append:/out/said
END
    done
    mkdir $units/etcd-rescue-failed@.service.d
    printf '[Service]\nStandardOutput=append:/out/word\n' >$units/etcd-rescue-failed@.service.d/50-word.conf
    cat >$units/etcd.service <<'END'
[Service]
Type=notify
ExecStart=/inputs/etcd --data-dir /var/lib/etcd --listen-client-urls https://127.0.0.1:2379 \
    --advertise-client-urls https://127.0.0.1:2379 --client-cert-auth --trusted-ca-file /etc/kubernetes/pki/etcd/ca.crt \
    --cert-file /etc/kubernetes/pki/etcd/server.crt --key-file /etc/kubernetes/pki/etcd/server.key
END
    systemctl daemon-reload
    systemctl start etcd.service
    # An empty etcd would be a suspicious one.
    # shellcheck source=/dev/null
    (set -a && . $settings && /inputs/etcdctl put /registry/configmaps/default/first value)
    # All of them are made within an hour, of which one would stay.
    sed -i 's/--keep-hourly/--keep-last 9 &/' $settings

    try first backup
    try second backup
    try green check

    # As the example's head says.
    install -D -m 644 "$here/../../dist/systemd/credentials.conf.example" \
        $units/etcd-rescue-backup.service.d/credentials.conf
    printf '[Service]\nDynamicUser=yes\nUser=etcd-rescue\n' >$units/etcd-rescue-check.service.d/credentials.conf
    sed -i '/^ETCDCTL_CACERT\|^ETCDCTL_CERT\|^ETCDCTL_KEY/d' $settings
    chgrp daemon /var/lib/node_exporter
    chmod g+w /var/lib/node_exporter
    printf 'SupplementaryGroups=daemon\n' >>$units/etcd-rescue-backup.service.d/credentials.conf
    systemctl daemon-reload
    try credentials backup

    systemctl stop etcd.service
    try unreachable backup
    rot
    sed -i 's/--sample 2/--sample 3/' $settings
    try rotten check
    sed -i 's/--max-age 4h/--max-age 1ms/' $settings
    try old check

    # What install.sh says is to be typed next, except for the backup, which was the first; no journal runs here.
    sed -n '/^Installed/,$s/^  \([^#]\)/\1/p' /out/installed >/out/next
    while read -r line; do
        case $line in
            "systemctl start etcd-rescue-backup.service" | journalctl*) said "next: $line" ;;
            *) if bash -c "$line"; then said "next: did $line"; else said "next: failed: $line"; fi ;;
        esac
    done </out/next
    for unit in etcd-rescue-backup.timer etcd-rescue-check.timer; do
        said "$unit: $(value ActiveState "$unit")"
    done
    touch /out/done
}

# Runs a service, and says what came of it; what the program wrote goes to /out/NAME.
try() {
    local name=$1 unit=etcd-rescue-$2.service failures
    failures=$(words)
    : >/out/said
    systemctl start "$unit" || true
    said "$name: $(value Result "$unit"), exit code $(value ExecMainStatus "$unit")"
    while read -r line; do said "$name: $line"; done </out/said
    # The word of a failure is started after the job has ended.
    if [[ $(value Result "$unit") != success ]]; then
        for _ in {1..100}; do
            if (($(words) > failures)); then break; fi
            sleep 0.1
        done
    fi
    said "$name: $(($(words) - failures)) words of failure"
    mkdir "/out/$name"
    /usr/local/bin/etcd-rescue list -w json /var/lib/etcd-rescue/backups >"/out/$name/list.json"
    cp /var/lib/etcd-rescue/report.json /var/lib/node_exporter/etcd_rescue.prom "/out/$name/"
}

# Another byte in the middle of one backup.
rot() {
    local file
    file=$(find /var/lib/etcd-rescue/backups/ -name '*.db.zst' -print -quit)
    printf '\377' | dd of="$file" bs=1 seek=$(($(stat -c %s "$file") / 4)) conv=notrunc
}

words() { if [[ -e /out/word ]]; then wc -l </out/word; else echo 0; fi; }
value() { systemctl show --value -p "$1" "$2"; }
said() { echo "$*" >>/out/report; }

case ${1:-} in
    inside | probe) "$@" ;;
    *)
        [[ $# == 4 ]] || { sed -n 's/^# usage: /usage: /p' "${BASH_SOURCE[0]}" >&2; exit 2; }
        outside "$@"
        ;;
esac
