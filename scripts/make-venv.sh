#!/usr/bin/env bash
# Makes the virtual environment: make-venv.sh PYTHON FOLDER. On Debian what Python lacks for it is installed first.
set -euo pipefail

python=$1
folder=$2
here=$(dirname "$0")

"$here/system-packages.sh" python "$python"

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "smsd needs Python 3.11 or newer, and $python is $("$python" -V 2>&1)." >&2
    echo "Name another one: make PYTHON=/usr/bin/python3.11 …" >&2
    exit 2
fi

echo "==> Making $folder with $("$python" -V)"
# A half-made environment of an interrupted run is made anew.
"$python" -m venv --clear "$folder"
