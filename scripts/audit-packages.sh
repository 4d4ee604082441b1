#!/usr/bin/env bash
# Asks the public advisory database about the packages smsd runs with (requirements/runtime.lock). A known weakness
# fails. A database that does not answer in a few seconds, as on machines without a network, is told and passes.
#
# audit-packages.sh [OPTION of pip-audit…]
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
bin=$root/.venv/bin
answer=$(mktemp)
said=$(mktemp)
trap 'rm -f "$answer" "$said"' EXIT

status=0
timeout 30 "$bin/pip-audit" --requirement "$root/requirements/runtime.lock" --no-deps --disable-pip --timeout 5 \
    --progress-spinner off --format json --output "$answer" "$@" >"$said" 2>&1 || status=$?

if [ ! -s "$answer" ]; then
    if [ "$status" -eq 124 ] || grep -qE 'Connection|Timeout|timed out|resolve|ServiceError|HTTPError' "$said"; then
        echo "    not audited: no network, or the advisory database does not answer"
        exit 0
    fi
    tail -n 5 "$said" >&2
    echo "pip-audit failed; the lines above say why." >&2
    exit 1
fi

"$bin/python" - "$answer" <<'PYTHON'
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    packages = json.load(file)["dependencies"]
weak = [(package, known) for package in packages for known in package.get("vulns", [])]
for package, known in weak:
    mended = ", ".join(known["fix_versions"]) or "no version yet"
    print(f"{package['name']} {package['version']}: {known['id']}, mended in {mended}", file=sys.stderr)
if weak:
    print("Raise the versions with pip in .venv, then: make lock", file=sys.stderr)
unknown = [package["name"] for package in packages if "skip_reason" in package]
if unknown:
    print(f"    not audited: the advisory database knows nothing of {len(unknown)} of {len(packages)} packages")
sys.exit(1 if weak else 0)
PYTHON
