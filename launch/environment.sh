# Sourced by the other scripts: create .venv with the tested versions of all packages and put it first on PATH.
# usage: source launch/environment.sh [extras], such as "[test]"

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "lob_jax needs Python 3.11 to 3.13 with its venv module (on Debian: apt-get install python3 python3-venv)," >&2
  echo "none was found; set PYTHON to a suitable one" >&2
  return 1
}

make_environment() {
  local extras=$1 python wanted
  python=$(find_python) || return 1
  wanted=$("$python" -c 'import hashlib, pathlib, sys
files = ["pyproject.toml", "launch/constraints.txt"]
print(sys.argv[1], hashlib.sha256(b"".join(pathlib.Path(f).read_bytes() for f in files)).hexdigest())' "$extras")
  if [ "$(cat ".venv/installed$extras" 2>/dev/null)" != "$wanted" ]; then
    echo "installing lob_jax$extras into .venv (about a minute)"
    [ -x .venv/bin/python ] || "$python" -m venv .venv || return 1
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
      --constraint launch/constraints.txt --editable ".$extras" || return 1
    echo "$wanted" > ".venv/installed$extras"
  fi
}

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
make_environment "${1:-}" || exit 1
PATH="$PWD/.venv/bin:$PATH"
