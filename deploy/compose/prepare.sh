#!/usr/bin/env bash
# Makes what compose.yaml needs beside itself: certificates, a keyring, secrets, the configuration. What is there already
# stays, and is told. Needs openssl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
command -v openssl >/dev/null || { echo "prepare.sh: openssl is missing" >&2; exit 1; }

[ ! -d etc/secrets/example ] || mv etc/secrets/example etc/secrets/diku # as an earlier version called it
mkdir -p etc/tls
../certificates.sh tls server localhost vault
../certificates.sh tls module mod-data-import URI:spiffe://folio.example.org/mod-data-import
# The CA's key stays out of the vault's reach.
for file in server.pem server.key modules-ca.pem; do
  ../once.sh "etc/tls/$file" cat "tls/$file"
  cmp -s "tls/$file" "etc/tls/$file" || echo "prepare.sh: warning: etc/tls/$file is not tls/$file; copy it there if it is the one to use" >&2
done

key=$(openssl rand -base64 32)
../once.sh etc/secrets/keyring.toml cat <<TOML
primary = "k1"

[keys]
k1 = "$key"
TOML
# Keycloak knows the secret that keycloak.env has.
secret=$(sed -n 's/^TOKENVAULT_SECRET=//p' keycloak.env 2>/dev/null || true)
[ -n "$secret" ] || secret=$(openssl rand -hex 24)
../once.sh etc/secrets/diku/client-secret cat <<<"$secret"
secret=$(cat etc/secrets/diku/client-secret)
admin=$(openssl rand -hex 24) login=$(openssl rand -hex 24) alice=$(openssl rand -hex 24)
../once.sh keycloak.env cat <<ENV
KC_BOOTSTRAP_ADMIN_USERNAME=admin
KC_BOOTSTRAP_ADMIN_PASSWORD=$admin
LOGIN_APP_SECRET=$login
TOKENVAULT_SECRET=$secret
ALICE_PASSWORD=$alice
ENV
../once.sh etc/policy.toml cat ../policy.toml
../once.sh etc/tokenvault.toml cat <<'TOML'
[server]
cert_file = "tls/server.pem"
key_file = "tls/server.key"
client_ca_file = "tls/modules-ca.pem"

[redis]
url = "redis://redis:6379/0"

[keyring]
file = "secrets/keyring.toml"

[policy]
file = "policy.toml"

[keycloak]
issuer = "http://localhost:8081/realms/{tenant}" # what browsers see
base_url = "http://keycloak:8080/realms/{tenant}" # where the vault reaches it
client_id = "tokenvault"
client_secret_file = "secrets/{tenant}/client-secret"
user_id_claim = "user_id"
accepted_clients = ["diku-login-application"]

[tenants.diku]
TOML
../once.sh .env echo "TOKENVAULT_USER=$(id -u):$(id -g)"
echo "ready: docker compose -f deploy/compose/compose.yaml up --build"
