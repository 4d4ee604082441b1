#!/usr/bin/env bash
# Installs what the tests need beside Python, and only what is missing: a second run asks nothing of the network.
#
#   postgresql    agency databases and the shared store, on throw-away servers of the tests' own
#   tdsodbc       the ODBC driver through which SQL Server is read (odbcinst registers it)
#   libfaketime   runs the real daemon through a working day in minutes
#   systemd       systemd-analyze verifies the unit file
set -euo pipefail

present() { # any file matching the pattern
    compgen -G "$1" >/dev/null
}

missing=()
command -v initdb >/dev/null || present '/usr/lib/postgresql/*/bin/initdb' || missing+=(postgresql)
present '/usr/lib/*/odbc/libtdsodbc.so' || missing+=(tdsodbc)
command -v odbcinst >/dev/null || missing+=(odbcinst unixodbc)
present '/usr/lib/*/faketime/libfaketimeMT.so.1' || missing+=(libfaketime)
command -v systemd-analyze >/dev/null || missing+=(systemd)
present '/usr/share/zoneinfo/Asia/Ho_Chi_Minh' || missing+=(tzdata)

[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "The tests need these Debian packages or their like, and this system has no apt-get: ${missing[*]}" >&2
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
export DEBIAN_FRONTEND=noninteractive

# The tests start servers of their own: no cluster is made and started for the whole machine on the way.
no_cluster=/etc/postgresql-common/createcluster.d/smsd-no-main-cluster.conf
if [[ " ${missing[*]} " == *" postgresql "* ]]; then
    trap '"${as_root[@]}" rm -f "$no_cluster"' EXIT
    "${as_root[@]}" mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' | "${as_root[@]}" tee "$no_cluster" >/dev/null
fi

"${as_root[@]}" apt-get update -q -o DPkg::Lock::Timeout=300
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 "${missing[@]}"
