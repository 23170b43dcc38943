# How the etcd of this node is reached: part of install.sh, which sources it.
#
# find_etcd sets endpoints, cacert, cert and key from what lies below $root, and found to where they were found.
# It looks only for $layout if that is set, and takes endpoints and the others as they are if they were given.
# shellcheck shell=sh disable=SC2154

find_etcd() {
    if [ -n "$endpoints" ]; then
        found='the command line'
    else
        look_for_etcd
    fi
    plain "$endpoints"
    for file in "$cacert" "$cert" "$key"; do
        plain "$file"
        if [ -n "$file" ] && [ ! -f "$root$file" ]; then
            die "$found: there is no $root$file" "say how to reach etcd with --endpoints, --cacert, --cert and --key"
        fi
    done
}

look_for_etcd() {
    layouts=''
    for name in kubeadm k3s rke2; do
        if [ -z "$layout" ] || [ "$layout" = "$name" ]; then
            if "is_$name"; then layouts="$layouts $name"; fi
        fi
    done
    # A package's configuration may lie about on a node whose etcd is another one.
    if [ -z "$layouts" ] && { [ -z "$layout" ] || [ "$layout" = etcd ]; } && is_etcd; then
        layouts=' etcd'
    fi
    # shellcheck disable=SC2086  # words
    set -- $layouts
    case $# in
        0) die "found no etcd here${layout:+ of layout $layout}" \
            "say how to reach it: $0 --endpoints https://127.0.0.1:2379 --cacert FILE --cert FILE --key FILE" ;;
        1) "read_$1" ;;
        *) die "found more than one etcd here:$layouts" "choose one with --layout" ;;
    esac
}

readonly MANIFEST=/etc/kubernetes/manifests/etcd.yaml
is_kubeadm() { [ -f "$root$MANIFEST" ]; }

# The client certificate that can do least comes first: kubeadm's server.crt can also pretend to be etcd.
read_kubeadm() {
    found=$MANIFEST
    endpoints=$(endpoint "$(manifest listen-client-urls)" "$(manifest advertise-client-urls)")
    cacert=$(manifest trusted-ca-file)
    pki=$(dirname "${cacert:-/etc/kubernetes/pki/etcd/ca.crt}")
    cert=$(manifest cert-file) key=$(manifest key-file)
    for name in "$pki/healthcheck-client" "$(dirname "$pki")/apiserver-etcd-client"; do
        if [ -f "$root$name.crt" ] && [ -f "$root$name.key" ]; then
            cert=$name.crt key=$name.key
            break
        fi
    done
}

manifest() { sed -n "s/^ *- *[\"']\{0,1\}--$1=//p" "$root$MANIFEST" | tail -n 1 | tr -d "\"'"; }

# With a database of another kind (SQLite, MySQL) there is no such directory.
is_k3s() { [ -d "$root/var/lib/rancher/k3s/server/db/etcd" ]; }
is_rke2() { [ -d "$root/var/lib/rancher/rke2/server/db/etcd" ]; }
read_k3s() { rancher k3s; }
read_rke2() { rancher rke2; }

rancher() {
    found=/var/lib/rancher/$1/server
    endpoints=https://127.0.0.1:2379
    cacert=$found/tls/etcd/server-ca.crt
    cert=$found/tls/etcd/client.crt key=$found/tls/etcd/client.key
    if [ ! -f "$root$cert" ]; then
        cert=$found/tls/etcd/server-client.crt key=$found/tls/etcd/server-client.key
    fi
}

# Variables (Debian, Red Hat, kubespray) or YAML (etcd --config-file).
is_etcd() {
    for conf in /etc/etcd.env /etc/default/etcd /etc/sysconfig/etcd /etc/etcd/etcd.conf \
        /etc/etcd/etcd.conf.yml /etc/etcd/etcd.conf.yaml /etc/etcd/etcd.yml /etc/etcd/etcd.yaml; do
        if [ -f "$root$conf" ]; then return 0; fi
    done
    return 1
}

read_etcd() {
    found=$conf
    if grep -q '^ *[a-z-]*: ' "$root$conf"; then value=yaml; else value=variable; fi
    endpoints=$(variable ETCDCTL_ENDPOINTS)
    if [ -z "$endpoints" ]; then
        endpoints=$(endpoint "$($value listen-client-urls)" "$($value advertise-client-urls)")
    fi
    cacert=$(variable ETCDCTL_CACERT) cert=$(variable ETCDCTL_CERT) key=$(variable ETCDCTL_KEY)
    case $endpoints in *https://* | *unixs:*) ;; *) return 0 ;; esac
    if [ -z "$cacert" ]; then cacert=$($value trusted-ca-file); fi
    # The server's own certificate will mostly do for a client: etcd's own proxies use it so, too.
    if [ -z "$cert" ] && [ "$($value client-cert-auth)" = true ]; then
        cert=$($value cert-file) key=$($value key-file)
    fi
}

# Nothing that systemd and sh would read differently, or split.
plain() {
    case $1 in
        *[!a-zA-Z0-9._:,/@=+~[\]-]*) die "$found has what cannot be written down for both systemd and sh: $1" ;;
    esac
}

# A variable of the file, by its own name or that of etcd's flag.
variable() {
    case $1 in
        ETCDCTL_*) name=$1 ;;
        *) name=ETCD_$(echo "$1" | tr 'a-z-' 'A-Z_') ;;
    esac
    sed -n "s/^ *\(export \)\{0,1\}$name=//p" "$root$conf" | tail -n 1 | tr -d "\"'"
}

# A key of etcd's YAML: at the top, or for clients' TLS in the block of that name.
yaml() {
    awk -v key="$1" '
        /^[^ #]/ { block = $1 }
        $1 == key ":" && (/^[^ ]/ || block == "client-transport-security:") {
            sub(/^[^:]*: */, ""); sub(/ +#.*$/, ""); gsub(/["\047]/, ""); print; exit
        }' "$root$conf"
}

# Of the URLs that etcd listens on, the one on this machine; what it tells others where it listens everywhere,
# because that is what its certificate is for. Without any: etcd's default.
endpoint() {
    list=$(echo "${1:-http://localhost:2379}" | tr ',' '\n')
    chosen=$(echo "$list" | grep -E '//(127\.|localhost|\[::1\])' | head -n 1) || chosen=
    if [ -z "$chosen" ]; then chosen=$(echo "$list" | head -n 1); fi
    case $chosen in
        *//0.0.0.0:* | *//\[::\]:*)
            if [ -n "$2" ]; then chosen=${2%%,*}; else chosen=$(echo "$chosen" | sed 's,//[^/]*:,//127.0.0.1:,'); fi
            ;;
    esac
    echo "$chosen"
}
