#!/usr/bin/env bash
# Makes an existing realm ready for the vault: its client, the claims it needs, the UI's audience. Run it again at will:
# it changes only what is not as it should be.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: setup.sh --url URL --realm REALM [options]

  --url URL             Keycloak's address, such as https://keycloak.example.org
  --realm REALM         the realm (tenant)
  --client ID           the vault's client (default: tokenvault)
  --ui-client ID        a client whose users' tokens the vault shall accept; may be given several times
  --user-id-claim NAME  the user attribute and claim that modules know users by (FOLIO: user_id); `sub` needs none
  --impersonate         let the vault open sessions of its own (the realm-management role `impersonation`; Keycloak
                        itself needs --features=token-exchange:v1)
  --backchannel-url URL the vault's listener for Keycloak (its section [idp]), such as https://vault.example.org:8445: logouts are
                        announced there at once; left as it is where the option is not given
  --secret-file FILE    where the vault's client secret is kept: read if it is there, else created (mode 0600)
  --admin-realm REALM   the administrator's realm (default: master)

The administrator: user name in KEYCLOAK_ADMIN (default: admin), password in the file KEYCLOAK_ADMIN_PASSWORD_FILE or in
KEYCLOAK_ADMIN_PASSWORD. Passwords and secrets are never arguments: every user of the machine can see those.
TEXT
}

fail() { echo "setup.sh: $*" >&2; exit 1; }

url="" realm="" client=tokenvault user_id_claim="" impersonate=no backchannel_url="" secret_file="" admin_realm=master ui_clients=()
while [ $# -gt 0 ]; do
  case $1 in
    --impersonate) impersonate=yes; shift; continue ;;
    -h | --help) usage; exit 0 ;;
    --url | --realm | --client | --ui-client | --user-id-claim | --backchannel-url | --secret-file | --admin-realm) ;;
    *) usage >&2; exit 2 ;;
  esac
  [ $# -ge 2 ] || { usage >&2; exit 2; }
  case $1 in
    --url) url=${2%/} ;;
    --realm) realm=$2 ;;
    --client) client=$2 ;;
    --ui-client) ui_clients+=("$2") ;;
    --user-id-claim) user_id_claim=$2 ;;
    --backchannel-url) backchannel_url=${2%/} ;;
    --secret-file) secret_file=$2 ;;
    --admin-realm) admin_realm=$2 ;;
  esac
  shift 2
done
[ -n "$url" ] && [ -n "$realm" ] || { usage >&2; exit 2; }
for program in curl jq; do command -v $program >/dev/null || fail "$program is missing"; done

admin=${KEYCLOAK_ADMIN:-admin}
if [ -n "${KEYCLOAK_ADMIN_PASSWORD_FILE:-}" ]; then
  admin_password=$(cat "$KEYCLOAK_ADMIN_PASSWORD_FILE")
else
  admin_password=${KEYCLOAK_ADMIN_PASSWORD:-}
fi
[ -n "$admin_password" ] || fail "give the administrator's password by KEYCLOAK_ADMIN_PASSWORD_FILE or KEYCLOAK_ADMIN_PASSWORD"

umask 077
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# --- Keycloak's admin API; what is secret goes to curl and jq through files and pipes -----------------------------------

form() { jq -rn --arg text "$1" '$text | @uri'; }

log_in() {
  local status
  # printf is the shell's own, so the password is in no process's arguments; jq encodes it from its standard input.
  status=$(
    { printf 'grant_type=password&client_id=admin-cli&username=%s&password=' "$(form "$admin")"
      printf '%s' "$admin_password" | jq -Rrsj @uri; } |
      curl -sS -o "$scratch/token" -w '%{http_code}' --data-binary @- \
        "$url/realms/$admin_realm/protocol/openid-connect/token"
  ) || fail "no answer from $url"
  [ "$status" = 200 ] || fail "the administrator could not log in: $(jq -r '.error_description // .error' "$scratch/token")"
  # A curl configuration file keeps the token out of curl's arguments.
  jq -r '"header = \"Authorization: Bearer \(.access_token)\""' "$scratch/token" >"$scratch/curl"
}

# call METHOD PATH [BODY-FILE]: the answer's body on standard output.
call() {
  local status
  status=$(curl -sS -K "$scratch/curl" -X "$1" -o "$scratch/answer" -w '%{http_code}' \
    ${3:+-H 'Content-Type: application/json' --data-binary "@$3"} "$url/admin/realms/$(form "$realm")$2") ||
    fail "no answer from $url"
  case $status in
    2*) cat "$scratch/answer" ;;
    *) fail "$1 realm $realm$2: $status $(head -c 300 "$scratch/answer")" ;;
  esac
}

client_uuid() { # CLIENT-ID: empty if there is none
  call GET "/clients?clientId=$(form "$1")" | jq -r --arg id "$1" '.[] | select(.clientId == $id) | .id'
}

# put_mapper CLIENT-UUID MAPPER-JSON: creates it, or brings the one of that name into line.
put_mapper() {
  local present name
  name=$(jq -r .name <<<"$2")
  call GET "/clients/$1/protocol-mappers/models" >"$scratch/mappers"
  present=$(jq -c --arg name "$name" '.[] | select(.name == $name)' "$scratch/mappers")
  if [ -z "$present" ]; then
    echo "$2" >"$scratch/mapper"
    call POST "/clients/$1/protocol-mappers/models" "$scratch/mapper" >/dev/null
    echo "  added the mapper \"$name\""
  elif ! jq -en --argjson present "$present" --argjson wanted "$2" \
    '($present.protocolMapper == $wanted.protocolMapper) and (($present.config + $wanted.config) == $present.config)' >/dev/null; then
    jq -n --argjson present "$present" --argjson wanted "$2" '$present * $wanted' >"$scratch/mapper"
    call PUT "/clients/$1/protocol-mappers/models/$(jq -r .id <<<"$present")" "$scratch/mapper" >/dev/null
    echo "  corrected the mapper \"$name\""
  fi
}

audience_mapper() {
  jq -cn --arg client "$client" '{name: "audience \($client)", protocol: "openid-connect",
    protocolMapper: "oidc-audience-mapper", config: {"included.client.audience": $client,
    "access.token.claim": "true", "introspection.token.claim": "true"}}'
}

user_id_mapper() {
  jq -cn --arg name "$user_id_claim" '{name: $name, protocol: "openid-connect",
    protocolMapper: "oidc-usermodel-attribute-mapper", config: {"user.attribute": $name, "claim.name": $name,
    "jsonType.label": "String", "access.token.claim": "true", "introspection.token.claim": "true"}}'
}

add_mappers() { # CLIENT-UUID
  put_mapper "$1" "$(audience_mapper)"
  [ -z "$user_id_claim" ] || [ "$user_id_claim" = sub ] || put_mapper "$1" "$(user_id_mapper)"
}

# --- the vault's client -------------------------------------------------------------------------------------------------

log_in
call GET "" | jq -e --arg realm "$realm" '.realm == $realm' >/dev/null || fail "the realm $realm cannot be used"

wanted=$(jq -cn --arg id "$client" '{clientId: $id, enabled: true, protocol: "openid-connect", publicClient: false,
  standardFlowEnabled: false, implicitFlowEnabled: false, directAccessGrantsEnabled: false, serviceAccountsEnabled: true,
  attributes: {"standard.token.exchange.enabled": "true",
  "standard.token.exchange.enableRefreshRequestedTokenType": "SAME_SESSION"}}')
if [ -n "$backchannel_url" ]; then
  wanted=$(jq -c --arg url "$backchannel_url/backchannel-logout/$realm" \
    '.attributes += {"backchannel.logout.url": $url, "backchannel.logout.session.required": "true"}' <<<"$wanted")
fi

echo "client $client"
vault=$(client_uuid "$client")
if [ -z "$vault" ]; then
  echo "$wanted" >"$scratch/client"
  call POST "/clients" "$scratch/client" >/dev/null
  vault=$(client_uuid "$client")
  echo "  created"
else
  call GET "/clients/$vault" >"$scratch/present"
  if ! jq -e --argjson wanted "$wanted" '. as $present | ($present * $wanted) == $present' "$scratch/present" >/dev/null; then
    jq --argjson wanted "$wanted" '. * $wanted' "$scratch/present" >"$scratch/client"
    call PUT "/clients/$vault" "$scratch/client" >/dev/null
    echo "  corrected"
  fi
fi
add_mappers "$vault"

if [ -n "$secret_file" ]; then
  if [ -s "$secret_file" ]; then
    call GET "/clients/$vault" >"$scratch/present"
    if ! jq -e --rawfile secret "$secret_file" '.secret == ($secret | rtrimstr("\n"))' "$scratch/present" >/dev/null; then
      jq --rawfile secret "$secret_file" '.secret = ($secret | rtrimstr("\n"))' "$scratch/present" >"$scratch/client"
      call PUT "/clients/$vault" "$scratch/client" >/dev/null
      echo "  took the secret from $secret_file"
    fi
  else
    mkdir -p "$(dirname "$secret_file")"
    call GET "/clients/$vault/client-secret" | jq -r .value >"$secret_file"
    echo "  wrote the secret to $secret_file"
  fi
fi

if [ "$impersonate" = yes ]; then
  account=$(call GET "/clients/$vault/service-account-user" | jq -r .id)
  management=$(client_uuid realm-management)
  roles=$(call GET "/users/$account/role-mappings/clients/$management")
  if ! jq -e 'any(.name == "impersonation")' <<<"$roles" >/dev/null; then
    call GET "/clients/$management/roles/impersonation" | jq '[.]' >"$scratch/roles"
    call POST "/users/$account/role-mappings/clients/$management" "$scratch/roles" >/dev/null
    echo "  granted realm-management/impersonation to its service account"
  fi
fi

# --- the clients whose users' tokens it shall accept --------------------------------------------------------------------

for ui_client in ${ui_clients[@]+"${ui_clients[@]}"}; do
  echo "client $ui_client"
  ui=$(client_uuid "$ui_client")
  [ -n "$ui" ] || fail "there is no client $ui_client"
  add_mappers "$ui"
done

# --- what the realm's settings mean for the vault -----------------------------------------------------------------------

call GET "" >"$scratch/realm"
jq -r '"realm \(.realm): access tokens live \(.accessTokenLifespan) s; sessions idle \(.ssoSessionIdleTimeout) s, at most \(.ssoSessionMaxLifespan) s; " +
  (if .revokeRefreshToken then "refresh tokens are used at most \(.refreshTokenMaxReuse + 1) time(s)" else "refresh tokens are not rotated" end)' "$scratch/realm"
