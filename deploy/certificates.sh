#!/usr/bin/env bash
# Certificates to start with: the vault's own, one for each module, one for each operator, and the CAs that sign them. Where
# you have a PKI, use that instead; what the vault asks of it is written in deploy/policy.toml and deploy/admin-policy.toml.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: certificates.sh [--renew] DIR server HOST…        the vault's: server.pem, server.key
       certificates.sh [--renew] DIR module NAME SAN     a module's: NAME.pem, NAME.key
       certificates.sh [--renew] DIR operator NAME SAN   an operator's: NAME.pem, NAME.key

  DIR      where the files go; a CA is made there first, if there is none: modules-ca.pem and modules-ca.key for the vault and
           modules, operators-ca.pem and operators-ca.key for operators
  HOST     a DNS name or an IP address under which modules and operators call the vault
  NAME     the module's or the operator's name; only the files are called so
  SAN      what policy.toml or admin-policy.toml knows it by: URI:spiffe://… (uri_san) or DNS:… (dns_san)
  --renew  a new certificate with a new key in place of one that is there, from the same CA

Without --renew nothing that is there is replaced: run it again, and it makes what is missing. With --renew neither is a
certificate that another CA has signed, and never a CA.

Files with the extension .key are for their owner alone. Keep the CAs' keys away from the vault: who has them can make
itself every module, or every operator. Certificates hold for 90 days (the CAs for ten years).
TEXT
}

fail() { echo "certificates.sh: $*" >&2; exit 1; }

renew=no
[ "${1-}" != --renew ] || { renew=yes; shift; }
[ $# -ge 3 ] || { usage >&2; exit 2; }
command -v openssl >/dev/null || fail "openssl is missing"
umask 077
dir=$1 kind=$2
shift 2
mkdir -p "$dir"

# new_key FILE: whole, or not at all.
new_key() {
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1.unfinished"
  mv "$1.unfinished" "$1"
}

# authority WHO: whose certificates the CA of this name signs; made if there is none. A key that is there is never replaced:
# every certificate that it has signed would be refused.
authority() {
  ca=$dir/$1-ca
  [ ! -s "$ca.pem" ] || return 0
  [ -s "$ca.key" ] || new_key "$ca.key"
  # A configuration of its own, for the system's differ in what they add.
  openssl req -new -x509 -days 3650 -key "$ca.key" -out "$ca.pem.unfinished" -config /dev/stdin <<TEXT
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
  chmod 644 "$ca.pem.unfinished"
  mv "$ca.pem.unfinished" "$ca.pem"
  echo "$ca.pem: a new CA"
}

# quietly COMMAND…: what openssl says is only of use when it fails.
quietly() {
  local said
  said=$("$@" 2>&1) || fail "$said"
}

# of_pair FILE: whether FILE.pem is the certificate of FILE.key.
of_pair() { [ "$(openssl x509 -in "$1.pem" -noout -pubkey)" = "$(openssl pkey -in "$1.key" -pubout)" ]; }

# of_this_ca FILE: whether FILE.pem is of the CA that was named last, be it over or not (not every openssl can leave time out).
of_this_ca() { openssl verify -no_check_time -CAfile "$ca.pem" "$1.pem" >/dev/null 2>&1 || openssl verify -CAfile "$ca.pem" "$1.pem" >/dev/null 2>&1; }

# keep FILE SAN: says of a certificate that stays until when it holds, and whether it has other names than are asked for.
keep() {
  local names end
  end=$(openssl x509 -in "$1.pem" -noout -enddate | sed 's/.*=//')
  names=$(openssl x509 -in "$1.pem" -noout -text | grep -A1 'Subject Alternative Name' | tail -n 1 | sed 's/ //g; s/IPAddress:/IP:/g')
  echo "$1.pem: kept, it is there already; it holds until $end"
  openssl x509 -in "$1.pem" -noout -checkend 604800 >/dev/null || echo "certificates.sh: warning: $1.pem ends on $end: --renew makes a new one" >&2
  case $2 in *IP:*:*) return 0 ;; esac # an IPv6 address has more than one spelling
  [ "$names" = "$2" ] || echo "certificates.sh: warning: $1.pem is for ${names:-nobody}, not for $2: --renew makes one that is" >&2
}

# issue FILE USAGE SAN: by the CA that was named last; the new pair is put in place only when it is whole.
issue() {
  local file=$dir/$1 key
  key=$file.key.new
  if [ -s "$file.pem" ] && [ ! -s "$file.key" ] && [ $renew = no ]; then
    keep "$file" "$3"
    return
  fi
  if [ -s "$file.pem" ]; then
    if [ $renew = no ] && of_pair "$file"; then
      keep "$file" "$3"
      return
    fi
    of_this_ca "$file" || fail "$file.pem is not of $ca.pem, so it is not replaced: move it away first"
  fi
  # What a run that was broken off has left is completed.
  if [ -s "$file.key" ] && [ $renew = no ]; then key=$file.key; fi
  [ -s "$ca.key" ] || fail "$ca.key is not here: certificates are made where the CA's key is kept"
  unfinished=$file
  trap 'rm -f "$unfinished".{csr,key.new,key.new.unfinished,pem.new}' EXIT
  [ "$key" = "$file.key" ] || new_key "$key"
  quietly openssl req -new -key "$key" -subj "/CN=$1" -out "$file.csr" \
    -config <(printf '[req]\ndistinguished_name = name\n[name]\n')
  quietly openssl x509 -req -days 90 -in "$file.csr" -CA "$ca.pem" -CAkey "$ca.key" \
    -set_serial "0x$(openssl rand -hex 15)" -out "$file.pem.new" -extfile <(printf '%s\n' "extendedKeyUsage = $2" \
      "subjectAltName = $3" "basicConstraints = critical, CA:false" "keyUsage = critical, digitalSignature" \
      "authorityKeyIdentifier = keyid")
  chmod 644 "$file.pem.new"
  [ "$key" = "$file.key" ] || mv "$key" "$file.key"
  mv "$file.pem.new" "$file.pem"
  echo "$file.pem: $3"
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
