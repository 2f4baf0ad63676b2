#!/usr/bin/env bash
# Makes what compose.yaml needs beside itself: certificates, a keyring, secrets, the configuration. What is there already
# stays. Needs openssl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
umask 077
command -v openssl >/dev/null || { echo "prepare.sh: openssl is missing" >&2; exit 1; }

random() { openssl rand -hex 24; }
[ ! -d etc/secrets/example ] || mv etc/secrets/example etc/secrets/diku # as an earlier version called it
mkdir -p etc/secrets/diku etc/tls
[ -s tls/server.pem ] || ../certificates.sh tls server localhost vault
[ -s tls/mod-data-import.pem ] || ../certificates.sh tls module mod-data-import URI:spiffe://folio.example.org/mod-data-import
# The CA's key stays out of the vault's reach.
cp tls/server.pem tls/server.key tls/modules-ca.pem etc/tls/
[ -s etc/secrets/keyring.toml ] ||
  printf 'primary = "k1"\n\n[keys]\nk1 = "%s"\n' "$(openssl rand -base64 32)" >etc/secrets/keyring.toml
[ -s etc/secrets/diku/client-secret ] || random >etc/secrets/diku/client-secret
if [ ! -s keycloak.env ]; then
  {
    echo KC_BOOTSTRAP_ADMIN_USERNAME=admin
    echo "KC_BOOTSTRAP_ADMIN_PASSWORD=$(random)"
    echo "LOGIN_APP_SECRET=$(random)"
    echo "TOKENVAULT_SECRET=$(cat etc/secrets/diku/client-secret)"
    echo "ALICE_PASSWORD=$(random)"
  } >keycloak.env
fi
cp ../policy.toml etc/policy.toml
cat >etc/tokenvault.toml <<'TOML'
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
echo "TOKENVAULT_USER=$(id -u):$(id -g)" >.env
echo "ready: docker compose -f deploy/compose/compose.yaml up --build"
