#!/usr/bin/env bash
# Makes existing realms ready for the vault: its client, the claims it needs, the UI's audience. Run it again at will, also
# after an upgrade of the vault: it changes only what is not as it should be, and says what it changed.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: setup.sh --url URL --realm REALM [options]

  --url URL             Keycloak's address, such as https://keycloak.example.org
  --realm REALM         the realm (tenant), such as diku; may be given several times
  --client ID           the vault's client (default: tokenvault)
  --ui-client ID        a client whose users' tokens the vault shall accept (FOLIO: '{realm}-login-application'); may be given
                        several times
  --user-id-claim NAME  the claim that modules know users by (FOLIO: user_id), made of what the UI's clients or the realm's
                        client scopes make it of already, else of the user attribute of that name; `sub` needs none
  --protect-user-id     let only administrators edit the attribute it is made of, by the realm's user profile: in FOLIO's
                        realms a user can write the own user_id, and register in another's name
  --impersonate         let the vault open sessions of its own (the realm-management role `impersonation`; Keycloak
                        itself needs --features=token-exchange:v1)
  --full-scope          let the vault's tokens carry every role of their users, where modules read roles from tokens; otherwise
                        they carry the roles in the client's scope mappings, and stay small
  --backchannel-url URL the vault's listener for Keycloak (its section [idp]), such as https://vault.example.org:8445: logouts are
                        announced there at once; left as it is where the option is not given
  --secret-file FILE    where the vault's client secret is kept: read if there is one in it, else written (mode 0600); the
                        client then proves itself by that secret
  --admin-realm REALM   the administrator's realm (default: master)
  --admin-client ID     a client whose service account is the administrator, in place of a user

{realm} or {tenant} stands for the realm's name in the values of --client, --ui-client, --secret-file and --admin-realm.
Where one realm fails, the others are set up all the same, and the script ends with 1.

The administrator: user name in KEYCLOAK_ADMIN (default: admin), password in the file KEYCLOAK_ADMIN_PASSWORD_FILE or in
KEYCLOAK_ADMIN_PASSWORD; with --admin-client, the client's secret in the file KEYCLOAK_ADMIN_CLIENT_SECRET_FILE. Passwords
and secrets are never arguments: every user of the machine can see those.
TEXT
}

fail() { echo "setup.sh: $*" >&2; exit 1; }

url="" client_name=tokenvault user_id_claim="" protect=no impersonate=no full_scope=no backchannel_url="" secret_name="" admin_realm_name=master
admin_client="" realms=() ui_names=()
while [ $# -gt 0 ]; do
  case $1 in
    --impersonate) impersonate=yes; shift; continue ;;
    --protect-user-id) protect=yes; shift; continue ;;
    --full-scope) full_scope=yes; shift; continue ;;
    -h | --help) usage; exit 0 ;;
    --url | --realm | --client | --ui-client | --user-id-claim | --backchannel-url | --secret-file | --admin-realm | --admin-client) ;;
    *) usage >&2; exit 2 ;;
  esac
  [ $# -ge 2 ] || { usage >&2; exit 2; }
  case $1 in
    --url) url=${2%/} ;;
    --realm) realms+=("$2") ;;
    --client) client_name=$2 ;;
    --ui-client) ui_names+=("$2") ;;
    --user-id-claim) user_id_claim=$2 ;;
    --backchannel-url) backchannel_url=${2%/} ;;
    --secret-file) secret_name=$2 ;;
    --admin-realm) admin_realm_name=$2 ;;
    --admin-client) admin_client=$2 ;;
  esac
  shift 2
done
[ -n "$url" ] && [ ${#realms[@]} -gt 0 ] || { usage >&2; exit 2; }
case ${#realms[@]}:$secret_name in
  1:* | *:"" | *"{realm}"* | *"{tenant}"*) ;;
  *) fail "several realms must not share one secret: put {realm} into the value of --secret-file" ;;
esac
case $protect:$user_id_claim in yes: | yes:sub) fail "--protect-user-id needs --user-id-claim, the attribute to protect" ;; esac
for program in curl jq; do command -v $program >/dev/null || fail "$program is missing"; done

# secret_of FILE: the secret in it, as the vault reads it: one line end at its end is not part of it.
secret_of() { jq -Rrsj 'rtrimstr("\n") | rtrimstr("\r")' "$1"; }

# blank FILE: whether there is no secret in it. White space alone is none: anybody could guess it.
blank() { jq -Rse 'test("\\S") | not' "$1" >/dev/null; }

umask 077
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The administrator's password or secret goes from its file or the environment into a file of ours, never into an argument.
if [ -n "$admin_client" ]; then
  [ -r "${KEYCLOAK_ADMIN_CLIENT_SECRET_FILE:-}" ] || fail "give the secret of $admin_client by KEYCLOAK_ADMIN_CLIENT_SECRET_FILE"
  cat "$KEYCLOAK_ADMIN_CLIENT_SECRET_FILE"
elif [ -n "${KEYCLOAK_ADMIN_PASSWORD_FILE:-}" ]; then
  cat "$KEYCLOAK_ADMIN_PASSWORD_FILE"
else
  printf '%s' "${KEYCLOAK_ADMIN_PASSWORD:-}"
fi >"$scratch/password"
if blank "$scratch/password"; then
  [ -z "$admin_client" ] || fail "there is no secret of $admin_client in the file KEYCLOAK_ADMIN_CLIENT_SECRET_FILE"
  fail "give the administrator's password by KEYCLOAK_ADMIN_PASSWORD_FILE or KEYCLOAK_ADMIN_PASSWORD"
fi

# --- Keycloak's admin API; what is secret goes to curl and jq through files and pipes -----------------------------------

# The text as a part of a URL or a form. Most texts need no encoding, and jq takes long to start.
form() {
  local LC_ALL=C
  case $1 in *[!A-Za-z0-9._~-]*) jq -rn --arg text "$1" '$text | @uri' ;; *) printf '%s' "$1" ;; esac
}

# In quotes, as TOML, JSON and jq's programs have it.
toml() { jq -cn --arg text "$1" '$text'; }

# The value with the realm's name in it.
named() { local text=${1//\{realm\}/$realm}; printf '%s' "${text//\{tenant\}/$realm}"; }

log_in() {
  local status who grant=password identity="client_id=admin-cli" parameter=password
  if [ -n "$admin_client" ]; then
    who="the client $admin_client" grant=client_credentials identity="client_id=$(form "$(named "$admin_client")")" parameter=client_secret
  else
    who="the administrator" identity="$identity&username=$(form "${KEYCLOAK_ADMIN:-admin}")"
  fi
  status=$(
    { printf 'grant_type=%s&%s&%s=' "$grant" "$identity" "$parameter"
      secret_of "$scratch/password" | jq -Rrsj @uri; } |
      curl -sS -o "$scratch/token" -w '%{http_code}' --data-binary @- \
        "$url/realms/$(form "$(named "$admin_realm_name")")/protocol/openid-connect/token"
  ) || fail "no answer from $url"
  [ "$status" = 200 ] || fail "$who could not log in: $(jq -r '.error_description // .error' "$scratch/token" 2>/dev/null || echo "$status")"
  # A curl configuration file keeps the token out of curl's arguments.
  jq -r '"header = \"Authorization: Bearer \(.access_token)\""' "$scratch/token" >"$scratch/curl"
}

# call METHOD PATH [BODY-FILE]: the answer's body on standard output. An administrator's token lives a minute by default.
call() {
  local status attempt
  for attempt in 1 2; do
    status=$(curl -sS -K "$scratch/curl" -X "$1" -o "$scratch/answer" -w '%{http_code}' \
      ${3:+-H 'Content-Type: application/json' --data-binary "@$3"} "$url/admin/realms/$(form "$realm")$2") ||
      fail "no answer from $url"
    [ "$status:$attempt" = 401:1 ] || break
    log_in
  done
  case $status in
    2*) cat "$scratch/answer" ;;
    403) fail "$1 realm $realm$2: 403, the administrator lacks a role: deploy/keycloak/README.md names those it needs" ;;
    *) fail "$1 realm $realm$2: $status $(head -c 300 "$scratch/answer")" ;;
  esac
}

client_uuid() { # CLIENT-ID: empty if there is none
  call GET "/clients?clientId=$(form "$1")" | jq -r --arg id "$1" '.[] | select(.clientId == $id) | .id'
}

# --- mappers: each carries lightweight.claim, for FOLIO's UI gets lightweight tokens ----------------------------------------

# mapper NAME TYPE CONFIG: its representation.
mapper() {
  jq -cn --arg name "$1" --arg type "$2" --argjson config "$3" '{name: $name, protocol: "openid-connect",
    protocolMapper: $type, config: ($config + {"access.token.claim": "true", "introspection.token.claim": "true",
    "lightweight.claim": "true"})}'
}

audience_mapper() {
  mapper "audience $client" oidc-audience-mapper "$(jq -cn --arg id "$client" '{"included.client.audience": $id}')"
}

# Made of what learn_source found.
user_id_mapper() {
  mapper "$user_id_claim" "$(jq -r .protocolMapper "$scratch/source")" "$(jq -c .config "$scratch/source")"
}

# Keycloak's own id of the user, which nobody can write: a session of the vault's own is asked for and compared by it.
account_mapper() {
  mapper keycloak_user_id oidc-usermodel-property-mapper \
    '{"user.attribute": "id", "claim.name": "keycloak_user_id", "jsonType.label": "String"}'
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

# What a mapper makes its claim of, in words; two that say the same make the same. Keycloak keeps the name, the address and
# the like among a user's attributes as well.
SOURCE='def source: .config["user.attribute"] as $name |
    if .protocolMapper | test("^oidc-usermodel-(attribute|property)-mapper$") | not then "a mapper of the type \(.protocolMapper)"
    elif .protocolMapper == "oidc-usermodel-property-mapper" and $name == "id" then "Keycloak\u0027s id of the user"
    elif .protocolMapper == "oidc-usermodel-property-mapper" or ($name | IN("username", "email", "firstName", "lastName"))
    then "the user\u0027s \($name)" else "the attribute \($name)" end;'

# look_at CLIENT-UUID: the client, the mappers that are in effect for it, its own and its scopes' (with the scope's name), and
# those of them that put something into its access tokens.
look_at() {
  call GET "/clients/$1" >"$scratch/present"
  call GET "/client-scopes" >"$scratch/scopes"
  call GET "/clients/$1/evaluate-scopes/protocol-mappers?scope=openid" >"$scratch/effective"
  flag=$(jq -r 'if .attributes["client.use.lightweight.access.token.enabled"] == "true"
    then "lightweight.claim" else "access.token.claim" end' "$scratch/present")
  jq -n --slurpfile client "$scratch/present" --slurpfile scopes "$scratch/scopes" --slurpfile effective "$scratch/effective" '
    [$effective[0][].mapperId] as $known |
    [($client[0].protocolMappers // [] | .[]), ($scopes[0][] | .name as $scope | .protocolMappers // [] | .[] | . + {scope: $scope})
     | select(.id | IN($known[]))]' >"$scratch/mappings"
  jq --arg flag "$flag" 'map(select(.config[$flag] == "true" or ((.protocolMapper | contains("pairwise")) and .config[$flag] != "false")))' \
    "$scratch/mappings" >"$scratch/carried"
}

# carries CONDITION [--arg NAME VALUE]: whether one of those mappers meets it.
carries() { local condition=$1; shift; jq -e "$@" "any(.[]; $condition)" "$scratch/carried" >/dev/null; }

# has_mapper NAME: whether the client has one of that name, which an earlier run may have made.
has_mapper() { jq -e --arg name "$1" 'any(.protocolMappers // [] | .[]; .name == $name)' "$scratch/present" >/dev/null; }

# mark CLIENT-UUID MAPPER-JSON: puts what the client's mapper makes into its access tokens of the kind it has now.
mark() {
  local kind=regular other=lightweight
  [ "$flag" = access.token.claim ] || kind=lightweight other=regular
  jq --arg flag "$flag" 'del(.scope) | .config[$flag] = "true"' <<<"$2" >"$scratch/mapper"
  call PUT "/clients/$1/protocol-mappers/models/$(jq -r .id <<<"$2")" "$scratch/mapper" >/dev/null
  echo "  marked the mapper \"$(jq -r .name <<<"$2")\" for its $kind access tokens, which carry \`$3\` as the $other ones do"
}

# serve CLIENT-UUID CLAIM CONDITION MAPPER-JSON: of the mappers in effect that meet the condition, marks the client's own, or
# gives it one of its own like the scope's; where there is none it gets the mapper.
serve() {
  local present
  present=$(jq -c "map(select($3)) | sort_by(has(\"scope\")) | .[0] // empty" "$scratch/mappings")
  if [ -z "$present" ]; then
    put_mapper "$1" "$4"
  elif jq -e 'has("scope") | not' <<<"$present" >/dev/null; then
    mark "$1" "$present" "$2"
  else
    put_mapper "$1" "$(mapper "$2" "$(jq -r .protocolMapper <<<"$present")" "$(jq -c '.config | with_entries(select(.key | endswith("token.claim") | not))' <<<"$present")")"
  fi
}

# The client's tokens need a `sub`. FOLIO maps the user's name onto it, which is left alone, and goes along when the client
# changes the kind of its tokens: what modules take for the user must not become something else by that.
put_sub() { # CLIENT-UUID
  local named='.config["claim.name"] == "sub" and (.config["access.token.claim"] == "true" or .config["lightweight.claim"] == "true")'
  local plain='.protocolMapper | test("^oidc-sub-mapper$|pairwise")'
  look_at "$1"
  if carries "$named"; then
    return
  elif carries "$plain"; then
    [ "$flag" = access.token.claim ] || ! jq -e "any(.[]; $named)" "$scratch/mappings" >/dev/null ||
      echo "setup.sh: warning: $(jq -r .clientId "$scratch/present") maps something of its own onto \`sub\` of regular tokens, and its lightweight ones carry Keycloak's id there: mark that mapper (lightweight.claim) if modules are to see the same as before" >&2
  elif jq -e "any(.[]; $named)" "$scratch/mappings" >/dev/null; then
    serve "$1" sub "$named" ""
  else
    serve "$1" sub "$plain" "$(mapper sub oidc-sub-mapper '{}')"
  fi
}

# --- what users are known by ----------------------------------------------------------------------------------------------

# Claims that Keycloak makes by itself, and those of OpenID Connect: an attribute that happens to have such a name is nobody's
# id, and users may be free to write it.
NOT_ATTRIBUTES="iss aud exp iat nbf jti azp typ sid acr amr scope nonce auth_time session_state realm_access resource_access
  allowed-origins cnf act may_act client_id authorization name preferred_username given_name family_name middle_name nickname
  profile picture website email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address updated_at
  upn groups roles"

# What the claim is made of: of what the UI's clients make it already, else of what one of the realm's client scopes does, else
# of the attribute of its name. A mapper of the claim's own name is an earlier run's, and tells nothing.
learn_source() {
  local name ui one_of="$SOURCE "'select(.config["claim.name"] == $claim and (has("scope") or .name != $claim))'
  : >"$scratch/served"
  for name in ${ui_names[@]+"${ui_names[@]}"}; do
    ui=$(client_uuid "$(named "$name")")
    [ -n "$ui" ] || fail "there is no client $(named "$name") in the realm $realm"
    look_at "$ui"
    jq -c --arg claim "$user_id_claim" ".[] | $one_of" "$scratch/mappings" >>"$scratch/served"
  done
  if [ ! -s "$scratch/served" ]; then
    call GET "/client-scopes" | jq -c --arg claim "$user_id_claim" '.[].protocolMappers // [] | .[] |
      select(.protocol == "openid-connect" and .config["claim.name"] == $claim)' >"$scratch/served"
  fi
  if [ "$user_id_claim" = keycloak_user_id ]; then
    account_mapper >"$scratch/served"
  elif [ ! -s "$scratch/served" ]; then
    [[ " ${NOT_ATTRIBUTES//$'\n'/ } " != *" $user_id_claim "* ]] ||
      fail "users of the realm $realm cannot be known by \`$user_id_claim\`: that is no attribute, and no mapper of the realm makes it; give the claim of an attribute that only administrators write (FOLIO: user_id)"
    mapper "$user_id_claim" "oidc-usermodel-$([ "$user_id_claim" = id ] && echo property || echo attribute)-mapper" \
      "$(jq -cn --arg name "$user_id_claim" '{"user.attribute": $name, "claim.name": $name, "jsonType.label": "String"}')" >"$scratch/served"
  fi
  jq -s "$SOURCE"' map({protocolMapper, config: (.config | with_entries(select(.key | endswith("token.claim") or . == "lightweight.claim" | not))), source: source})
    | unique_by(.source)' "$scratch/served" >"$scratch/sources"
  [ "$(jq length "$scratch/sources")" = 1 ] ||
    fail "\`$user_id_claim\` is made of different things in the tokens of ${ui_names[*]} (realm $realm): $(jq -r 'map(.source) | join("; ")' "$scratch/sources"). Leave one mapper for it, the same for each client"
  jq '.[0]' "$scratch/sources" >"$scratch/source"
  [ "$user_id_claim" = keycloak_user_id ] || [ "$user_id_claim" = "$(jq -r '.config["user.attribute"] // ""' "$scratch/source")" ] ||
    echo "\`$user_id_claim\` is $(jq -r .source "$scratch/source"), as the realm makes it already"
}

# --- the vault's client -------------------------------------------------------------------------------------------------

wanted_client() {
  jq -cn --arg id "$client" --arg url "${backchannel_url:+$backchannel_url/backchannel-logout/$realm}" --arg file "$secret_name" '
    {clientId: $id, enabled: true, protocol: "openid-connect", publicClient: false, bearerOnly: false, consentRequired: false,
     standardFlowEnabled: false, implicitFlowEnabled: false, directAccessGrantsEnabled: false, serviceAccountsEnabled: true,
     attributes: ({"standard.token.exchange.enabled": "true",
       "standard.token.exchange.enableRefreshRequestedTokenType": "SAME_SESSION"} +
       if $url == "" then {} else {"backchannel.logout.url": $url, "backchannel.logout.session.required": "true"} end)} +
    if $file == "" then {} else {clientAuthenticatorType: "client-secret"} end'
}

# What Keycloak has so by itself, and what would break the vault otherwise: lightweight tokens hide the roles by which
# privileged users are known, and the vault proves no possession of a key.
DEFAULTS='{"client.use.lightweight.access.token.enabled": "false", "use.refresh.tokens": "true",
  "dpop.bound.access.tokens": "false", "tls.client.certificate.bound.access.tokens": "false"}'

set_up_vault() {
  local wrong
  echo "client $client"
  wanted_client >"$scratch/wanted"
  vault=$(client_uuid "$client")
  if [ -z "$vault" ]; then
    jq --arg full "$full_scope" '. + {fullScopeAllowed: ($full == "yes")}' "$scratch/wanted" >"$scratch/client"
    call POST "/clients" "$scratch/client" >/dev/null
    vault=$(client_uuid "$client")
    echo "  created"
  else
    call GET "/clients/$vault" >"$scratch/present"
    jq --argjson defaults "$DEFAULTS" --slurpfile wanted "$scratch/wanted" '. as $present |
      $wanted[0] * {attributes: ($defaults | with_entries(select(($present.attributes[.key] // .value) != .value)))}' \
      "$scratch/present" >"$scratch/change"
    wrong=$(jq -r --slurpfile change "$scratch/change" '. as $present | $change[0] | [paths(type != "object")] |
      map(select(. as $at | ($present | getpath($at)) != ($change[0] | getpath($at))) | last) | join(", ")' "$scratch/present")
    if [ -n "$wrong" ]; then
      jq --slurpfile change "$scratch/change" '. * $change[0]' "$scratch/present" >"$scratch/client"
      call PUT "/clients/$vault" "$scratch/client" >/dev/null
      echo "  corrected $wrong"
    fi
  fi
  put_mapper "$vault" "$(audience_mapper)"
  map_alone keycloak_user_id "$(account_mapper)"
  if by_claim && [ "$user_id_claim" != keycloak_user_id ]; then map_alone "$user_id_claim" "$(user_id_mapper)"; fi
  put_sub "$vault"
}

# map_alone CLAIM MAPPER-JSON: the vault's tokens carry the claim, made of this and of nothing else. Its own mappers that
# make it of something are removed; what a client scope makes of it is others' as well, and has to be the same.
map_alone() {
  local id name others serves="$SOURCE"' select(.config["claim.name"] == $claim and has("scope"))'
  look_at "$vault"
  others=$(jq -r --arg claim "$1" --argjson wanted "$2" ".[] | $serves"' | select(source != ($wanted | source)) |
    "its client scope \(.scope) makes it of \(source) (mapper \(.name))"' "$scratch/carried")
  [ -z "$others" ] || fail "\`$1\` of $client in the realm $realm cannot be relied on: $others. Take that scope from the client, or the mapper out of the scope"
  if has_mapper "$1" || [ -z "$(jq -c --arg claim "$1" ".[] | $serves" "$scratch/carried")" ]; then put_mapper "$vault" "$2"; fi
  jq -r --arg claim "$1" '.[] | select(.config["claim.name"] == $claim and (has("scope") or .name == $claim | not)) | "\(.id) \(.name)"' \
    "$scratch/carried" >"$scratch/others"
  while read -r id name; do
    call DELETE "/clients/$vault/protocol-mappers/models/$id" >/dev/null
    echo "  removed the mapper \"$name\", which wrote \`$1\` as well"
  done <"$scratch/others"
}

by_claim() { [ -n "$user_id_claim" ] && [ "$user_id_claim" != sub ]; }

# A client whose secret is empty can be used by everybody. What the vault has as its secret is never empty, so that nothing is
# lost.
renew_empty_secret() {
  call GET "/clients/$vault" >"$scratch/present"
  jq -e '.clientAuthenticatorType == "client-secret" and ((.secret // "") | test("\\S") | not)' "$scratch/present" >/dev/null || return 0
  call POST "/clients/$vault/client-secret" >/dev/null
  echo "  had an empty secret, with which everybody could use it: Keycloak has made a new one"
}

# The file is written as a whole: a temporary one with mode 0600 takes its place, whatever mode an empty one had.
keep_secret() {
  local file written
  file=$(secret_file)
  if [ -e "$file" ] && [ ! -f "$file" ]; then fail "$file is no file"; fi
  if [ -s "$file" ]; then
    [ -r "$file" ] || fail "$file cannot be read"
    ! blank "$file" || fail "there is no secret in $file: put one into it, or delete it, and the client's own is written there"
    secret_of "$file" >"$scratch/secret"
    call GET "/clients/$vault" >"$scratch/present"
    ! jq -e --rawfile secret "$scratch/secret" '.secret == $secret' "$scratch/present" >/dev/null || return 0
    jq --rawfile secret "$scratch/secret" '.secret = $secret' "$scratch/present" >"$scratch/client"
    call PUT "/clients/$vault" "$scratch/client" >/dev/null
    echo "  took the secret from $file"
  else
    call GET "/clients/$vault/client-secret" | jq -rj '.value // ""' >"$scratch/secret"
    ! blank "$scratch/secret" || fail "Keycloak has no secret for $client in the realm $realm"
    mkdir -p "$(dirname "$file")"
    written=$(mktemp "$file.XXXXXX")
    # Whose the empty file was, his is the secret.
    [ ! -e "$file" ] || chown --reference="$file" "$written" 2>/dev/null || true
    { cat "$scratch/secret"; echo; } >"$written"
    mv -f "$written" "$file"
    echo "  wrote the secret to $file"
  fi
}

# As the vault must be told: it takes a relative path for one below its configuration's directory.
secret_file() {
  local file
  file=$(named "$secret_name")
  case $file in /*) printf '%s' "$file" ;; *) printf '%s/%s' "$PWD" "${file#./}" ;; esac
}

# The role impersonation, and last the scope: a client without full scope needs the role in its scope mappings, also where an
# earlier run has granted it, and at no moment must it be without either.
set_scope() {
  local account management held
  account=$(call GET "/clients/$vault/service-account-user" | jq -r .id)
  management=$(client_uuid realm-management)
  [ -n "$management" ] || fail "the realm $realm has no client realm-management: it cannot be a tenant"
  call GET "/clients/$management/roles/impersonation" | jq '[.]' >"$scratch/role"
  held=$(call GET "/users/$account/role-mappings/clients/$management/composite" | jq 'any(.[]; .name == "impersonation")')
  # Not /composite, which counts full scope in.
  call GET "/clients/$vault/scope-mappings/clients/$management" >"$scratch/mapped"
  if [ "$impersonate:$held" != no:false ] && ! jq -e 'any(.[]; .name == "impersonation")' "$scratch/mapped" >/dev/null; then
    call POST "/clients/$vault/scope-mappings/clients/$management" "$scratch/role" >/dev/null
    echo "  put realm-management/impersonation into its scope mappings"
  fi
  if [ "$impersonate:$held" = yes:false ]; then
    call POST "/users/$account/role-mappings/clients/$management" "$scratch/role" >/dev/null
    echo "  granted realm-management/impersonation to its service account"
    held=true
  fi
  call GET "/clients/$vault" >"$scratch/present"
  case $full_scope:$(jq .fullScopeAllowed "$scratch/present") in
    no:true)
      jq '.fullScopeAllowed = false' "$scratch/present" >"$scratch/client"
      call PUT "/clients/$vault" "$scratch/client" >/dev/null
      echo "  switched full scope off: its tokens carry only the roles in its scope mappings from now on, also those of running jobs; --full-scope switches it on again" ;;
    yes:false)
      jq '.fullScopeAllowed = true' "$scratch/present" >"$scratch/client"
      call PUT "/clients/$vault" "$scratch/client" >/dev/null
      echo "  switched full scope on: its tokens carry every role of their users" ;;
  esac
  may_impersonate=$held
}

# --- the clients whose users' tokens it shall accept --------------------------------------------------------------------

set_up_ui() { # CLIENT-ID
  local ui
  echo "client $1"
  ui=$(client_uuid "$1")
  [ -n "$ui" ] || fail "there is no client $1 in the realm $realm"
  look_at "$ui"
  # What the client's tokens carry already is not mapped a second time.
  if has_mapper "audience $client" ||
    ! carries '.protocolMapper == "oidc-audience-mapper" and (.config["included.client.audience"] == $id or .config["included.custom.audience"] == $id)' --arg id "$client"; then
    put_mapper "$ui" "$(audience_mapper)"
  fi
  if by_claim; then
    if has_mapper "$user_id_claim"; then
      put_mapper "$ui" "$(user_id_mapper)"
    elif ! carries '.config["claim.name"] == $name' --arg name "$user_id_claim"; then
      serve "$ui" "$user_id_claim" ".config[\"claim.name\"] == $(toml "$user_id_claim") and (has(\"scope\") | not)" "$(user_id_mapper)"
    fi
  elif carries '.config["claim.name"] == "sub"'; then
    echo "setup.sh: warning: $1 maps something of its own onto \`sub\` (FOLIO: the user's name), so users cannot be known by it: give --user-id-claim (FOLIO: user_id)" >&2
  fi
  put_sub "$ui"
}

warn_of_hidden_roles() { # CLIENT-ID
  call GET "/clients/$(client_uuid "$1")" >"$scratch/present"
  ! jq -e '.fullScopeAllowed == false' "$scratch/present" >/dev/null ||
    echo "setup.sh: warning: $1 has no full scope, so Keycloak does not tell its users' roles: the vault cannot see who is privileged, and refuses to impersonate" >&2
}

# --- what the realm's settings mean for the vault, and what goes into its configuration ---------------------------------

protect_user_id() {
  local attribute
  attribute=$(jq -r 'select(.protocolMapper | test("^oidc-usermodel-(attribute|property)-mapper$")) | .config["user.attribute"] // ""' "$scratch/source")
  case $attribute in
    "") fail "--protect-user-id: \`$user_id_claim\` is $(jq -r .source "$scratch/source"), which no user profile protects" ;;
    id) return 0 ;; # nobody can write it
  esac
  call GET "/users/profile" >"$scratch/profile"
  jq --arg name "$attribute" '
    if any(.attributes[]; .name == $name) then .attributes |= map(if .name == $name then .permissions.edit = ["admin"] else . end)
    else .attributes += [{name: $name, permissions: {view: ["admin", "user"], edit: ["admin"]}, multivalued: false}] end' \
    "$scratch/profile" >"$scratch/protected"
  jq -en --slurpfile is "$scratch/profile" --slurpfile wanted "$scratch/protected" '$is == $wanted' >/dev/null && return
  call PUT "/users/profile" "$scratch/protected" >/dev/null
  echo "user profile"
  echo "  lets only administrators edit $attribute"
}

configuration() {
  local issuer list="" name key=$realm
  issuer=$(curl -sS "$url/realms/$(form "$realm")/.well-known/openid-configuration" | jq -r .issuer)
  for name in ${ui_names[@]+"${ui_names[@]}"}; do list="${list:+$list, }$(toml "$(named "$name")")"; done
  [[ $realm =~ ^[A-Za-z0-9_-]+$ ]] || key=$(toml "$realm")
  echo "[tenants.$key]"
  echo "issuer = $(toml "$issuer")"
  [ "$issuer" = "$url/realms/$realm" ] || echo "base_url = $(toml "$url/realms/$realm")"
  echo "client_id = $(toml "$client")"
  [ -z "$secret_name" ] || echo "client_secret_file = $(toml "$(secret_file)")"
  [ -z "$list" ] || echo "accepted_clients = [$list]"
  echo "user_id_claim = $(toml "${user_id_claim:-sub}")"
  jq -r 'select(.revokeRefreshToken and .refreshTokenMaxReuse > 0) | "refresh_token_max_reuse = \(.refreshTokenMaxReuse)"' "$scratch/realm"
}

set_up_realm() {
  local ui_client
  client=$(named "$client_name")
  log_in
  call GET "" >"$scratch/realm"
  jq -e --arg realm "$realm" '.realm == $realm and .accessTokenLifespan' "$scratch/realm" >/dev/null || fail "the realm $realm cannot be used"
  if by_claim; then learn_source; fi
  set_up_vault
  renew_empty_secret
  [ -z "$secret_name" ] || keep_secret
  for ui_client in ${ui_names[@]+"${ui_names[@]}"}; do set_up_ui "$(named "$ui_client")"; done
  # From here on the administrator may lack a role; what stands already is good for jobs that end with the user's session.
  set_scope
  if [ "$may_impersonate" = true ]; then
    for ui_client in ${ui_names[@]+"${ui_names[@]}"}; do warn_of_hidden_roles "$(named "$ui_client")"; done
  fi
  jq -r '"realm \(.realm): access tokens live \(.accessTokenLifespan) s; sessions idle \(.ssoSessionIdleTimeout) s, at most \(.ssoSessionMaxLifespan) s; " +
    (if .revokeRefreshToken then "refresh tokens are used at most \(.refreshTokenMaxReuse + 1) time(s)" else "refresh tokens are not rotated" end)' "$scratch/realm"
  configuration >"$scratch/this"
  cat "$scratch/this" >>"$scratch/configuration"
  [ $protect = no ] || protect_user_id
}

failed=()
for realm in "${realms[@]}"; do
  # Not within a condition, where `set -e` would not hold.
  set +e
  (set -e; set_up_realm)
  status=$?
  set -e
  [ $status -eq 0 ] || failed+=("$realm")
done
if [ -s "$scratch/configuration" ]; then
  echo
  echo "# for the vault's configuration; a key that is the same in [keycloak] can be left out"
  cat "$scratch/configuration"
fi
[ ${#failed[@]} -eq 0 ] || fail "not set up: ${failed[*]}"
