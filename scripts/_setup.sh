# Sourced by quickstart, test and check: makes .venv and installs what is pinned. A second call skips what is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
  echo "align: needs Python 3.11 or later; found: $("$python" --version 2>&1). Set PYTHON to one." >&2
  exit 2
}

setup() {
  local extras=$1 stamp=.venv/.installed
  local wanted
  wanted="$extras $(cat pyproject.toml scripts/constraints.txt | cksum)"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  # the tests' set holds the quickstart's: do not install it twice
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "train,dev ${wanted#* }" ]; then return; fi
  echo "align: installing into .venv (once; a minute or two)" >&2
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  install_torch
  .venv/bin/python -m pip install --quiet --constraint scripts/constraints.txt --editable ".[$extras]"
  echo "$wanted" > "$stamp"
}

install_torch() {
  local pin
  pin=$(grep '^torch==' scripts/constraints.txt)
  if .venv/bin/python -c 'import torch' 2>/dev/null; then return; fi
  # without an NVIDIA GPU the CPU build serves: the default one pulls gigabytes of CUDA libraries
  if [ -e /dev/nvidia0 ] || [ "$(uname -s)" != Linux ]; then
    .venv/bin/python -m pip install --quiet "$pin"
  else
    .venv/bin/python -m pip install --quiet "$pin" --index-url https://download.pytorch.org/whl/cpu 2>/dev/null ||
      .venv/bin/python -m pip install --quiet "$pin"
  fi
}
