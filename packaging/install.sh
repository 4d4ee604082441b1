#!/usr/bin/env bash
# Installs smsd on this machine, or brings an installation up to date. Run as root; may be run again at any time.
#
#   /opt/smsd                  the program, a virtual environment of its own
#   /etc/smsd                  the configuration: written once, never changed here
#   /etc/smsd/credentials      secrets, one file each, for root alone
#   /var/lib/smsd              state store and reports (made by systemd)
#   /usr/local/bin/smsd        the commands
#
# PYTHON=/usr/bin/python3.11 names another Python. Without a way to the package index: PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR,
# a folder with the wheels of requirements/build.lock and runtime.lock.
set -euo pipefail

source=$(cd "$(dirname "$0")/.." && pwd)
prefix=/opt/smsd
config=/etc/smsd
python=${PYTHON:-python3}

say() { echo "==> $*"; }

if [ "$(id -u)" -ne 0 ]; then
    echo "Run as root: sudo $0" >&2
    exit 2
fi

"$source/scripts/system-packages.sh" server "$python"
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "smsd needs Python 3.11 or newer; name one: PYTHON=/usr/bin/python3.11 $0" >&2
    exit 2
fi

if ! getent passwd smsd >/dev/null; then
    say "Making the user smsd"
    useradd --system --user-group --home-dir /var/lib/smsd --no-create-home --shell /usr/sbin/nologin smsd
fi

say "Installing the program into $prefix"
[ -x "$prefix/bin/pip" ] || "$python" -m venv --clear "$prefix"
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
(cd "$source" && cp -rL setup.cfg pyproject.toml README.md LICENSE smsd "$copy")
pip=("$prefix/bin/pip" --disable-pip-version-check --no-input --quiet)
"${pip[@]}" install -r "$source/requirements/build.lock" -r "$source/requirements/runtime.lock"
"${pip[@]}" install --no-deps --no-build-isolation --force-reinstall "$copy"
"$prefix/bin/python" -m compileall -q "$prefix/lib" || true

mkdir -p "$prefix/share/doc"
cp -r "$source"/docs/. "$source/README.md" "$source/CHANGELOG.md" "$source/LICENSE" "$prefix/share/doc"
rm -rf "$prefix/share/sql"
cp -r "$source/sql" "$prefix/share/sql"
chmod -R u=rwX,go=rX "$prefix"

if [ ! -e "$config/smsd.yaml" ] && [ ! -e "$config/agencies" ]; then
    say "Writing a starting configuration into $config"
    "$prefix/bin/smsd" init "$config"
fi
install -d -m 0700 -o root -g root "$config/credentials"
if [ ! -e "$config/credentials/inbound" ]; then
    (umask 077 && "$python" -c 'import secrets; print(secrets.token_urlsafe(32))' >"$config/credentials/inbound")
fi
chown root:smsd "$config" && chmod 0750 "$config"
for part in "$config/smsd.yaml" "$config/agencies"; do # an operator may have moved the agencies elsewhere
    [ -e "$part" ] || continue
    chown -R root:smsd "$part" && chmod -R u=rwX,g=rX,o= "$part"
done

say "Installing the commands and the service"
install -m 0755 "$source/packaging/smsd" /usr/local/bin/smsd
install -m 0755 "$source/packaging/credentials.sh" /usr/local/sbin/smsd-credentials
install -m 0644 "$source/smsd.service" /etc/systemd/system/smsd.service
/usr/local/sbin/smsd-credentials

if systemctl is-active --quiet smsd 2>/dev/null; then
    say "Restarting smsd"
    systemctl restart smsd
else
    say "Done. Next: edit $config/smsd.yaml and an agency's file, then smsd check, then systemctl enable --now smsd"
fi
