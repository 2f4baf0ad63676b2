//! How big tokens get. Keycloak makes example tokens without touching a session; they are made for users who probably have many
//! roles. Where only a part of the users was examined, and tokens carry all roles of their users, the result is never *fine*.

use tokenvault_keycloak::{InspectionFailed, ServiceAccount};

use super::admin_api::AdminApi;
use super::realm::{AGAIN, ExaminedRealm};
use super::realm_client::RealmClient;
use super::report::DoctorReport;
use super::sample::{self, UserSample};

/// Servers refuse a request whose head is bigger than this in many places, Keycloak's own among them; other headers need
/// room as well.
const TOO_LARGE: usize = 8192;
/// Keycloak takes no longer token for exchange, unless its option says otherwise; earlier versions of 26 took a fifth of it.
const TOO_LONG_TO_EXCHANGE: usize = 20_000;

/// Makes the examples and judges the biggest one of each client.
pub(super) async fn examine(
    admin_api: &AdminApi<'_>,
    vault: &RealmClient,
    accepted: &[RealmClient],
    account: &ServiceAccount,
    report: &mut DoctorReport,
) {
    let sample = match sample::take(admin_api).await {
        Ok(sample) => sample,
        Err(error) => {
            untold(admin_api.realm, "token-size", &error, report);
            return untold(admin_api.realm, "proof-size", &error, report);
        }
    };
    judge(admin_api, &TOKENS, vault, &sample, account.envelope, report).await;
    for client in accepted {
        judge(admin_api, &PROOFS, client, &sample, account.envelope, report).await;
    }
}

/// What is judged, and what is said of it.
struct SizeLimit {
    check: &'static str,
    most: usize,
    harm: fn(usize) -> String,
    remedy: fn(&RealmClient) -> String,
}

const TOKENS: SizeLimit = SizeLimit {
    check: "token-size",
    most: TOO_LARGE,
    harm: |_| "servers refuse heads of that size (431), Keycloak's own among them".to_owned(),
    remedy: smaller,
};

const PROOFS: SizeLimit = SizeLimit {
    check: "proof-size",
    most: TOO_LONG_TO_EXCHANGE,
    harm: |most| format!("Keycloak takes {most} at most for exchange: registrations with it fail"),
    remedy: lighter,
};

fn smaller(vault: &RealmClient) -> String {
    if vault.switch("fullScopeAllowed") == Some(true) {
        format!(
            "take \"Full scope allowed\" from the vault's client, and keep realm-management/impersonation in its scope mappings where it impersonates: {AGAIN}, but without --full-scope, does both"
        )
    } else {
        "take roles out of the scope mappings of the vault's client, or mappers and client scopes that modules do not need".to_owned()
    }
}

fn lighter(client: &RealmClient) -> String {
    format!(
        "where nobody reads roles from its tokens, switch \"Always use lightweight access token\" on for {}, as FOLIO does, and at once {AGAIN}: it keeps `sub` and the user's id in them; or raise Keycloak's option spi-login-protocol--openid-connect--req-token-params-default-max-size",
        client.name
    )
}

async fn judge(
    admin_api: &AdminApi<'_>,
    limit: &SizeLimit,
    client: &RealmClient,
    sample: &UserSample,
    envelope: usize,
    report: &mut DoctorReport,
) {
    let (check, realm, name) = (limit.check, admin_api.realm.name(), client.name.as_str());
    let (size, user) = match biggest(admin_api, client, sample, envelope).await {
        Ok(Some(found)) => found,
        Ok(None) => return report.unknown(check, realm, "the realm has no users yet", "run it again when it has"),
        Err(error) => return untold(admin_api.realm, check, &error, report),
    };
    if size > limit.most {
        let harm = (limit.harm)(limit.most);
        let finding = format!("the token of {name} for the user {user} has {size} characters: {harm}");
        return report.hazard(check, realm, finding, (limit.remedy)(client));
    }
    let finding = format!("the biggest of {name}'s tokens for {sample} has {size} characters (for the user {user})");
    if sample.is_partial() && client.carries_every_role() {
        let finding = format!("{finding}; they carry every role of their users, and somebody else may have more");
        report.unknown(check, realm, finding, (limit.remedy)(client));
    } else {
        report.fine(check, realm, finding);
    }
}

fn untold(realm: &ExaminedRealm<'_>, check: &'static str, error: &InspectionFailed, report: &mut DoctorReport) {
    let remedy = "take a token of an administrator with the roles view-users, view-clients and view-realm";
    report.unknown(check, realm.name(), format!("no examples of tokens: {error}"), remedy);
}

/// The biggest example, and whose it is. What is made is the token's payload; an envelope of the same size stands around
/// every token of a realm.
async fn biggest(
    admin_api: &AdminApi<'_>,
    client: &RealmClient,
    sample: &UserSample,
    envelope: usize,
) -> Result<Option<(usize, String)>, InspectionFailed> {
    let mut biggest = None;
    for id in &sample.users {
        let path =
            format!("/clients/{}/evaluate-scopes/generate-example-access-token?scope=openid&userId={id}", client.id);
        let payload = admin_api.get(&path).await?.to_string().len();
        // Six bits a character (RFC 4648 §5, without padding).
        let size = (payload * 4).div_ceil(3) + envelope;
        if biggest.as_ref().is_none_or(|(most, _)| size > *most) {
            biggest = Some((size, id.clone()));
        }
    }
    Ok(biggest)
}
