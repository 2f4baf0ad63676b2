#!/usr/bin/env bash
# The software bill of materials of the binary that the image ships, CycloneDX 1.6 as JSON, on standard output:
#   deploy/sbom.sh > tokenvault.cdx.json
# Made of cargo's own knowledge (Cargo.lock, the packages' manifests); needs cargo and jq. The same tree gives the same document.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
for program in cargo jq; do command -v $program >/dev/null || { echo "sbom.sh: $program is missing" >&2; exit 1; }; done

target=${1:-x86_64-unknown-linux-gnu}
lock=$(mktemp)
trap 'rm -f "$lock"' EXIT
# Cargo.lock's checksums, as {"NAME VERSION": "SHA-256"}.
awk -F'"' '/^name = /{name=$2} /^version = /{version=$2} /^checksum = /{print name " " version "\t" $2}' Cargo.lock |
  jq -Rn '[inputs | split("\t") | {key: .[0], value: .[1]}] | from_entries' >"$lock"

# The dependencies that end up in the binary: normal ones of the package `tokenvault` without its demonstrations, and of those.
cargo metadata --format-version 1 --locked --no-default-features --features otlp --filter-platform "$target" |
  jq --slurpfile lock "$lock" '
    (.packages | map({key: .id, value: .}) | from_entries) as $packages
    | (.resolve.nodes | map({key: .id, value: [.deps[] | select(any(.dep_kinds[]; .kind == null)) | .pkg]}) | from_entries) as $deps
    | (.packages[] | select(.name == "tokenvault")) as $root
    | def reach($todo; $seen): if ($todo | length) == 0 then $seen
        else ([$todo[] | $deps[.][]] | unique | map(select(IN($seen[]) | not))) as $next | reach($next; $seen + $next) end;
      def purl: "pkg:cargo/\(.name)@\(.version)";
      def licences: if .license then {licenses: [{expression: (.license | gsub("/"; " OR "))}]} else {} end;
      reach([$root.id]; [$root.id]) as $all
    | {
        bomFormat: "CycloneDX", specVersion: "1.6", version: 1,
        metadata: {component: ({type: "application", "bom-ref": ($root | purl), name: $root.name, version: $root.version, purl: ($root | purl)} + ($root | licences))},
        components: ([$all[] | select(. != $root.id) | $packages[.]
          | ($lock[0]["\(.name) \(.version)"]) as $sum
          | {type: "library", "bom-ref": purl, name, version, purl: purl} + licences
            + (if $sum then {hashes: [{alg: "SHA-256", content: $sum}]} else {} end)] | sort_by(.purl)),
        dependencies: ([$all[] | . as $id | $packages[$id]
          | {ref: purl, dependsOn: ([$deps[$id][] | $packages[.] | purl] | unique)}] | sort_by(.ref))
      }'
