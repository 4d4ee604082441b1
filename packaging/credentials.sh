#!/usr/bin/env bash
# Hands the files in /etc/smsd/credentials to the service: each becomes ${credential:NAME} in the YAML files.
# Run as root after adding or removing a file; then: systemctl restart smsd
set -euo pipefail

folder=/etc/smsd/credentials
drop_in=/etc/systemd/system/smsd.service.d/credentials.conf

if [ "$(id -u)" -ne 0 ]; then
    echo "Run as root: sudo $0" >&2
    exit 2
fi

mkdir -p "${drop_in%/*}"
{
    echo "# Written by smsd-credentials from $folder; changes here are lost."
    echo "[Service]"
    for file in "$folder"/*; do
        [ -f "$file" ] || continue
        name=${file##*/}
        if [[ ! $name =~ ^[A-Za-z0-9_.@-]+$ ]]; then
            echo "left out, its name cannot stand in \${credential:…}: $file" >&2
            continue
        fi
        chown root:root "$file" && chmod 0600 "$file"
        echo "LoadCredential=$name:$file"
    done
} >"$drop_in.new"
mv "$drop_in.new" "$drop_in"
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
echo "$(grep -c '^LoadCredential=' "$drop_in") credentials are handed to the service; new ones count after: systemctl restart smsd"
