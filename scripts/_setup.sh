# Sourced by quickstart, test and check: makes .venv and installs what is pinned. A second call skips what is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "align: $*" >&2
  exit 2
}

setup() {
  local extras=$1 stamp=.venv/.installed python=${PYTHON:-python3} wanted
  wanted="$extras $(cat pyproject.toml scripts/constraints.txt | cksum)"
  # the tests' set holds the quickstart's: do not install it twice
  case "$(cat "$stamp" 2>/dev/null)" in "$wanted" | "train,dev ${wanted#* }") return ;; esac
  command -v "$python" >/dev/null || fail "$python is not found: install Python 3.11 or later, or set PYTHON to one"
  "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    fail "needs Python 3.11 or later; $python is $("$python" --version 2>&1): set PYTHON to another one"
  [ -w . ] || fail "$PWD cannot be written, and .venv and runs/ belong in it: clone to a folder of yours"
  echo "align: installing into .venv (once; some minutes, up to 2.5 GB)" >&2
  trap 'fail "interrupted: the same command goes on with the installation"' INT TERM
  # a .venv whose making was interrupted, or whose Python is gone, has no pip that runs
  .venv/bin/python -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear .venv ||
    fail "$python -m venv failed, see above: on Debian and Ubuntu install python3-venv, then start again"
  install "$extras" ||
    fail "the installation failed, see above; PIP_INDEX_URL and PIP_FIND_LINKS name a mirror or a folder of wheels" \
      "where there is no network. The same command goes on"
  echo "$wanted" > "$stamp"
  trap - INT TERM
}

install() {
  local pip=(.venv/bin/python -m pip install --quiet)
  # without an NVIDIA GPU the CPU build serves: the default index's pulls gigabytes of CUDA libraries
  if [ ! -e /dev/nvidia0 ] && [ "$(uname -s)" = Linux ]; then
    "${pip[@]}" "$(grep '^torch==' scripts/constraints.txt)" \
      --index-url https://download.pytorch.org/whl/cpu 2>/dev/null || true
  fi
  # the build leaves a folder here that nobody reads: the package's metadata are in .venv
  "${pip[@]}" --constraint scripts/constraints.txt --editable ".[$1]" && rm -rf align_rrtf.egg-info
}
