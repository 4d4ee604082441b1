#!/usr/bin/env bash
# Installs Debian packages, and only what is missing: a second run asks nothing of the network.
#
#   system-packages.sh python [PYTHON]   what a virtual environment needs
#   system-packages.sh server [PYTHON]   that, and what smsd needs on a server: the driver for SQL Server, time zones,
#                                        and /bin/kill, by which the unit's reload reaches the daemon
#   system-packages.sh tests             what the tests need beside Python:
#       postgresql    agency databases and the shared store, on throw-away servers of the tests' own
#       tdsodbc       the ODBC driver through which SQL Server is read (odbcinst registers it)
#       systemd       systemd-analyze verifies the unit file
#       systemd-container, mmdebstrap   the service is tried on a machine of its own (scripts/systemd-tree.sh)
#       kannel        the gateway most operators have, in front of a message centre of the tests' own
#       libfaketime   clocks that are wrong, for one process
#       nodejs, npm, openssl   another message centre, written by others; certificates for its TLS
set -euo pipefail

present() { # any file matching the pattern
    compgen -G "$1" >/dev/null
}

missing=()

need_python() {
    if ! command -v "$1" >/dev/null; then
        if [ "$1" != python3 ]; then
            echo "There is no Python $1 here." >&2
            exit 2
        fi
        missing+=(python3 python3-venv)
    elif ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        missing+=(python3-venv)
    fi
}

need_for_databases() {
    present '/usr/lib/*/odbc/libtdsodbc.so' || missing+=(tdsodbc)
    command -v odbcinst >/dev/null || missing+=(odbcinst unixodbc)
    present '/usr/share/zoneinfo/Asia/Ho_Chi_Minh' || missing+=(tzdata)
}

need_for_service() {
    [ -x /bin/kill ] || missing+=(procps)
}

need_for_tests() {
    command -v initdb >/dev/null || present '/usr/lib/postgresql/*/bin/initdb' || missing+=(postgresql)
    command -v systemd-analyze >/dev/null || missing+=(systemd)
    command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    command -v bearerbox >/dev/null || present '/usr/sbin/bearerbox' || missing+=(kannel)
    present '/usr/lib/*/faketime/libfaketimeMT.so.1' || missing+=(libfaketime)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    command -v openssl >/dev/null || missing+=(openssl)
}

case ${1:-tests} in
    python) need_python "${2:-python3}" ;;
    server) need_python "${2:-python3}" && need_for_databases && need_for_service ;;
    tests) need_for_databases && need_for_tests ;;
    *)
        echo "usage: $0 python [PYTHON] | server [PYTHON] | tests" >&2
        exit 2
        ;;
esac
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "These Debian packages or their like are missing, and this system has no apt-get: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Run as root, or have an administrator run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "==> Installing system packages: ${missing[*]}"
log=$(mktemp)
passing=() # files that are there for the installation alone
trap 'rm -f "$log"; [ ${#passing[@]} -eq 0 ] || "${as_root[@]}" rm -f "${passing[@]}"' EXIT

leave() { # FILE LINE
    passing+=("$1")
    "${as_root[@]}" mkdir -p "${1%/*}"
    echo "$2" | "${as_root[@]}" tee "$1" >/dev/null
}

# The tests start servers of their own: no cluster is made and started for the whole machine on the way, and no Kannel.
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    leave /etc/postgresql-common/createcluster.d/smsd-no-main-cluster.conf 'create_main_cluster = false'
fi
policy=/usr/sbin/policy-rc.d
if [[ " ${missing[*]} " == *" kannel "* && ! -e $policy ]]; then
    leave "$policy" $'#!/bin/sh\n[ "$1" != kannel ] || exit 101'
    "${as_root[@]}" chmod 755 "$policy"
fi

apt() { # quiet unless it fails
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        echo "apt-get $1 failed; the lines above say why." >&2
        exit 1
    fi
}

apt update
apt install -y --no-install-recommends "${missing[@]}"
