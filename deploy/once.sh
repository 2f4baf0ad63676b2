#!/usr/bin/env bash
# Makes a file, once: what is there already stays, whatever has become of it since.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: once.sh FILE COMMAND [ARGUMENT…]

Writes what COMMAND prints to FILE, for its owner alone (mode 0600), and makes FILE's directory where there is none. A FILE that
is there and not empty is kept, and COMMAND is not run. Where COMMAND fails, nothing is written: FILE is whole, or as it was.
TEXT
}

[ $# -ge 2 ] || { usage >&2; exit 2; }
file=$1
shift
if [ -s "$file" ] || { [ -e "$file" ] && [ ! -f "$file" ]; }; then
  echo "$file: kept, it is there already"
  exit
fi
if [ -L "$file" ] && [ ! -e "$file" ]; then
  echo "once.sh: $file leads to a file that is not there; nothing is made in its place" >&2
  exit 1
fi
umask 077
mkdir -p "$(dirname "$file")"
new=$(mktemp "$file.XXXXXX")
trap 'rm -f "$new"' EXIT
"$@" >"$new"
[ -s "$new" ] || { echo "once.sh: $1 printed nothing, so there is no $file" >&2; exit 1; }
# An empty one is what a run that failed has left.
if [ -e "$file" ] && [ ! -s "$file" ]; then rm -f "$file"; fi
# Unlike mv, ln puts it over nothing that came in between.
ln "$new" "$file"
echo "$file: made"
