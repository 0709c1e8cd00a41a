# Sourced by the scripts beside it: makes .venv and installs the known-good versions into it.
# setup_venv EXTRAS   e.g. setup_venv agent,embedded

setup_venv() {
  local extras=$1 stamp=.venv/.installed-$1 python
  local wanted
  wanted=$(cat pyproject.toml constraints.txt | cksum)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi

  if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    echo "Creating .venv with $("$python" --version) ..."
    "$python" -m venv .venv || {
      echo "Python's venv module is missing; on Debian and Ubuntu: sudo apt-get install python3-venv" >&2
      exit 1
    }
  fi
  echo "Installing csm-agent[$extras]; the first time this takes a minute or two ..."
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
  echo "$wanted" >"$stamp"
}

find_python() {
  local candidate
  for candidate in python3.13 python3.12 python3.11 python3 python; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo "csm-agent needs Python 3.11, 3.12 or 3.13, and none was found." >&2
  exit 1
}

# The browser tests drive a real Chromium: Debian's, or one that is already here.
setup_chromium() {
  local candidate sudo=""
  for candidate in "${CHROMIUM:-}" chromium chromium-browser google-chrome \
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
    if [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1; then
      CHROMIUM=$(command -v "$candidate")
      export CHROMIUM
      return
    fi
  done
  if command -v apt-get >/dev/null 2>&1; then
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "Installing chromium for the browser tests ..."
    $sudo apt-get update -qq
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends \
      chromium >/dev/null
    CHROMIUM=$(command -v chromium)
  else
    echo "Fetching a Chromium for the browser tests ..."
    .venv/bin/playwright install chromium
    CHROMIUM=""
  fi
  export CHROMIUM
}
