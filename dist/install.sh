#!/bin/sh
# Installs etcd-rescue on a node of a cluster, with hourly backups of the etcd that it finds there.
#
# usage: install.sh [--dry-run | --yes] [--root DIR] [--binary FILE] [--systemd | --cron]
#                   [--layout kubeadm|k3s|rke2|etcd] [--metrics-dir DIR]
#                   [--endpoints LIST [--cacert FILE] [--cert FILE] [--key FILE]]
#        install.sh --uninstall [--dry-run | --yes] [--root DIR]
#
# Shows what it would change and asks before it changes anything.
#
#   --dry-run          only show it
#   --yes              do not ask; without a terminal to ask on, nothing is done unless this is given
#   --uninstall        remove what this script installed, and put back what it moved aside; never a backup,
#                      nor a file that was changed since
#   --root DIR         the node's file system is mounted here; nothing is started
#   --binary FILE      without it: etcd-rescue or etcd-rescue-ARCH beside this script, or what dist/build.sh made
#   --systemd, --cron  without them: units where there is systemd, else lines for /etc/cron.d
#   --layout NAME      what to look for; without it all of them
#   --endpoints LIST   how to reach etcd, instead of looking for it; with --cacert, --cert and --key as needed
#   --metrics-dir DIR  where node_exporter looks for *.prom; without it the usual places
#
# Exit codes: 0 done, 1 failed, 2 wrong usage, 4 refused. Run again, it changes only what differs.
# Needs systemd/, cron/ and layouts.sh beside it, a POSIX shell, and coreutils or busybox. Tried in made-up trees,
# one of them then booted (tests/dist/boot.sh). Its own calls of systemctl were tried with a stand-in alone.
set -eu
umask 022

here=$(cd "$(dirname "$0")" && pwd)
readonly BACKUPS=/var/lib/etcd-rescue/backups CONFIG=/etc/etcd-rescue/backup.env RECORD=/etc/etcd-rescue/installed
readonly PROGRAM=/usr/local/bin/etcd-rescue UNITS=/etc/systemd/system CRON=/etc/cron.d/etcd-rescue
readonly ASIDE=before-etcd-rescue
readonly KEEP='--keep-hourly 24 --keep-daily 7 --keep-weekly 5 --keep-monthly 12'

# shellcheck source=dist/layouts.sh
. "$here/layouts.sh"

main() {
    arguments "$@"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # What should be there in the end, as a tree; what to do about it, a line each.
    want=$work/want plan=$work/plan
    mkdir "$want"
    : >"$plan"
    : >"$work/keep"

    if [ "$uninstall" = yes ]; then
        plan_removal
    else
        find_etcd
        find_metrics
        find_scheduler
        stage
        plan_changes
    fi
    show
    if [ ! -s "$plan" ]; then
        say "Nothing to change."
        return
    fi
    say ""
    if [ "$dry_run" = yes ]; then
        say "Nothing was changed: this is what it would do without --dry-run."
        return
    fi
    ask
    apply
}

arguments() {
    dry_run=no yes=no uninstall=no root='' binary='' scheduler='' layout=''
    endpoints='' cacert='' cert='' key='' metrics=''
    while [ $# -gt 0 ]; do
        case $1 in
            --dry-run) dry_run=yes ;;
            --yes) yes=yes ;;
            --uninstall) uninstall=yes ;;
            --systemd) scheduler=systemd ;;
            --cron) scheduler=cron ;;
            --root | --binary | --layout | --endpoints | --cacert | --cert | --key | --metrics-dir)
                [ -n "${2:-}" ] || usage "$1 needs a value"
                case $1 in
                    --root) root=$(cd "$2" 2>/dev/null && pwd) || usage "--root $2: no such directory" ;;
                    --binary) binary=$2 ;;
                    --layout) layout=$2 ;;
                    --endpoints) endpoints=$2 ;;
                    --cacert) cacert=$2 ;;
                    --cert) cert=$2 ;;
                    --key) key=$2 ;;
                    --metrics-dir) metrics=$2 ;;
                esac
                shift
                ;;
            -h | --help) sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" && exit 0 ;;
            *) usage "unknown argument '$1'" ;;
        esac
        shift
    done
    case $layout in '' | kubeadm | k3s | rke2 | etcd) ;; *) usage "unknown layout '$layout'" ;; esac
    if [ -z "$endpoints" ] && [ -n "$cacert$cert$key" ]; then usage "--cacert, --cert and --key need --endpoints"; fi
    [ "$root" != / ] || root=
    if [ -z "$root" ] && [ "$dry_run" = no ] && [ "$(id -u)" != 0 ]; then
        die "only root can do this" "run it with sudo, or see what it would do: $0 --dry-run"
    fi
}

# --- What is on this node: see also layouts.sh -------------------------------------------------------

find_metrics() {
    plain "$metrics"
    if [ -n "$metrics" ]; then
        [ -d "$root$metrics" ] || die "--metrics-dir: there is no directory $root$metrics"
        return
    fi
    for dir in /var/lib/prometheus/node-exporter /var/lib/node_exporter/textfile_collector /var/lib/node_exporter; do
        if [ -d "$root$dir" ]; then metrics=$dir && return; fi
    done
}

find_scheduler() {
    if [ -n "$scheduler" ]; then return; fi
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then
        scheduler=systemd
    elif [ -n "$root" ] && { [ -e "$root/lib/systemd/systemd" ] || [ -e "$root/usr/lib/systemd/systemd" ]; }; then
        scheduler=systemd
    elif [ -d "$root/etc/cron.d" ]; then
        scheduler=cron
    else
        die "neither systemd nor /etc/cron.d is here" \
            "choose with --systemd or --cron; dist/cron/etcd-rescue has the lines for another cron"
    fi
}

# --- What should be there ----------------------------------------------------------------------------

stage() {
    find_binary
    put 755 "$PROGRAM" <"$binary"
    configuration | put 600 "$CONFIG"
    if [ "$scheduler" = cron ]; then
        put 644 "$CRON" <"$here/cron/etcd-rescue"
        # systemd makes it from StateDirectory=.
        directory 700 /var/lib/etcd-rescue
        directory 700 "$BACKUPS"
        return
    fi
    for unit in etcd-rescue-backup.service etcd-rescue-backup.timer etcd-rescue-check.service \
        etcd-rescue-check.timer etcd-rescue-failed@.service; do
        put 644 "$UNITS/$unit" <"$here/systemd/$unit"
    done
    drop_in >"$work/drop-in"
    if [ -s "$work/drop-in" ]; then put 644 "$UNITS/etcd-rescue-backup.service.d/install.conf" <"$work/drop-in"; fi
    for timer in etcd-rescue-backup.timer etcd-rescue-check.timer; do # as systemctl enable does
        mkdir -p "$want$UNITS/timers.target.wants"
        ln -s "$UNITS/$timer" "$want$UNITS/timers.target.wants/$timer"
    done
}

find_binary() {
    if [ -z "$binary" ]; then
        arch=$(uname -m)
        for file in "$here/etcd-rescue" "$here/etcd-rescue-$arch" "$here/../target/dist/etcd-rescue-$arch"; do
            if [ -f "$file" ]; then binary=$file && break; fi
        done
        [ -n "$binary" ] || die "no etcd-rescue beside this script" "give it with --binary, or build it: dist/build.sh"
    fi
    [ -f "$binary" ] || usage "--binary $binary: no such file"
    # With --root it may be meant for another kind of machine, else it has to run here.
    [ -n "$root" ] || "$binary" version >/dev/null || die "$binary does not run on this machine"
}

configuration() {
    cat <<END
# How etcd-rescue takes backups on this node. Yours to change: install.sh writes it once, from
# $found, and leaves it alone when it was changed.
# systemd and sh (cron) both read it: NAME='value', one a line, nothing that either would expand.

# Where etcd is, and as whom to speak to it. With ETCDCTL_USER, the password: ETCDCTL_PASSWORD.
ETCDCTL_ENDPOINTS=$(quoted "$endpoints")
END
    [ -z "$cacert" ] || echo "ETCDCTL_CACERT=$(quoted "$cacert")"
    [ -z "$cert" ] || echo "ETCDCTL_CERT=$(quoted "$cert")"
    [ -z "$key" ] || echo "ETCDCTL_KEY=$(quoted "$key")"
    cat <<END

# More flags of \`etcd-rescue backup\`, split at spaces: what is kept, where metrics go.
ETCD_RESCUE_BACKUP_FLAGS=$(quoted "$KEEP${metrics:+ --metrics $metrics/etcd_rescue.prom}")
# And of \`etcd-rescue check\`: hourly backups, so four hours without one are too long.
ETCD_RESCUE_CHECK_FLAGS='--max-age 4h --sample 2'
END
}

# For systemd and for sh alike; see plain.
quoted() { echo "'$1'"; }

# What the unit cannot do as it is: uid 0 without capabilities, two places for metrics.
drop_in() {
    capability=
    for file in "$cacert" "$cert" "$key"; do
        if [ -n "$file" ] && ! root_may r "$file"; then capability=CAP_DAC_READ_SEARCH; fi
    done
    if [ -n "$metrics" ] && ! root_may w "$metrics"; then capability=CAP_DAC_OVERRIDE; fi
    outside=
    case $metrics/ in / | /var/lib/prometheus/node-exporter/* | /var/lib/node_exporter/*) ;; *) outside=$metrics ;; esac
    [ -n "$capability$outside" ] || return 0
    echo "# Written by install.sh for what it found on this node."
    echo "[Service]"
    if [ -n "$outside" ]; then echo "ReadWritePaths=$outside"; fi
    case $capability in
        CAP_DAC_READ_SEARCH) echo "# The keys are not root's." ;;
        CAP_DAC_OVERRIDE) echo "# $metrics is not root's." ;;
    esac
    if [ -n "$capability" ]; then echo "CapabilityBoundingSet=$capability"; fi
}

# Whether uid 0 and gid 0 may read (or write) there without a capability.
root_may() {
    path=$2 bits=$1
    if [ "$bits" = w ] && ! permits wx "$path"; then return 1; fi
    if [ "$bits" = r ] && ! permits r "$path"; then return 1; fi
    while [ "$path" != / ] && [ "$path" != . ]; do
        path=$(dirname "$path")
        permits x "$path" || return 1
    done
}

permits() {
    set -- "$1" "$(stat -L -c '%u %g %a' "$root$2")"
    # shellcheck disable=SC2086  # three words
    set -- "$1" $2
    mode=$((0$4))
    if [ "$2" = 0 ]; then mode=$((mode >> 6)); elif [ "$3" = 0 ]; then mode=$((mode >> 3)); fi
    case $1 in
        r) [ $((mode & 4)) -ne 0 ] ;;
        x) [ $((mode & 1)) -ne 0 ] ;;
        wx) [ $((mode & 3)) -eq 3 ] ;;
    esac
}

# Puts standard input into the wanted tree.
put() {
    mkdir -p "$want$(dirname "$2")"
    cat >"$want$2"
    chmod "$1" "$want$2"
}

directory() {
    mkdir -p "$want$2"
    chmod "$1" "$want$2"
}

# --- What to do about it -----------------------------------------------------------------------------

# A line of the plan: what to do, and with which path. A line of the record: dir, file, link or aside,
# its checksum or target, its path; only what this script made is in it.
todo() { printf '%s\t%s\n' "$1" "$2" >>"$plan"; }

recorded() {
    [ -f "$root$RECORD" ] && awk -F '\t' -v kind="$1" -v path="$2" \
        '$1 == kind && $3 == path { print $2; found = 1; exit } END { exit !found }' "$root$RECORD"
}

each_recorded() { if [ -f "$root$RECORD" ]; then awk -F '\t' -v kind="$1" '$1 == kind { print $3 }' "$root$RECORD"; fi; }

sum() { sha256sum <"$1" | cut -d ' ' -f 1; }

exists() { [ -e "$root$1" ] || [ -L "$root$1" ]; }

# Whether there is still what was installed, to the byte.
untouched() {
    if [ -L "$root$1" ]; then
        [ "$(recorded link "$1")" = "$(readlink "$root$1")" ]
    else
        [ -f "$root$1" ] && [ "$(recorded file "$1")" = "$(sum "$root$1")" ]
    fi
}

same() {
    if [ -L "$want$1" ]; then
        [ -L "$root$1" ] && [ "$(readlink "$want$1")" = "$(readlink "$root$1")" ]
    else
        [ ! -L "$root$1" ] && [ -f "$root$1" ] && cmp -s "$want$1" "$root$1" &&
            [ "$(stat -c %a "$want$1")" = "$(stat -c %a "$root$1")" ]
    fi
}

wanted() { (cd "$want" && find . "$@" | sed 's,^\.,,' | sort); }

plan_changes() {
    for path in $(wanted -type d ! -name .); do
        if [ ! -d "$root$path" ]; then todo mkdir "$path"; fi
    done
    for path in $(wanted ! -type d); do
        if ! exists "$path"; then
            todo create "$path"
        elif same "$path"; then
            :
        elif untouched "$path"; then
            todo update "$path"
        elif [ "$path" = "$CONFIG" ]; then
            echo "$path" >>"$work/keep"
        elif exists "$path.$ASIDE"; then
            die "$root$path is not what this script installed, and $root$path.$ASIDE is there already" \
                "look at both, and move the second one away"
        else
            todo aside "$path"
        fi
    done
    # From an earlier run, such as the cron lines of a node that has systemd now.
    for path in $(each_recorded link) $(each_recorded file); do
        if [ ! -e "$want$path" ] && [ ! -L "$want$path" ] && untouched "$path"; then
            todo remove "$path"
            put_back "$path"
        fi
    done
}

plan_removal() {
    [ -f "$root$RECORD" ] || die "there is no $root$RECORD: this script has installed nothing here"
    for path in $(each_recorded link) $(each_recorded file); do
        if ! exists "$path"; then
            :
        elif untouched "$path"; then
            todo remove "$path"
        else
            echo "$path" >>"$work/keep"
            continue
        fi
        put_back "$path"
    done
    todo remove "$RECORD"
    # The deepest first; rmdir, so that nothing that lies in them can go.
    for path in $(each_recorded dir | sort -r); do todo rmdir "$path"; done
}

put_back() {
    if recorded aside "$1" >/dev/null && exists "$1.$ASIDE"; then todo "put back" "$1"; fi
}

show() {
    if [ "$uninstall" = no ]; then
        say "Found etcd by $found:"
        say "  endpoints     $endpoints"
        if [ -n "$cacert" ]; then say "  CA            $cacert"; fi
        if [ -n "$cert" ]; then say "  certificate   $cert"; fi
        say "  backups       $BACKUPS, hourly by $scheduler"
        say "  metrics       ${metrics:-none: found no directory of node_exporter; see --metrics-dir}"
        say ""
    fi
    while read -r path; do say "keep       $root$path: it was changed since, or is not of this script"; done <"$work/keep"
    if [ -s "$plan" ]; then say "To do${root:+, in $root}:"; fi
    awk -F '\t' '$1 == "mkdir" { print $2 }' "$plan" >"$work/mkdir"
    while IFS="$(printf '\t')" read -r action path; do
        name=$(printf '%-10s' "$action")
        case $action in
            # One line for a directory and those above it that are missing, too.
            mkdir) if ! grep -q "^$path/" "$work/mkdir"; then say "$name $root$path/"; fi ;;
            aside) say "replace    $root$path; what is there is moved to $path.$ASIDE" ;;
            rmdir) say "$name $root$path, if it is empty" ;;
            create | update)
                if [ -L "$want$path" ]; then path="$path -> $(readlink "$want$path")"; fi
                say "$name $root$path"
                ;;
            *) say "$name $root$path" ;;
        esac
        # Text is shown; the rest of what is installed is as it is beside this script.
        case $action:$path in
            create:"$CONFIG" | update:"$CONFIG" | create:*/install.conf | update:*/install.conf)
                sed 's/^/               | /' "$want$path" ;;
        esac
    done <"$plan"
    if [ "$uninstall" = no ] && [ "$scheduler" = systemd ] && [ -z "$root" ] && [ -s "$plan" ]; then
        say "run        systemctl daemon-reload, and start both timers"
    fi
}

ask() {
    if [ "$yes" = yes ]; then return; fi
    if [ ! -t 0 ]; then
        echo "error: there is no terminal to ask on, so nothing was changed" >&2
        echo "hint: --yes says that all of the above is right" >&2
        exit 4
    fi
    printf 'Do this? [y/N] '
    read -r answer || answer=
    case $answer in
        y | Y | yes) ;;
        *)
            say "Nothing was changed."
            exit 4
            ;;
    esac
}

apply() {
    live=no
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then live=yes; fi
    if [ "$live" = yes ] && [ "$uninstall" = yes ] && recorded file "$UNITS/etcd-rescue-backup.timer" >/dev/null; then
        systemctl stop etcd-rescue-backup.timer etcd-rescue-check.timer || say "systemctl could not stop the timers"
    fi
    if [ "$uninstall" = no ]; then record; fi
    while IFS="$(printf '\t')" read -r action path; do
        case $action in
            mkdir) [ -d "$root$path" ] || mkdir -m "$(stat -c %a "$want$path")" "$root$path" ;;
            create | update) place "$path" ;;
            aside) mv "$root$path" "$root$path.$ASIDE" && place "$path" ;;
            remove) rm "$root$path" ;;
            "put back") mv "$root$path.$ASIDE" "$root$path" ;;
            rmdir) rmdir "$root$path" 2>/dev/null || [ ! -d "$root$path" ] || say "$root$path is not empty, and stays" ;;
        esac
    done <"$plan"
    if [ "$live" = yes ] && { [ "$scheduler" = systemd ] || [ "$uninstall" = yes ]; }; then
        systemctl daemon-reload
        if [ "$uninstall" = no ]; then systemctl restart etcd-rescue-backup.timer etcd-rescue-check.timer; fi
    fi
    farewell
}

# Under another name first: a run that begins meanwhile finds the old program or the new one.
place() {
    rm -f "$root$1.etcd-rescue-new"
    cp -P -p "$want$1" "$root$1.etcd-rescue-new"
    if [ "$(id -u)" = 0 ]; then chown -h 0:0 "$root$1.etcd-rescue-new"; fi
    mv -f "$root$1.etcd-rescue-new" "$root$1"
}

# Written before anything is changed: what is interrupted can still be undone.
record() {
    {
        for path in $(wanted -type d ! -name .); do
            if [ ! -d "$root$path" ] || recorded dir "$path" >/dev/null; then printf 'dir\t-\t%s\n' "$path"; fi
        done
        for path in $(wanted ! -type d); do
            # Neither what somebody else put there, nor what was left as it is.
            if grep -qxF "$path" "$work/keep"; then
                if old=$(recorded file "$path"); then printf 'file\t%s\t%s\n' "$old" "$path"; fi
                continue
            fi
            if exists "$path" && same "$path" && ! untouched "$path"; then continue; fi
            if [ -L "$want$path" ]; then
                printf 'link\t%s\t%s\n' "$(readlink "$want$path")" "$path"
            else
                printf 'file\t%s\t%s\n' "$(sum "$want$path")" "$path"
            fi
            if recorded aside "$path" >/dev/null || grep -qxF "aside	$path" "$plan"; then
                printf 'aside\t-\t%s\n' "$path"
            fi
        done
        # Directories of an earlier run that this one has no use for.
        each_recorded dir | while read -r path; do
            if [ ! -d "$want$path" ]; then printf 'dir\t-\t%s\n' "$path"; fi
        done
    } >"$work/record"
    dir=$root$(dirname "$RECORD")
    [ -d "$dir" ] || mkdir -p "$dir"
    cp "$work/record" "$root$RECORD.new"
    chmod 644 "$root$RECORD.new"
    mv "$root$RECORD.new" "$root$RECORD"
}

farewell() {
    if [ "$uninstall" = yes ]; then
        say "Removed. Backups, if there are any, are still in $root$BACKUPS."
        return
    fi
    say "Installed. What to type next${root:+, on the node that has $root}:"
    say ""
    if [ "$scheduler" = systemd ]; then
        if [ "$live" = no ]; then
            next "start the timers" "systemctl daemon-reload && systemctl start etcd-rescue-backup.timer etcd-rescue-check.timer"
        fi
        next "take the first backup now" "systemctl start etcd-rescue-backup.service"
    else
        # As cron will, and in a shell of its own: what it sets does not stay behind.
        next "take the first backup now" "($(sed -n "s/^[^ ]* \* \* \* \* root \(.* backup .*\)/\1/p" "$here/cron/etcd-rescue"))"
    fi
    next "see what is there" "$PROGRAM list $BACKUPS"
    if [ "$scheduler" = systemd ]; then
        next "see what runs said; /var/lib/etcd-rescue/report.json has all of the last one" \
            "journalctl -u etcd-rescue-backup.service -n 30"
        next "see when the next one is" "systemctl list-timers 'etcd-rescue-*'"
    else
        next "see what the last run did; what goes wrong is mailed to root, too" "cat /var/lib/etcd-rescue/report.json"
    fi
    if [ -n "$metrics" ]; then next "see what Prometheus will read" "cat $metrics/etcd_rescue.prom"; fi
}

# A command, and what it is for.
next() {
    say "  # $1"
    say "  $2"
}

say() { printf '%s\n' "$*"; }

usage() {
    echo "error: $1" >&2
    echo "hint: $0 --help" >&2
    exit 2
}

die() {
    echo "error: $1" >&2
    if [ $# -gt 1 ]; then echo "hint: $2" >&2; fi
    exit 1
}

main "$@"
