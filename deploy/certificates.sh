#!/usr/bin/env bash
# Certificates to start with: the vault's own, one for each module, one for each operator, and the CAs that sign them. Where
# you have a PKI, use that instead; what the vault asks of it is written in deploy/policy.toml and deploy/admin-policy.toml.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: certificates.sh DIR server HOST…        the vault's: server.pem, server.key
       certificates.sh DIR module NAME SAN     a module's: NAME.pem, NAME.key
       certificates.sh DIR operator NAME SAN   an operator's: NAME.pem, NAME.key

  DIR    where the files go; a CA is made there first, if there is none: modules-ca.pem and modules-ca.key for the vault and
         modules, operators-ca.pem and operators-ca.key for operators
  HOST   a DNS name or an IP address under which modules and operators call the vault
  NAME   the module's or the operator's name; only the files are called so
  SAN    what policy.toml or admin-policy.toml knows it by: URI:spiffe://… (uri_san) or DNS:… (dns_san)

Files with the extension .key are for their owner alone. Keep the CAs' keys away from the vault: who has them can make
itself every module, or every operator. Certificates hold for 90 days (the CAs for ten years); run it again to renew one.
TEXT
}

[ $# -ge 3 ] || { usage >&2; exit 2; }
command -v openssl >/dev/null || { echo "certificates.sh: openssl is missing" >&2; exit 1; }
umask 077
dir=$1 kind=$2
shift 2
mkdir -p "$dir"

new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

# authority WHO: whose certificates the CA of this name signs; made if there is none.
authority() {
  ca=$dir/$1-ca
  [ ! -s "$ca.pem" ] || return 0
  new_key "$ca.key"
  # A configuration of its own, for the system's differ in what they add.
  openssl req -new -x509 -days 3650 -key "$ca.key" -out "$ca.pem" -config /dev/stdin <<TEXT
[req]
distinguished_name = name
x509_extensions = ca
prompt = no
[name]
CN = tokenvault $1 CA
[ca]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
TEXT
  chmod 644 "$ca.pem"
  echo "$ca.pem: a new CA"
}

# quietly COMMAND…: what openssl says is only of use when it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || { echo "certificates.sh: $said" >&2; exit 1; }
}

# issue FILE USAGE SAN: by the CA that was named last; the new pair is put in place only when it is whole.
issue() {
  unfinished=$dir/$1
  trap 'rm -f "$unfinished".{csr,key.new,pem.new}' EXIT
  new_key "$dir/$1.key.new"
  quietly openssl req -new -key "$dir/$1.key.new" -subj "/CN=$1" -out "$dir/$1.csr" \
    -config <(printf '[req]\ndistinguished_name = name\n[name]\n')
  quietly openssl x509 -req -days 90 -in "$dir/$1.csr" -CA "$ca.pem" -CAkey "$ca.key" \
    -set_serial "0x$(openssl rand -hex 15)" -out "$dir/$1.pem.new" -extfile <(printf '%s\n' "extendedKeyUsage = $2" \
      "subjectAltName = $3" "basicConstraints = critical, CA:false" "keyUsage = critical, digitalSignature" \
      "authorityKeyIdentifier = keyid")
  mv "$dir/$1.key.new" "$dir/$1.key"
  mv "$dir/$1.pem.new" "$dir/$1.pem"
  chmod 644 "$dir/$1.pem"
  echo "$dir/$1.pem: $3"
}

case $kind in
  server)
    authority modules
    names=""
    for host in "$@"; do
      case $host in
        *:*) host=IP:$host ;;
        *[!0-9.]*) host=DNS:$host ;;
        *) host=IP:$host ;;
      esac
      names=$names${names:+,}$host
    done
    issue server serverAuth "$names"
    ;;
  module | operator)
    [ $# -eq 2 ] || { usage >&2; exit 2; }
    case $1 in
      server | modules-ca | operators-ca | */*) echo "certificates.sh: files of a $kind cannot be called $1" >&2; exit 2 ;;
    esac
    case $2 in URI:?* | DNS:?*) ;; *) usage >&2; exit 2 ;; esac
    authority "${kind}s"
    issue "$1" clientAuth "$2"
    ;;
  *) usage >&2; exit 2 ;;
esac
