#!/usr/bin/env bash
# Proves the image's steps without Docker: what .dockerignore lets in is copied into an empty tree, a user without
# rights runs scripts/install_image.sh there, and what compose.yaml starts then serves an order, on the CPU.
#   sudo nice scripts/prove_install.sh [FOLDER]     about 7 GB in FOLDER (default: a fresh one below /var/tmp)
# FOLDER is deleted at the end, unless KEEP=1. One that an earlier run with KEEP=1 installed into is not installed again.
# As another user than root it runs as that user. PIP_* is passed on. Not proven by it: the base image, the card.
set -euo pipefail
ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TREE="${1:-$(mktemp -d /var/tmp/posegen-proof-XXXXXX)}"
CODE="$TREE/opt/posegen" STATE="$TREE/var/lib/posegen"
CLIENT="$ROOT/.venv/bin/python" # orders from outside, as any client: the image has none
SHARE=(env -i "PATH=/usr/local/bin:/usr/bin:/bin" "HOME=$STATE" "LANG=C.UTF-8")
while IFS='=' read -r name value; do SHARE+=("$name=$value"); done < <(env | grep '^PIP_' || true)
PROCESSES=()

step() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
clean_up() {
  for process in "${PROCESSES[@]}"; do kill -TERM "$process" 2>/dev/null || true; done
  wait
  if [ -z "${KEEP:-}" ]; then rm -rf "$TREE"; else echo "kept: $TREE"; fi
}
trap clean_up EXIT

as_user() {
  if [ "$(id -u)" = 0 ]; then setpriv --reuid=10001 --regid=10001 --clear-groups "${SHARE[@]}" "$@"; else "${SHARE[@]}" "$@"; fi
}
in_image() { (cd "$CODE" && as_user "${SETTINGS[@]}" "PATH=$CODE/.venv/bin:/usr/local/bin:/usr/bin:/bin" "$@"); }
start() { # start NAME COMMAND...: in the background, its log in the tree
  local name="$1"; shift
  # exec: the process we note is the one that is signalled
  (cd "$CODE" && exec setsid "${RUN_AS[@]}" "${SETTINGS[@]}" "PATH=$CODE/.venv/bin:/usr/local/bin:/usr/bin:/bin" "$@") \
    >"$TREE/$name.log" 2>&1 &
  PROCESSES+=($!)
}
wait_for() { # wait_for SECONDS NAME COMMAND...
  local until=$((SECONDS + $1)) name="$2"; shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -gt "$until" ]; then echo "No sign of $name:"; tail -n 20 "$TREE/$name.log"; exit 1; fi
    sleep 1
  done
}

if [ "$(id -u)" = 0 ]; then RUN_AS=(setpriv --reuid=10001 --regid=10001 --clear-groups "${SHARE[@]}"); else RUN_AS=("${SHARE[@]}"); fi

step "What .dockerignore lets in, into $CODE"
mkdir -p "$CODE" "$STATE" "$TREE/weights"
mapfile -t let_in < <(sed -n 's/^!//p' "$ROOT/.dockerignore")
(cd "$ROOT" && git ls-files -z -- "${let_in[@]}" | tar --null -T - -cf -) | tar -C "$CODE" -xf -
chmod 755 "$TREE"
if [ "$(id -u)" = 0 ]; then chown -R 10001:10001 "$TREE"; fi

step "The image's two steps, as user $(as_user id -u)"
install_step() { # install_step NAME: one of the image's steps, its output in the tree
  if ! (cd "$CODE" && as_user "PYTHON=${PYTHON:-/usr/bin/python3}" PIP_NO_CACHE_DIR=1 scripts/install_image.sh "$1") >"$TREE/$1.log" 2>&1; then
    tail -n 20 "$TREE/$1.log"
    exit 1
  fi
}
if [ ! -f "$TREE/installed" ]; then
  install_step packages
  install_step posegen
  touch "$TREE/installed"
fi
tail -n 1 "$TREE/posegen.log"
du -sh "$CODE/.venv" | cut -f1
if [ "$(id -u)" = 0 ]; then chown -R root:root "$CODE"; fi # as in the image: whoever runs it cannot change the code

free_port() { "$CODE/.venv/bin/python" -c 'from posegen.ports import free_port; print(free_port())'; }
PORT="$(cd "$CODE" && free_port)" REDIS_PORT="$(cd "$CODE" && free_port)"
secret() { "$CODE/.venv/bin/python" -c 'import secrets; print(secrets.token_hex(32))'; }
REDIS_PASSWORD="$(secret)" POSEGEN_PASSWORD="$(secret)"
SETTINGS=("JWT_SECRET=$(secret)" "REDIS_URL=redis://:$REDIS_PASSWORD@127.0.0.1:$REDIS_PORT/0" "VAR_DIR=$STATE"
  "HF_HOME=$TREE/weights" "HOST=127.0.0.1" "PORT=$PORT" "LOG_FORMAT=json" "PYTHONUNBUFFERED=1" "PYTHONDONTWRITEBYTECODE=1")

step "Redis, append-only, throwing nothing away"
REDIS="$(in_image python -c 'from posegen.private_redis import find_redis_server as f; print(f())')"
printf '%s\n' "bind 127.0.0.1" "port $REDIS_PORT" "requirepass $REDIS_PASSWORD" "dir $STATE" "appendonly yes" \
  "maxmemory-policy noeviction" >"$TREE/redis.conf"
if [ "$(id -u)" = 0 ]; then chown 10001 "$TREE/redis.conf"; fi
chmod 600 "$TREE/redis.conf"
start redis "$REDIS" "$TREE/redis.conf"

step "migrate: posegen migrate && posegen library seed"
in_image sh -c 'posegen migrate && posegen library seed'

step "api: python -m api, and worker: python -m gpu_worker --device cpu"
start api python -m api
start worker python -m gpu_worker --device cpu --profile tiny
wait_for 600 api in_image python -m posegen.alive api
wait_for 600 worker in_image python -m posegen.alive worker
echo "both health checks pass"

step "posegen doctor"
in_image posegen doctor --device cpu

step "A first login and an order of four pictures"
in_image env "POSEGEN_PASSWORD=$POSEGEN_PASSWORD" posegen user add proof@posegen.example --name Proof
in_image posegen credits grant proof@posegen.example 1000
env POSEGEN_EMAIL=proof@posegen.example POSEGEN_PASSWORD="$POSEGEN_PASSWORD" "$CLIENT" "$ROOT/scripts/first_order.py" \
  --url "http://127.0.0.1:$PORT" --folder "$TREE/pictures"
ls "$TREE/pictures"

step "posegen reconcile"
in_image posegen reconcile

step "Proven: the image's steps, as a user without rights, serve an order"
