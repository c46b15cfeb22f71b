#!/usr/bin/env bash
# Measures every number of SPECIFICATION.md: `bench.sh [MEASURE...] [--quick]`. Writes bench/results/latest.{json,md,png}.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -c 'import functions_framework, matplotlib' 2>/dev/null || {
  echo "Installing what the bench compares with ..." >&2
  PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install -q -e '.[bench]'
}
if ! command -v wrk >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing wrk ..." >&2
    { apt-get install -y -qq --no-install-recommends wrk || { apt-get update -qq && apt-get install -y -qq --no-install-recommends wrk; }; } >/dev/null
  else
    echo "Missing: wrk. Install it first, e.g.:  sudo apt-get install wrk" >&2
    exit 1
  fi
fi
exec .venv/bin/python -m bench "$@"
