#!/usr/bin/env bash
# Installs Dayfly into .venv: `install.sh PYTHON base|dev`. Idempotent; does nothing when pyproject.toml has not changed.
# Debian packages are installed only where they are missing and the user is root; else it says which.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${1:-python3}
kind=${2:-base}

need() { # need COMMAND-THAT-MUST-WORK PACKAGE...: make the command work, by installing the packages
  local check=$1
  shift
  if eval "$check" >/dev/null 2>&1; then return; fi
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $* ..." >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
      { apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null; }
  else
    echo "Missing: $*. Install it first, e.g.:  sudo apt-get install $*" >&2
    exit 1
  fi
}

need "command -v $python" python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Dayfly needs Python 3.11 or newer; $python is $("$python" -V 2>&1). Try: make PYTHON=python3.12 ..." >&2
  exit 1
}
need "$python -c 'import venv, ensurepip'" python3-venv

# Without it functions have no network, which `dayfly doctor` tells.
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  need "ldconfig -p | grep libnftables.so.1" libnftables1 || echo "Functions will have no network: libnftables1 cannot be installed." >&2
fi
if [ "$kind" = dev ] && [ "$(id -u)" = 0 ]; then # what needs these is skipped where they cannot be had
  (need "command -v node && command -v npm" nodejs npm) || true
  (need "command -v wrk" wrk) || true
  (need "command -v gcc" gcc libc6-dev) || true
  (need "command -v bwrap" bubblewrap) || true
  (need "command -v crun" crun) || true
  # Servers that tests of event sources start themselves; Debian's packages must not start theirs.
  servers() {
    local path=$PATH:/usr/sbin:$(echo /usr/lib/postgresql/*/bin | tr ' ' :)
    PATH=$path command -v redis-server && PATH=$path command -v nats-server && PATH=$path command -v mosquitto && PATH=$path command -v initdb
  }
  if ! servers >/dev/null; then
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
    (need servers redis-server nats-server mosquitto postgresql) || true
    [ -z "$(trap -p EXIT)" ] || { rm -f "$policy"; trap - EXIT; }
  fi
fi

# Foreign clients that tests call the dialects with, and what they compare runtimes with.
for clients in tests/clients/*; do
  if [ "$kind" = dev ] && command -v npm >/dev/null && [ ! -d "$clients/node_modules" ]; then
    npm install --prefix "$clients" --ignore-scripts --no-audit --no-fund --no-package-lock --silent >/dev/null 2>&1 ||
      echo "The clients in $clients cannot be installed; their tests will be skipped." >&2
  fi
done

if [ "$kind" = dev ] && command -v go >/dev/null && [ ! -x $clients/bin/wskdeploy ]; then
  build=$(mktemp -d)
  (cp $clients/wsk/* "$build" && bin=$PWD/$clients/bin && mkdir -p "$bin" && cd "$build" && export GOFLAGS=-mod=mod GOBIN=$build/bin &&
    go install github.com/sciabarracom/openwhisk-cli github.com/apache/openwhisk-wskdeploy &&
    mv bin/openwhisk-cli "$bin/wsk" && mv bin/openwhisk-wskdeploy "$bin/wskdeploy") >/dev/null 2>&1 ||
    echo "wsk and wskdeploy cannot be built; their tests will be skipped." >&2
  rm -rf "$build"
fi

# What the tests make networks with.
if [ "$kind" = dev ] && [ "$(id -u)" = 0 ]; then need "command -v ip && command -v nft" iproute2 nftables; fi

stamp=".venv/.installed-$kind"
wanted=$(sha256sum pyproject.toml | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c 'import dayfly' 2>/dev/null; then exit 0; fi

[ -x .venv/bin/python ] && .venv/bin/python -c 'pass' 2>/dev/null || "$python" -m venv --clear .venv
target=".[$kind]"
[ "$kind" != base ] || target=".[lambda,openwhisk]" # both dialects answer after `make up`
echo "Installing Dayfly ($kind) into .venv ..." >&2
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -q -e "$target"
echo "$wanted" >"$stamp"
[ "$kind" = base ] || echo "$wanted" >.venv/.installed-base
