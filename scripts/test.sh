#!/usr/bin/env bash
# Every check, in the order of their cost. Leaves nothing running.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
step() { printf '\n== %s\n' "$1"; }

step "lint"
$bin/ruff check .
$bin/ruff format --check -q src
step "types"
$bin/mypy
step "import contracts"
$bin/lint-imports
step "tests"
# Most tests wait for something: more of them run at a time than there are cores.
exec $bin/python -m pytest -n 3 --no-loadscope-reorder "$@"
