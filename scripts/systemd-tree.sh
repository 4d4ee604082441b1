#!/usr/bin/env bash
# Makes what the tests of the service boot, once, and prints the folder that holds it:
#
#   tree/     a minimal Debian 12 with systemd, Python and what install.sh looks for; never changed once it is made
#   wheels/   the Python packages that install.sh installs, for the tree's Python: a server's network, so to speak
#
# systemd-tree.sh [PYTHON]. PYTHON fetches the wheels: one with pip and the packages of requirements/build.lock.
#
# Folders are kept in $SMSD_TEST_CACHE (~/.cache/smsd-tests) and named after what they are made from; old ones may be
# removed at any time. Debian comes from the mirror this machine uses; SMSD_TEST_MIRROR=http://… names another.
set -euo pipefail

suite=bookworm
tree_python=3.11
packages=systemd,systemd-sysv,procps,python3,python3-venv,tdsodbc,odbcinst,unixodbc,tzdata

root=$(cd "$(dirname "$0")/.." && pwd)
python=${1:-$root/.venv/bin/python}
cache=${SMSD_TEST_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/smsd-tests}
locks=("$root/requirements/build.lock" "$root/requirements/runtime.lock")

fail() { # one line to a fault, and how to mend it
    printf '%s\n' "$@" >&2
    exit 1
}

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null || fail "The tests of the service boot a machine of their own, which takes root." \
        "Run them as root, or allow this user sudo without a password."
    as_root=(sudo -n)
fi

mirror() { # the mirror of this machine's own Debian
    [ -z "${SMSD_TEST_MIRROR:-}" ] || { echo "$SMSD_TEST_MIRROR" && return; }
    local own
    own=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # shellcheck disable=SC2016 # apt-get fills these in
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v own="$own" '$2 == own && $3 == "main" { print $1; exit }'
}

make_tree() { # FOLDER
    local from
    from=$(mirror)
    [ -n "$from" ] || fail "No Debian mirror is configured in /etc/apt; name one: SMSD_TEST_MIRROR=http://…"
    # This machine's own proxies and rules on dates are the tree's too.
    apt-config dump Acquire | grep -E '^Acquire::(Check-|.*(Proxy|Timeout|Retries))' >"$new/apt.conf" || true
    echo "==> Making a minimal Debian ($suite) from $from" >&2
    "${as_root[@]}" mmdebstrap --quiet --mode=root --variant=minbase --aptopt="$new/apt.conf" --include="$packages" \
        "$suite" "$1" "$from" >"$new/log" 2>&1 || {
        tail -n 20 "$new/log" >&2
        fail "Debian $suite could not be had from $from; the lines above say why." \
            "These tests need it once; another mirror: SMSD_TEST_MIRROR=http://…"
    }
}

make_wheels() { # FOLDER
    local pip=("$python" -m pip --disable-pip-version-check --no-input -qq)
    echo "==> Fetching Python packages for it" >&2
    "${pip[@]}" download --no-deps --python-version "$tree_python" --no-build-isolation --dest "$1" \
        "${locks[@]/#/--requirement=}" >&2 || fail "The Python packages could not be had; the lines above say why."
    local source
    for source in "$1"/*.tar.gz; do # pure Python: a wheel made here fits there
        [ -e "$source" ] || continue
        "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$1" "$source" >&2
        rm "$source"
    done
}

hash=$({ cat "$0" "${locks[@]}"; echo "$(uname -m) ${SMSD_TEST_MIRROR:-}"; } | sha256sum | cut -c1-12)
made=$cache/tree-$hash
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ ! -d "$made" ]; then
    new=$(mktemp -d "$cache/new.XXXXXX")
    trap '"${as_root[@]}" rm -rf --one-file-system "$new"' EXIT
    chmod 0755 "$new"
    mkdir "$new/wheels"
    make_wheels "$new/wheels" &
    wheels=$!
    make_tree "$new/tree"
    wait "$wheels"
    mv "$new" "$made"
fi
echo "$made"
