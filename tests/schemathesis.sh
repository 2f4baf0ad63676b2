#!/usr/bin/env bash
# Holds both APIs against their own descriptions for as long as you like, with inputs that schemathesis thinks of.
# ./test runs the same for a few seconds with a fixed seed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
case ${1:-} in
  "") seconds=600 ;;
  *[!0-9]*) echo "Usage: tests/schemathesis.sh [SECONDS for each of the two APIs; 600]" >&2; exit 2 ;;
  *) seconds=$1 ;;
esac
tests/schemathesis/install.sh
cargo build -p tokenvault
TOKENVAULT_SCHEMATHESIS_SECONDS=$seconds cargo test -p tokenvault-tests --test modules -- api_description:: --nocapture
