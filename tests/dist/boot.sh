#!/bin/bash
# Boots systemd with nothing but the units of dist/systemd in namespaces of its own, on a copy of this machine's
# file system that is thrown away, installs with dist/install.sh and sees what the units do there.
#
# usage: boot.sh PROGRAM ETCD PKI OUT      OUT gets report, a line for each thing seen, and log, for people
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
        if [[ -e $4/done ]] || ! kill -0 "$unshare" 2>/dev/null; then break; fi
        sleep 0.1
    done
    kill -KILL "$unshare" 2>/dev/null || true # there is nothing to shut down
    { wait "$unshare" || true; } 2>/dev/null
    for _ in {1..50}; do
        find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
        [[ -e $cgroup ]] || break
        sleep 0.1
    done
    [[ -e $4/done ]] || { cat "$4"/* >&2; echo "error: it did not come to its end" >&2; exit 1; }
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
    cp "$program" "$root/inputs/etcd-rescue"
    cp "$etcd/etcd" "$etcd/etcdctl" "$root/inputs/"
    stand_in >"$root/inputs/stand-in"
    "$here/../../dist/install.sh" --root "$root" --systemd --yes --binary "$(choose "$root/inputs")"

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

# The program itself; as long as it has no `backup`, a stand-in that makes one file by `save`.
choose() { if "$1/etcd-rescue" help backup >/dev/null 2>&1; then echo "$1/etcd-rescue"; else echo "$1/stand-in"; fi; }

stand_in() {
    cat <<'END'
#!/bin/sh
[ "$1" = backup ] || exit 0
exec /inputs/etcd-rescue save "$2/snapshot-$$.db"
END
}

# A unit under the booted systemd: sees, and says so in /out/report.
probe() {
    exec >/out/log 2>&1
    set -x
    local here=$1 drop_ins=/etc/systemd/system/etcd-rescue-backup.service.d
    # Confined as the unit is, before each run.
    mkdir -p "$drop_ins"
    cat >"$drop_ins/50-confinement.conf" <<'END'
[Service]
ExecStartPre=/bin/sh -c 'id -u; sed -n s/CapEff:.//p /proc/self/status; for f in /etc /usr/local/bin /tmp /var/lib /var/lib/etcd-rescue /var/lib/node_exporter; do if touch $f/probe; then echo "may write $f"; rm $f/probe; fi; done'
StandardOutput=append:/out/confinement
END
    cat >/etc/systemd/system/etcd.service <<'END'
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
    (set -a && . /etc/etcd-rescue/backup.env && /inputs/etcdctl put /registry/configmaps/default/first value)
    run_backup "as installed"
    cp /var/lib/node_exporter/*.prom /out/ || true # the stand-in writes none

    install -D -m 644 "$here/../../dist/systemd/credentials.conf.example" "$drop_ins/credentials.conf"
    sed -i '/^ETCDCTL_CACERT\|^ETCDCTL_CERT\|^ETCDCTL_KEY/d' /etc/etcd-rescue/backup.env
    # Whoever runs node_exporter has let this user write there.
    chmod 1777 /var/lib/node_exporter
    systemctl daemon-reload
    run_backup "with credentials"

    systemctl stop etcd.service
    run_backup "without etcd"
    for _ in {1..50}; do
        if grep -q 'Finished etcd-rescue-failed@' /dev/kmsg; then break; fi
        sleep 0.1
    done
    said "word of it: $(grep -c 'Finished etcd-rescue-failed@etcd-rescue-backup.service' /dev/kmsg) times"
    for timer in etcd-rescue-backup.timer etcd-rescue-check.timer; do
        systemctl start "$timer"
        said "$timer: $(value ActiveState "$timer")"
    done
    cat /dev/kmsg >/out/kmsg
    touch /out/done
}

run_backup() {
    : >/out/confinement
    systemctl start etcd-rescue-backup.service || true
    said "$1: $(value Result etcd-rescue-backup.service), $(find /var/lib/etcd-rescue/backups/ -type f -name '*.db*' | wc -l) backups"
    grep -x '[0-9]*\|may write .*' /out/confinement | while read -r line; do said "$1: $line"; done
}

value() { systemctl show --value -p "$1" "$2"; }
said() { echo "$*" >>/out/report; }

case ${1:-} in
    inside | probe) "$@" ;;
    *)
        [[ $# == 4 ]] || { sed -n 's/^# usage: /usage: /p' "${BASH_SOURCE[0]}" >&2; exit 2; }
        outside "$@"
        ;;
esac
