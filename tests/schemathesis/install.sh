#!/usr/bin/env bash
# Puts schemathesis into an environment of its own below TOKENVAULT_CACHE, where tests/tests/modules/api_description.rs looks for it.
set -euo pipefail
version=4.32.5 # as VERSION in tests/tests/modules/api_description.rs
home=${TOKENVAULT_CACHE:-$HOME/.cache/tokenvault}/schemathesis-$version
[ ! -f "$home/complete" ] || exit 0
if [ "${1:-}" = --no-install ]; then
  echo "    missing: $home; remedy: tests/schemathesis/install.sh"
  exit 1
fi
if ! command -v python3 >/dev/null || ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  echo "    missing: python3 with venv; remedy: install python3-venv"
  exit 1
fi
rm -rf "$home"
python3 -m venv "$home"
"$home/bin/pip" install -q --disable-pip-version-check "schemathesis==$version"
touch "$home/complete"
